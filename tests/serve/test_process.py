"""`hdlif serve` as a process: what it prints, how it ends, and files that are loaded again under load."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import httpx
import numpy as np
import pytest

from deployed_graphs import Builder
from hdlif.cli.serve import serve as command
from hdlif.errors import ArtefactError, MachineError, MissingExtraError
from hdlif.graph.artefact import INPUT, save
from hdlif.serve.server import _listen, serve
from served import NPY, STEPS, npy, residual_network, series, write
from serving_processes import Process, answer, everything, metric, server, wait_until

pytestmark = pytest.mark.slow
ROWS = npy(np.random.default_rng(0).normal(size=(STEPS, 2)))
HEAD = b"POST /v1/models/net/predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-npy\r\n"


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    return write(tmp_path, net=series())["net"]


def predict(process: Process) -> dict[str, object]:
    answer = httpx.post(f"{process.address}/v1/models/net/predict", content=ROWS, headers=NPY)
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


def test_it_prints_its_address_and_obeys_sigint_unless_it_is_ignored(artefact: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        for ignored in (False, True):
            # Shells ignore SIGINT for processes in the background.
            signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler)
            with server(artefact, f"b={artefact}") as process:
                assert [one["name"] for one in process.said["models"]] == ["net", "b"]
                predict(process)
                if ignored:
                    process.child.send_signal(signal.SIGINT)
                    time.sleep(0.5)
                    predict(process)
                    assert process.end(signal.SIGTERM) == (143, "")
                else:
                    assert process.end(signal.SIGINT) == (130, "\ninterrupted\n")
    finally:
        signal.signal(signal.SIGINT, before)


def test_requests_in_flight_are_answered_after_sigterm(artefact: Path) -> None:
    with ThreadPoolExecutor(5) as pool, server(artefact, "--latency-budget-ms", 4000) as process:
        # A body whose second half comes after the signal.
        slow = process.connected()
        slow.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(ROWS) + ROWS[:50])
        asked = [pool.submit(predict, process) for _ in range(5)]
        # Of each its body, its input twice, and an answer of three classes.
        whole = len(ROWS) + 2 * 4 * 2 * STEPS + 768 + 64 * 3
        wait_until(lambda: metric(process, "hdlif_body_bytes") == 5 * whole + 50)
        process.child.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        slow.sendall(ROWS[50:])
        first, *others = (one.result() for one in asked)
        assert others == [first] * 4
        assert slow.recv(2**16).startswith(b"HTTP/1.1 200")
        assert process.child.wait(30) == 143


def test_a_request_that_does_not_end_holds_the_end_up_for_its_seconds_at_most(artefact: Path) -> None:
    for second, seconds in ((True, 60), (False, 1)):
        with server(artefact, "--shutdown-seconds", seconds) as process, process.connected() as slow:
            slow.sendall(HEAD + b"content-length: 1000\r\n\r\nabc")
            wait_until(lambda: metric(process, "hdlif_body_bytes") == 3)
            begin = time.monotonic()
            process.child.send_signal(signal.SIGTERM)
            if second:
                time.sleep(0.5)
                process.child.send_signal(signal.SIGTERM)
            status, refused = answer(everything(slow))
            _, err = process.child.communicate(timeout=30)
            assert (status, refused["code"], process.child.returncode) == (503, "draining", 143), second
            assert "Traceback" not in err, second
            assert time.monotonic() - begin < 20, second


def test_a_run_that_goes_on_does_not_keep_the_process(tmp_path: Path) -> None:
    b = Builder((8, 64, 64), 4, 0)
    x = INPUT
    for _ in range(12):
        x = b.hd_lif(b.conv(x, 128, encoding="float32"))
    artefacts = write(tmp_path, net=b.graph(b.add("global_sum_pool", x)))
    # Some 10 to 20 s of a core.
    frames = npy(np.ones((100, 8, 64, 64), np.float32))
    arguments = (*artefacts.values(), "--threads", 1, "--max-operations", 2**46)
    with ThreadPoolExecutor(1) as pool, server(*arguments) as process:
        asked = pool.submit(
            httpx.post, f"{process.address}/v1/models/net/predict", content=frames, headers=NPY, timeout=60
        )
        wait_until(lambda: metric(process, "hdlif_batch_inputs_count") == 1)
        process.child.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        begin = time.monotonic()
        assert process.end()[0] == 143
        assert time.monotonic() - begin < 5
        assert asked.result().status_code == 503


def test_kept_connections_are_refused_or_drained_at_the_end(artefact: Path) -> None:
    def ask(kept: HTTPConnection) -> tuple[int, str | None, dict[str, object]]:
        kept.request("POST", "/v1/models/net/predict", ROWS, NPY)
        found = kept.getresponse()
        return found.status, found.getheader("connection"), json.loads(found.read())

    for drain in (0, 60):
        with server(artefact, "--drain-seconds", drain) as process:
            kept = HTTPConnection(process.address.removeprefix("http://"), timeout=30)
            with contextlib.closing(kept), process.connected() as silent:
                assert ask(kept)[:2] == (200, None)
                process.child.send_signal(signal.SIGTERM)
                time.sleep(0.3)
                if drain:
                    # New connections are accepted too, and a balancer sees that it should use another server.
                    assert httpx.get(f"{process.address}/readyz").status_code == 503
                    predict(process)
                status, connection, found = ask(kept)
                assert connection == "close"
                if drain:
                    assert status == 200
                    process.child.send_signal(signal.SIGTERM)
                else:
                    assert (status, found["code"]) == (503, "draining")
                assert everything(silent) == b""
            assert process.child.wait(30) == 143


def test_files_are_loaded_again_under_load_and_no_request_is_dropped(artefact: Path, tmp_path: Path) -> None:
    save(series(seed=1), tmp_path / "one.hdlif.safetensors")
    files = [artefact.read_bytes(), (tmp_path / "one.hdlif.safetensors").read_bytes()]
    stop = threading.Event()

    def ask(address: str) -> set[str]:
        seen: set[str] = set()
        with httpx.Client(base_url=address) as http:
            while not stop.is_set():
                answer = http.post("/v1/models/net/predict", content=ROWS, headers=NPY)
                seen.add(answer.text if answer.status_code == 200 else f"{answer.status_code}: {answer.text}")
        return seen

    with ThreadPoolExecutor(4) as pool, server(artefact) as process:
        first = json.dumps(predict(process))
        asked = [pool.submit(ask, process.address) for _ in range(4)]
        for reloads in range(1, 7):
            new = tmp_path / "new"
            new.write_bytes(files[reloads % 2] if reloads % 3 else b"damaged")
            new.replace(artefact)
            process.child.send_signal(signal.SIGHUP)
            wait_until(lambda: metric(process, "hdlif_reloads_total") == reloads)  # noqa: B023 - waited for here
        stop.set()
        answers = set[str]().union(*(one.result() for one in asked))
        code, err = process.end()
    assert code == 143
    lines = err.splitlines()
    assert len(lines) == 6
    assert sum("net: reloaded" in line for line in lines) >= 2
    assert sum("net: not reloaded, the previous version stays in use: ArtefactError" in line for line in lines) == 2
    assert len(answers) == 2
    assert first in answers
    assert all("logits" in one for one in answers)


def test_bad_arguments_are_errors_before_anything_is_served(
    artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for name, port, host, expected in (
            (tmp_path / "absent", 0, "127.0.0.1", ArtefactError),
            (artefact, taken.getsockname()[1], "127.0.0.1", MachineError),
            (artefact, 0, "no.such.host.invalid", MachineError),
        ):
            with pytest.raises(expected):
                serve([str(name)], host=host, port=port)
    monkeypatch.delitem(sys.modules, "hdlif.serve.server")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingExtraError, match=r"\[serve\]"):
        command([str(artefact)])


def test_small_answers_are_not_held_back() -> None:
    # asyncio sets TCP_NODELAY on sockets of this protocol only; without it each answer takes 40 ms.
    for host in ("127.0.0.1", "localhost"):
        with _listen(host, 0) as listener:
            assert listener.proto == socket.IPPROTO_TCP


def test_it_imports_neither_torch_nor_readers_of_images_before_an_image_comes(artefact: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from starlette.testclient import TestClient\n"
        "from hdlif.serve.models import name_artefacts\n"
        "from hdlif.serve.server import create_app\n"
        f"app = create_app(name_artefacts([{str(artefact)!r}]))\n"
        "with TestClient(app) as http: print(http.get('/v1/models/net').json()['time_steps'])\n"
        "print(sorted({'PIL', 'yaml', 'matplotlib'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{STEPS}\n[]\n"), done.stderr


TESTS = Path(__file__).parents[1]


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
