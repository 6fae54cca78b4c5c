"""The reproduction in docs/reference/machines.md runs as it stands, and says what the page says of it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "machines.md"


@pytest.mark.alone
@pytest.mark.slow
def test_the_reproduction_runs_and_the_contiguous_layout_is_right(tmp_path: Path) -> None:
    (block,) = re.findall(r"(?:^    [^\n]*\n|^\n)+", PAGE.read_text().split("PyTorch alone:\n")[1], re.M)[:1]
    script = tmp_path / "onednn_gradient.py"
    script.write_text(re.sub("^    ", "", block, flags=re.M))
    done = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = re.findall(r"of (\d+x\d+), (\d+) channels, torch\.(\w+): off by (\S+) of", done.stdout)
    contiguous = {
        (size, channels): float(error) for size, channels, layout, error in found if layout == "contiguous_format"
    }
    assert len(contiguous) == 22
    assert max(contiguous.values()) < 1e-5
    wide = [float(error) for _, channels, layout, error in found if layout == "channels_last" and channels == "16"]
    assert len(wide) == 2
    assert max(wide) < 1e-5
