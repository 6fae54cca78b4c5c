"""Replicas on a local Ray cluster answer as one server does."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from cases import naming
from hdlif.errors import HdlifError
from hdlif.serve import Settings
from hdlif.serve.ray_app import Replicas, read_arguments
from served import NPY, STEPS, client, npy, series, write

ROWS = [npy(np.random.default_rng(seed).normal(size=(STEPS, 2))) for seed in range(20)]
SERVER = """
import json, sys
import ray
from ray import serve
from hdlif.serve.ray_app import build
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
serve.start(http_options={"port": int(sys.argv[3])})
serve.run(build({"artefacts": sys.argv[1], "replicas": int(sys.argv[2]), "latency_budget_ms": "1.5"}))
print("ready", flush=True)
sys.stdin.read()
serve.shutdown()
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("replicas", [1, 2])
def test_replicas_answer_as_a_server_does(replicas: int, tmp_path: Path) -> None:
    pytest.importorskip("ray.serve")
    artefacts = write(tmp_path, net=series())
    with client(artefacts) as alone:
        expected = [alone.post("/v1/models/net/predict", content=x, headers=NPY).json() for x in ROWS]
    port = free_port()
    command = [sys.executable, "-c", SERVER, str(artefacts["net"]), str(replicas), str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert "ready\n" in iter(process.stdout.readline, "")
            with httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
                found = [http.post("/v1/models/net/predict", content=x, headers=NPY).json() for x in ROWS]
                bad = http.post("/v1/models/net/predict", content=b"x", headers=NPY)
                stream = http.post("/v1/models/net/streams")
        finally:
            process.stdin.close()
            process.wait(60)
    assert found == expected
    assert (bad.status_code, bad.json()["code"]) == (422, "input_refused")
    # Another replica would not know the stream.
    assert stream.status_code == (201 if replicas == 1 else 404)


def test_other_arguments_are_refused() -> None:
    refused: dict[str, tuple[Any, ...]] = {
        **{"artefacts": ([], 3, ["x", 3], "x,"), "replicas": ("0", True, 1.5, 10_001), "cores": ("a",)},
        **{"max_batch": ("0", "many", True, 1.5), "latency_budget_ms": (True, [1]), "max_body_bytes": ("1MB",)},
        "speed": ("1",),
    }
    for name, values in refused.items():
        for value in values:
            with naming(name, value), pytest.raises(HdlifError):
                read_arguments({"artefacts": "x", name: value})
    with pytest.raises(HdlifError):
        read_arguments({})


def test_arguments_are_strings_or_values() -> None:
    settings = Settings(threads=1, max_body_bytes=2**20, receive_seconds=10, max_streams=0)
    expected = Replicas({"a": Path("x"), "y": Path("y")}, 2, 1, settings)
    for given in (
        # Of `serve run ... replicas=2`, and of a configuration file's `args`.
        {"artefacts": "a=x,y", "replicas": "2", "cores": "1", "max_body_bytes": "1M", "receive_seconds": "1e1"},
        {"artefacts": ["a=x", "y"], "replicas": 2, "cores": 1, "max_body_bytes": 2**20, "receive_seconds": 10},
        {"artefacts": ["a=x", Path("y")], "replicas": 2, "max_body_bytes": "1MiB", "receive_seconds": 10.0},
        {"artefacts": "a=x,y", "replicas": 2, "max_body_bytes": 2**20, "receive_seconds": 10, "threads": None},
    ):
        assert read_arguments(given) == expected, given
    alone = read_arguments({"artefacts": Path("folder/y.hdlif.safetensors")})
    assert alone.paths == {"y": Path("folder/y.hdlif.safetensors")}
