"""`hdlif recipes schema`."""

import json
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

import hdlif
from hdlif.cli import cli


def test_it_is_printed_and_written_alike(tmp_path: Path) -> None:
    out = tmp_path / "new" / "recipe.schema.json"
    printed = CliRunner().invoke(cli, ["recipes", "schema"], catch_exceptions=False)
    written = CliRunner().invoke(cli, ["recipes", "schema", "--out", str(out)], catch_exceptions=False)
    assert json.loads(printed.output) == json.loads(out.read_text("utf-8")) == hdlif.recipe_schema()
    assert written.output == f"{out}: {out.stat().st_size:,} bytes\n"
    assert [one.name for one in out.parent.iterdir()] == [out.name]


def test_it_needs_no_pytorch() -> None:
    code = "import sys; sys.modules['torch'] = None; import hdlif; print(len(hdlif.recipe_schema()['$defs']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
