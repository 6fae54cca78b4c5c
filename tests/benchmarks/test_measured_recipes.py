"""What recipes reached stands in their headers, and `hdlif recipes ls` prints it."""

import doctest
import sys
from pathlib import Path

import pytest

import measured_recipes as tool
from hdlif.cli import recipes


def test_headers_have_the_means_of_the_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctest.testmod(tool).failed == 0
    monkeypatch.setattr(sys, "argv", ["measured_recipes.py", "--check"])
    assert tool.main() == 0, capsys.readouterr().out
    monkeypatch.setattr(tool, "RECIPES", tmp_path)
    for name in tool.trainings(tool.ROOT / "benchmarks/records/experiments"):
        (tmp_path / f"{name}.yaml").write_text(f"# hdlif train {name}\n# measured: of old\nseed: 42\n")
    assert tool.main() == 1
    monkeypatch.setattr(sys, "argv", ["measured_recipes.py"])
    assert tool.main() == 0
    first, header, last = (tmp_path / "bccd_hdlif.yaml").read_text().splitlines()
    assert (first, last) == ("# hdlif train bccd_hdlif", "seed: 42")
    assert header.startswith("# measured: 417,159 parameters, ap50 0.87")


def test_the_list_has_them_beside_the_recipes() -> None:
    found = recipes.ls()
    figures = found["measured"]["bccd_hdlif"]
    assert (figures["parameters"], figures["metric"], figures["seeds"]) == (417_159, "ap50", 3)
    (line,) = [line for line in recipes.listed(found).splitlines() if line.startswith("bccd_hdlif ")]
    assert line.split()[-3:] == ["417,159", "ap50", f"{figures['value']:.3f}"]
    assert "cifar10_resnet18_hdlif" not in found["measured"]
    assert found["about"]["bccd_hdlif"].startswith("Blood cells")
