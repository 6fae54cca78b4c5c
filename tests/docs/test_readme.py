"""What the README teaches gives the accuracy that the command line gives."""

import re
from pathlib import Path

import pytest

from trainings import train

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


@pytest.mark.slow
def test_python_of_the_readme_is_as_accurate_as_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default tests run it as it stands, with its own assertion; here with as many epochs as the recipe."""
    monkeypatch.chdir(tmp_path)
    summary = train("digits_hdlif_w1p5_s4_parallel", out=tmp_path / "run", memory_repeats=0)
    code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[-1]
    assert summary is not None
    recipe = summary.recipe
    longer, count = re.subn(
        r"TrainingConfig\(epochs=\d+", f"TrainingConfig(epochs={recipe['training']['epochs']}", code
    )
    assert count == 1
    names: dict[str, object] = {}
    exec(longer, names)
    assert float(names["accuracy"]) >= summary.accuracy - 0.01  # type: ignore[arg-type]
    assert float(names["accuracy"]) > 0.97  # type: ignore[arg-type]
