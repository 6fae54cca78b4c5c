"""The command in a process of its own: what it says, how it ends, files loaded again under load."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from deployed_graphs import Builder
from hdlif.artefact import INPUT, save
from served import NPY, STEPS, npy, series, write
from serving_processes import answer, everything, metric, server, wait_until

ROWS = npy(np.random.default_rng(0).normal(size=(STEPS, 2)))


def said(address: str) -> dict[str, object]:
    answer = httpx.post(f"{address}/v1/models/net/predict", content=ROWS, headers=NPY)
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_it_says_where_it_listens_and_ends_with_the_houses_code(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    artefacts = write(tmp_path, net=series(), other=series("regress"))
    with server(artefacts["net"], f"b={artefacts['other']}") as process:
        assert [one["name"] for one in process.said["models"]] == ["net", "b"]
        said(process.address)
        ended, err = process.end(number)
    assert (ended, err.strip()) == (code, "interrupted" if number == signal.SIGINT else "")


@pytest.mark.slow
def test_in_the_background_sigint_is_not_heard(tmp_path: Path) -> None:
    artefacts = write(tmp_path, net=series())
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with server(artefacts["net"]) as process:
            process.child.send_signal(signal.SIGINT)
            time.sleep(0.5)
            said(process.address)
            assert process.end()[0] == 143
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_requests_in_flight_are_answered_after_sigterm(tmp_path: Path) -> None:
    artefacts = write(tmp_path, net=series())
    with server(artefacts["net"], "--latency-budget-ms", 4000) as process:
        found: list[object] = []
        clients = [threading.Thread(target=lambda: found.append(said(process.address))) for _ in range(5)]
        # A body whose second half comes after the signal.
        slow = process.connected()
        slow.sendall(
            b"POST /v1/models/net/predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-npy\r\n"
            b"content-length: %d\r\n\r\n" % len(ROWS) + ROWS[:50]
        )
        for one in clients:
            one.start()
        # Of each its body, its input twice, and an answer of three classes.
        whole = len(ROWS) + 2 * 4 * 2 * STEPS + 768 + 64 * 3
        wait_until(lambda: metric(process, "hdlif_body_bytes") == 5 * whole + 50)
        process.child.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        slow.sendall(ROWS[50:])
        for one in clients:
            one.join()
        head = slow.recv(2**16)
        assert process.child.wait(30) == 143
    assert len(found) == 5
    assert all(one == found[0] for one in found)
    assert head.startswith(b"HTTP/1.1 200")


@pytest.mark.slow
@pytest.mark.parametrize("second", [True, False])
def test_a_request_that_does_not_end_holds_the_end_up_no_longer_than_is_said(second: bool, tmp_path: Path) -> None:
    artefacts = write(tmp_path, net=series())
    with server(artefacts["net"], "--shutdown-seconds", 60 if second else 1) as process:
        with process.connected() as slow:
            slow.sendall(
                b"POST /v1/models/net/predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-npy\r\n"
                b"content-length: 1000\r\n\r\nabc"
            )
            wait_until(lambda: metric(process, "hdlif_body_bytes") == 3)
            begin = time.monotonic()
            process.child.send_signal(signal.SIGTERM)
            if second:
                time.sleep(0.5)
                process.child.send_signal(signal.SIGTERM)
            status, refused = answer(everything(slow))
            code, err = process.child.wait(30), process.child.stderr
            assert err is not None
            assert err.read() == ""
        assert (status, refused["code"], code) == (503, "draining", 143)
        assert time.monotonic() - begin < 20


@pytest.mark.slow
def test_it_goes_on_for_a_while_and_says_that_it_is_not_ready(tmp_path: Path) -> None:
    artefacts = write(tmp_path, net=series())
    with server(artefacts["net"], "--drain-seconds", 2) as process:
        assert httpx.get(f"{process.address}/readyz").status_code == 200
        begin = time.monotonic()
        process.child.send_signal(signal.SIGTERM)
        wait_until(lambda: httpx.get(f"{process.address}/readyz").status_code == 503)
        said(process.address)
        assert process.child.wait(30) == 143
        assert time.monotonic() - begin > 1.9


@pytest.mark.slow
@pytest.mark.parametrize("drain", [0, 60])
def test_connections_that_are_kept_alive_are_told_of_the_end(drain: int, tmp_path: Path) -> None:
    artefacts = write(tmp_path, net=series())
    head = b"POST /v1/models/net/predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-npy\r\n"
    request = head + b"content-length: %d\r\n\r\n" % len(ROWS) + ROWS
    with server(artefacts["net"], "--drain-seconds", drain) as process:
        with process.connected() as kept, process.connected() as silent:
            kept.sendall(request)
            first = kept.recv(2**16)
            # Head and body may come apart.
            while not (length := re.search(rb"content-length: (\d+)\r.*?\r\n\r\n", first, re.DOTALL)) or (
                len(first) < length.end() + int(length[1])
            ):
                first += kept.recv(2**16)
            assert b"connection: close" not in first
            process.child.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            kept.sendall(request)
            told = everything(kept)
            assert b"connection: close" in told
            status, found = answer(told)
            if drain:
                assert status == 200
                process.child.send_signal(signal.SIGTERM)
            else:
                assert (status, found["code"]) == (503, "draining")
            assert everything(silent) == b""
        assert process.child.wait(30) == 143


@pytest.mark.slow
def test_files_are_loaded_again_under_load_and_no_request_is_dropped(tmp_path: Path) -> None:
    artefacts = write(tmp_path, net=series(seed=0))
    save(series(seed=1), tmp_path / "one.hdlif.safetensors")
    files = [artefacts["net"].read_bytes(), (tmp_path / "one.hdlif.safetensors").read_bytes()]
    stop = threading.Event()
    found: list[set[str]] = []

    def ask(address: str) -> None:
        seen: set[str] = set()
        with httpx.Client(base_url=address) as http:
            while not stop.is_set():
                answer = http.post("/v1/models/net/predict", content=ROWS, headers=NPY)
                seen.add(answer.text if answer.status_code == 200 else f"{answer.status_code}: {answer.text}")
        found.append(seen)

    with server(artefacts["net"]) as process:
        first = json.dumps(said(process.address))
        clients = [threading.Thread(target=ask, args=(process.address,)) for _ in range(4)]
        for one in clients:
            one.start()
        for reloads in range(1, 13):
            beside = tmp_path / "new"
            beside.write_bytes(files[reloads % 2] if reloads % 3 else b"damaged")
            beside.replace(artefacts["net"])
            process.child.send_signal(signal.SIGHUP)
            wait_until(lambda: metric(process, "hdlif_reloads_total") == reloads)  # noqa: B023 - waited for here
        stop.set()
        for one in clients:
            one.join()
        code, err = process.end()
    assert code == 143
    lines = err.splitlines()
    assert len(lines) == 12
    assert sum("net: loaded again" in line for line in lines) >= 4
    assert sum("net: goes on as it was: ArtefactError" in line for line in lines) == 4
    answers = set.union(*found)
    assert len(found) == 4
    assert len(answers) == 2
    assert first in answers
    assert all("logits" in one for one in answers)


@pytest.mark.slow
@pytest.mark.parametrize("trusted", [True, False])
def test_clients_behind_a_proxy_are_told_apart_where_it_is_trusted(trusted: bool, tmp_path: Path) -> None:
    artefacts = write(tmp_path, net=series())
    proxies = ("--trusted-proxies", "127.0.0.1") if trusted else ()
    with server(artefacts["net"], "--requests-per-second", 0.1, *proxies) as process:

        def status(client: str) -> int:
            return httpx.get(f"{process.address}/v1/models", headers={"x-forwarded-for": client}).status_code

        found = [status(client) for client in ("1.2.3.4", "1.2.3.5", "1.2.3.4")]
    assert found == ([200, 200, 429] if trusted else [200, 429, 429])


@pytest.mark.slow
def test_bad_input_is_exit_code_2_and_a_port_in_use_is_1(tmp_path: Path) -> None:
    artefacts = write(tmp_path, net=series())

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "hdlif", "serve", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    absent = run(tmp_path / "absent")
    assert (absent.returncode, absent.stdout) == (2, "")
    assert "ArtefactError" in absent.stderr
    token = tmp_path / "token"
    token.write_text("short")
    assert run(artefacts["net"], "--admin-token-file", token).returncode == 2
    assert run(artefacts["net"], "--max-batch", 0).returncode == 2
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = run(artefacts["net"], "--port", taken.getsockname()[1])
    assert busy.returncode == 1
    assert "cannot be listened at" in busy.stderr
    assert busy.stderr.count("\n") == 1


@pytest.mark.slow
def test_neither_torch_nor_what_reads_images_is_imported_where_none_comes(tmp_path: Path) -> None:
    artefacts = write(tmp_path, net=series())
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from fastapi.testclient import TestClient\n"
        "from hdlif.serve.models import named\n"
        "from hdlif.serve.server import create_app\n"
        f"app = create_app(named([{str(artefacts['net'])!r}]))\n"
        "with TestClient(app) as http: print(http.get('/v1/models/net').json()['time_steps'])\n"
        "print(sorted({'PIL', 'yaml', 'matplotlib'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{STEPS}\n[]\n"), done.stderr


@pytest.mark.slow
def test_the_extra_is_named_where_it_is_missing(tmp_path: Path) -> None:
    artefacts = write(tmp_path, net=series())
    code = (
        "import sys; sys.modules['fastapi'] = None\n"
        f"sys.argv = ['hdlif', 'serve', {str(artefacts['net'])!r}]\n"
        "from hdlif.cli import main; main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'hdlif[serve]'" in done.stderr


@pytest.mark.slow
def test_a_run_that_goes_on_does_not_keep_the_process(tmp_path: Path) -> None:
    b = Builder((8, 64, 64), 4, 0)
    x = INPUT
    for _ in range(12):
        x = b.hd_lif(b.conv(x, 128, encoding="float32"))
    artefacts = write(tmp_path, net=b.graph(b.add("global_sum_pool", x)))
    # Some 10 to 20 s of a core.
    frames = npy(np.ones((100, 8, 64, 64), np.float32))
    with server(*artefacts.values(), "--threads", 1, "--max-operations", 2**46) as process:
        codes: list[int] = []

        def ask() -> None:
            content = httpx.post(f"{process.address}/v1/models/net/predict", content=frames, headers=NPY, timeout=60)
            codes.append(content.status_code)

        asking = threading.Thread(target=ask)
        asking.start()
        wait_until(lambda: metric(process, "hdlif_batch_inputs_count") == 1)
        process.child.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        begin = time.monotonic()
        code, _ = process.end()
        asking.join()
    assert (code, codes) == (143, [503])
    assert time.monotonic() - begin < 5
