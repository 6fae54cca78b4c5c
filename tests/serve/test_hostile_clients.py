"""Clients that are slow, loud, gone or lying, by bare sockets: each is cut or refused, and others are answered."""

import contextlib
import socket
import struct
import time
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from served import NPY, STEPS, npy, series, write
from serving_processes import Process, answer, everything, metric, server, wait_until

pytestmark = pytest.mark.slow
ROWS = npy(np.random.default_rng(0).normal(size=(STEPS, 2)))
POST = b"POST /v1/models/net/predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-npy\r\n"
WHOLE = b"content-length: %d\r\n\r\n" % len(ROWS) + ROWS
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    artefacts = write(tmp_path_factory.mktemp("net"), net=series())
    limits = ("--receive-seconds", 1.5, "--send-seconds", 1.5, "--max-connections", 60, "--max-body-bytes", 2**20)
    with server(*artefacts.values(), *limits) as found:
        yield found
        code, err = found.end()
        assert code == 143
        assert "Traceback" not in err


@pytest.fixture(autouse=True)
def assert_that_others_are_answered(process: Process) -> Iterator[None]:
    yield

    def answered() -> bool:
        return httpx.post(f"{process.address}/v1/models/net/predict", content=ROWS, headers=NPY).status_code == 200

    # Of a hundred connections that have just come and gone, some may not have been looked at yet.
    wait_until(answered)
    wait_until(lambda: metric(process, "hdlif_body_bytes") == 0)


def test_requests_that_drip_are_cut_with_a_reason(process: Process) -> None:
    for begin, drop in (
        (b"GET /healthz HTTP/1.1\r\n", b"a: b\r\n"),
        (POST + b"content-length: 1000\r\n\r\n", b"a"),
        (POST + CHUNKED, b"1\r\na\r\n"),
        # Its refusal comes at once, and the rest of its body is not waited for much longer.
        (POST.replace(b"/net/", b"/none/") + b"content-length: 100000\r\n\r\n", b"a"),
    ):
        started, found = time.monotonic(), b""
        with process.connected() as connection, contextlib.suppress(ConnectionError):
            connection.settimeout(0.1)
            connection.sendall(begin)
            while time.monotonic() < started + 10:
                with contextlib.suppress(TimeoutError):
                    if not (part := connection.recv(2**16)):
                        break
                    found += part
                connection.sendall(drop)
        status, said = answer(found)
        assert (status, said["code"]) in ((408, "too_slow"), (404, "unknown_model")), begin
        assert 1.4 < time.monotonic() - started < 8, begin


