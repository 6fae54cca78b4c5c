"""The reproduction in docs/reference/machines.md runs as it stands, and says what the page says of it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pages import page


@pytest.mark.alone
@pytest.mark.slow
def test_the_reproduction_runs_and_the_contiguous_layout_is_right(tmp_path: Path) -> None:
    text = page("reference/machines").split("PyTorch alone:\n")[1]
    (block,) = re.findall(r"(?:^    [^\n]*\n|^\n)+", text, re.MULTILINE)[:1]
    script = tmp_path / "onednn_gradient.py"
    script.write_text(re.sub("^    ", "", block, flags=re.MULTILINE))
    threads = os.environ | {"OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, script], env=threads, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = re.findall(r"of \d+x\d+, (\d+) channels, torch\.(\w+): off by (\S+) of", done.stdout)
    contiguous = [float(error) for _, layout, error in found if layout == "contiguous_format"]
    wide = [float(error) for channels, layout, error in found if (channels, layout) == ("16", "channels_last")]
    assert (len(contiguous), len(wide)) == (22, 2)
    assert max(*contiguous, *wide) < 1e-5
