"""docs/how_to/serving.md can be followed from its first to its last request."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from hdlif.serve.ray_app import read_arguments
from pages import page
from serving_processes import server

PAGE = page("how_to/serving")


@pytest.mark.slow
def test_every_request_of_the_page_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0], {})
    requests = re.findall(r"^    ((?:stream=|curl ).*)$", PAGE, re.MULTILINE)
    assert len(requests) == 14
    with server("pets.hdlif.safetensors", "walk=motion.hdlif.safetensors") as process:
        place = process.address.removeprefix("http://")
        script = "\n".join(f"{request.replace('localhost:8000', place)}\necho" for request in requests)
        done = subprocess.run(["bash", "-e", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line]
    assert sum('"label"' in line for line in lines) == 7
    assert '"t": 5' in lines[-3]
    assert '"unknown_content_type"' in lines[-1]


def test_the_configuration_file_of_ray_is_read() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (application,) = yaml.safe_load(block)["applications"]
    assert application["import_path"] == "hdlif.serve.ray_app:build"
    found = read_arguments(application["args"])
    assert (sorted(found.paths), found.replicas) == (["pets", "walk"], 4)
    assert (found.settings.latency_budget_ms, found.settings.max_body_bytes) == (1.5, 2**26)