def test_endless_bodies_hold_up_nobody(process: Process) -> None:
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in ROWS)
    whole = POST + b"connection: close\r\n" + CHUNKED + chunks + b"0\r\n\r\n"
    assert answer(process.exchange(whole))[0] == 200
    for head, body in (
        # h11 alone takes a second for 256 KiB of these.
        (CHUNKED, b"1\r\na\r\n" * 2**17),
        # Larger than granted: they are refused, and what still comes is dropped.
        (CHUNKED, (b"%x\r\n" % 2**16 + bytes(2**16) + b"\r\n") * 16),
        (b"content-length: %d\r\n\r\n" % 10**12, bytes(2**20)),
    ):
        waits: list[float] = []
        with process.connected() as connection, httpx.Client(base_url=process.address) as http:
            connection.setblocking(False)
            connection.sendall(POST + head)
            sent, end = body, time.monotonic() + 1
            while time.monotonic() < end:
                with contextlib.suppress(BlockingIOError):
                    sent = sent[connection.send(sent) :] or body
                begin = time.monotonic()
                assert http.get("/healthz").status_code == 200
                waits.append(time.monotonic() - begin)
        assert sorted(waits)[len(waits) // 2] < 0.1, head


def test_huge_headers_are_refused(process: Process) -> None:
    for head in (
        *(b"GET /healthz HTTP/1.1\r\nx: " + b"a" * 10**6, b"GET /" + b"a" * 10**6, b"x" * 10**6),
        b"GET / HTTP/1.1\r\n" + b"".join(b"x%d: a\r\n" % number for number in range(10**5)),
        POST + CHUNKED + b"1" * 10**5,
    ):
        found = process.exchange(head)
        if found:  # the rest of what was sent may have reset the connection
            assert answer(found)[1]["code"] in ("headers_too_large", "bad_request"), head[:40]
    # Complete headers, which h11 alone does not limit if they come in one read.
    for count, status in ((16_000, 200), (21_000, 431)):
        head = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx: " + b"a" * count + b"\r\n\r\n"
        assert answer(process.exchange(head))[0] == status


def test_what_is_no_request_is_refused_in_json(process: Process) -> None:
    for raw in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        b"GET /\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\ncontent-length: -1\r\nhost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\nhost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost : x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        POST + CHUNKED + b"zz\r\n",
        POST + CHUNKED + b"ffffffffffffffffffffff\r\n",
        POST + b"transfer-encoding: gzip, chunked\r\n\r\n",
        # Of two lengths a proxy can take the other one, and see two requests in one.
        POST + b"content-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\r\n\r\n\r\n\r\nabc\r\n\r\n",
    ):
        status, said = answer(process.exchange(raw))
        assert (status, said["code"]) == (400, "bad_request"), raw
    short = POST + b"content-length: 20\r\nconnection: close\r\n\r\n" + ROWS[:20]
    assert answer(process.exchange(short))[1]["code"] == "input_refused"


def test_clients_that_go_away_and_bad_requests_leave_memory_as_it_was(process: Process) -> None:
    close = POST + b"connection: close\r\n"
    bad = (
        b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"\x00" * 100 + b"\r\n\r\n",
        close + b"content-length: 5000\r\n\r\n" + bytes(5000),
        close + b"content-length: 2000000\r\n\r\n" + bytes(2_000_000),
    )
    whole = POST + WHOLE
    # Warm, so that what is measured is growth.
    for rounds in (60, 300):
        before = process.resident()
        for number in range(rounds):
            with process.connected() as connection, contextlib.suppress(ConnectionError):
                if number % 3 == 0:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if number % 2:
                    connection.sendall(whole[: len(whole) * (number % 5 + 1) // 5])
                else:
                    connection.sendall(bad[number // 2 % 4])
                    everything(connection)
    assert process.resident() - before < 2**23


def test_more_connections_than_granted_are_turned_away_and_come_back(process: Process) -> None:
    with contextlib.ExitStack() as held:
        connections = [held.enter_context(process.connected()) for _ in range(60)]
        for connection in connections:
            connection.sendall(b"GET")
        time.sleep(0.2)
        with process.connected() as late:
            status, said = answer(everything(late))
        assert (status, said["code"]) == (503, "overloaded")
        # Their requests do not come.
        assert {answer(everything(connection))[1]["code"] for connection in connections} == {"too_slow"}


def test_clients_that_do_not_read_their_answers_are_cut(process: Process) -> None:
    cut = 'hdlif_connections_cut_total{reason="not_reading"}'
    before, resident = metric(process, cut), process.resident()
    with contextlib.ExitStack() as held:
        for _ in range(2):
            connection = held.enter_context(process.connected())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(2)
            with contextlib.suppress(OSError):
                # The machine holds a few hundred answers before the server has to.
                connection.sendall(b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n" * 10**5)
        wait_until(lambda: metric(process, cut) == before + 2)
    assert process.resident() - resident < 2**25


def test_requests_in_one_packet_are_answered_in_turn(process: Process) -> None:
    one, last = POST + WHOLE, POST + b"connection: close\r\n" + WHOLE
    assert process.exchange(one * 4 + last).count(b"HTTP/1.1 200") == 5
    found = process.exchange(one + one[:40])
    assert found.count(b"HTTP/1.1 200") == 1
    assert found.count(b"HTTP/1.1 408") == 1
