"""The C code of docs/how_to/c.md is compiled against a network's header."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deployed_graphs import random_input, residual_network
from hdlif.deploy.c import fixed_point, translate
from hdlif.deploy.c.building import FLAGS, compiler
from pages import page


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler is installed")
@pytest.mark.parametrize("kind", ["float", "fixed"])
def test_the_call_of_the_page_compiles(kind: str, tmp_path: Path) -> None:
    (block,) = re.findall(r"```c\n(.*?)```", page("how_to/c"), re.DOTALL)
    graph = residual_network()
    fixed = fixed_point(graph, random_input(graph, 4, 2), 4) if kind == "fixed" else None
    (tmp_path / "digits.h").write_text(translate(graph, "digits", fixed=fixed).header)
    (tmp_path / "call.c").write_text(block)
    command = [compiler(), *FLAGS, "-c", "-o", str(tmp_path / "call.o"), str(tmp_path / "call.c")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
