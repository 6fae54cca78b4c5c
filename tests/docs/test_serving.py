"""docs/how_to/serving.md can be followed from its first to its last request; it states the code's limits."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from hdlif.inputs.pictures import MOST_SCANS
from hdlif.serve import Settings
from hdlif.serve.protocol import MOST_HEADER_BYTES
from hdlif.serve.ray_app import read_arguments
from hdlif.serve.reading import TYPES
from hdlif.serve.refusals import JSON
from hdlif.serve.streams import OVERHEAD_BYTES
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


def test_every_content_type_has_its_row() -> None:
    rows = "\n".join(line for line in PAGE.splitlines() if line.startswith("| `"))
    assert [kind for kind in (JSON, *TYPES) if f"`{kind}`" not in rows] == []


def test_limits_are_stated_as_they_are() -> None:
    for row, value in (
        ("`--max-streams` (0 leaves them out) | 4096", Settings().max_streams == 4096),
        ("4,096 counted for each", OVERHEAD_BYTES == 4096),
        ("`--max-stream-bytes` | 2^28", Settings().max_stream_bytes == 2**28),
        ("`--stream-idle-seconds` | 300", Settings().stream_idle_seconds == 300),
        ("`--max-body-bytes` | 2^24", Settings().max_body_bytes == 2**24),
        ("inputs and answers | | 2^29", Settings().max_bodies_bytes == 2**29),
        ("such as decoding an image | | 10", Settings().read_seconds == 10),
        ("A JPEG of more than 100 scans", MOST_SCANS == 100),
        ("steps of a request to a stream | | 2^14", Settings().max_steps == 2**14),
        ("`--max-old-bytes` (2^28;", Settings().max_old_bytes == 2**28),
        ("`--max-pixels` | 2^25", Settings().max_pixels == 2**25),
        ("inputs of a request | | 1024", Settings().max_inputs == 1024),
        ("`--max-operations` | 2^30, 2^38", (Settings().max_bytes, Settings().max_operations) == (2**30, 2**38)),
        ("that wait | | 2048", Settings().max_waiting == 2048),
        ("headers, bytes (up to 2^12 more if they come at once) | | 2^14", MOST_HEADER_BYTES == 2**14),
        ("`--receive-seconds` | 30", Settings().receive_seconds == 30),
        ("`--send-seconds` | 30", Settings().send_seconds == 30),
        ("`--keep-alive-seconds` | 30", Settings().keep_alive_seconds == 30),
        ("`--max-connections` | 2048", Settings().max_connections == 2048),
        ("`--latency-budget-ms` (2)", Settings().latency_budget_ms == 2),
        ("`--max-batch` (16)", Settings().max_batch == 16),
    ):
        assert row in PAGE
        assert value, row
