"""`hdlif` as the console script runs it, in this process: importing torch anew would take seconds per call."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace

from hdlif.cli import main


def hdlif(*arguments: object) -> SimpleNamespace:
    """Run a command; returncode, stdout and stderr, as in `subprocess.run`."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    before, sys.argv = sys.argv, ["hdlif", *map(str, arguments)]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as stop:
        code = stop.code
    finally:
        sys.argv = before
    return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())
