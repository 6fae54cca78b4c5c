"""The server does what its own description says, on requests that schemathesis makes of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from served import residual_network, series, write
from serving_processes import server

TESTS = Path(__file__).parents[1]


@pytest.mark.slow
def test_requests_made_of_the_description_are_answered_as_it_says(tmp_path: Path) -> None:
    pytest.importorskip("schemathesis")
    artefacts = write(tmp_path, net=residual_network(), line=series(), table=series(kind="table"))
    with server(*artefacts.values()) as process:
        # What an array must look like is the network's affair, and the description says it in words alone.
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{process.address}/openapi.json"),
            *("--exclude-checks", "positive_data_acceptance", "--max-examples", "200", "--no-color", "--seed", "1"),
        ]
        environment = os.environ | {"SCHEMATHESIS_HOOKS": "openapi_bodies", "PYTHONPATH": str(TESTS)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Operations:       11 selected / 11 total" in done.stdout
        code, err = process.end()
    assert (code, err) == (143, "")
