"""Clients that are slow, loud, gone or lying, by bare sockets: each is cut or told why, and the server goes on."""

import contextlib
import socket
import struct
import threading
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


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    artefacts = write(tmp_path_factory.mktemp("net"), net=series(), table=series(kind="table"))
    limits = ("--receive-seconds", 1.5, "--send-seconds", 1.5, "--max-connections", 60, "--max-body-bytes", 2**20)
    with server(*artefacts.values(), *limits) as found:
        yield found
        code, err = found.end()
        assert code == 143
        assert "Traceback" not in err


@pytest.fixture(autouse=True)
def it_goes_on(process: Process) -> Iterator[None]:
    yield

    def answered() -> bool:
        return httpx.post(f"{process.address}/v1/models/net/predict", content=ROWS, headers=NPY).status_code == 200

    # Of a hundred connections that have just come and gone, some may not have been looked at yet.
    wait_until(answered)
    wait_until(lambda: metric(process, "hdlif_body_bytes") == 0)


def test_headers_that_drip_are_cut_with_a_reason(process: Process) -> None:
    begin = time.monotonic()
    with process.connected() as connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        stop = threading.Event()

        def drip() -> None:
            with contextlib.suppress(OSError):
                while not stop.wait(0.1):
                    connection.sendall(b"a: b\r\n")

        dripping = threading.Thread(target=drip)
        dripping.start()
        head = connection.recv(2**16)
        stop.set()
        dripping.join()
    status, said = answer(head)
    assert (status, said["code"]) == (408, "too_slow")
    assert 1.4 < time.monotonic() - begin < 10


def test_bodies_that_drip_are_cut_with_a_reason(process: Process) -> None:
    for head in (b"content-length: 1000\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n"):
        with process.connected() as connection:
            connection.sendall(POST + head)
            for _ in range(10):
                time.sleep(0.1)
                connection.sendall(b"1\r\na\r\n" if b"chunked" in head else b"a")
            status, said = answer(everything(connection))
        assert (status, said["code"]) == (408, "too_slow")


def test_a_body_of_one_byte_chunks_is_read_and_holds_up_nobody(process: Process) -> None:
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in ROWS)
    with process.connected() as connection:
        connection.sendall(POST + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
        assert answer(everything(connection))[0] == 200
    waits: list[float] = []
    with process.connected() as connection, httpx.Client(base_url=process.address) as http:
        connection.setblocking(False)
        connection.sendall(POST + b"transfer-encoding: chunked\r\n\r\n")
        sent, end = b"1\r\na\r\n" * 2**17, time.monotonic() + 1
        while time.monotonic() < end:
            with contextlib.suppress(BlockingIOError):
                sent = sent[connection.send(sent) :] or b"1\r\na\r\n" * 2**17
            begin = time.monotonic()
            assert http.get("/healthz").status_code == 200
            waits.append(time.monotonic() - begin)
    # A read of 256 KiB has 43,690 of them, which took a second of the loop.
    assert sorted(waits)[len(waits) // 2] < 0.1


def test_a_drip_behind_a_refusal_is_cut_too(process: Process) -> None:
    with process.connected() as connection:
        connection.sendall(POST.replace(b"/net/", b"/none/") + b"content-length: 100000\r\n\r\n")
        begin = time.monotonic()
        found = everything(connection)
    assert answer(found)[1]["code"] == "unknown_model"
    assert time.monotonic() - begin < 10


def test_huge_headers_are_refused(process: Process) -> None:
    for head in (b"GET /healthz HTTP/1.1\r\nx: " + b"a" * 10**6, b"GET /" + b"a" * 10**6, b"x" * 10**6):
        with process.connected() as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(head)
            found = everything(connection)
        if found:  # the rest of what was sent may have reset the connection
            assert answer(found)[1]["code"] in ("headers_too_large", "bad_request")
    # Whole, and in one read: within the limit, and beyond it.
    for count, status in ((16_000, 200), (17_000, 431)):
        with process.connected() as connection:
            connection.sendall(
                b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx: " + b"a" * count + b"\r\n\r\n"
            )
            assert answer(everything(connection))[0] == status
    with process.connected() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nx: " + b"a" * 17_000)
        assert answer(everything(connection)) == (431, answer_of("headers_too_large", "16,384 bytes"))


def answer_of(code: str, words: str) -> object:
    class Said:
        def __eq__(self, other: object) -> bool:
            return isinstance(other, dict) and other["code"] == code and words in other["message"]

    return Said()


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        b"GET /\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\ncontent-length: -1\r\nhost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\nhost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost : x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\nffffffffffffffffffffff\r\n",
        POST + b"transfer-encoding: gzip, chunked\r\n\r\n",
        POST + b"content-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\r\n\r\n\r\n\r\nabc\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_in_json(raw: bytes, process: Process) -> None:
    with process.connected() as connection:
        connection.sendall(raw)
        status, said = answer(everything(connection))
    assert (status, said["code"]) in ((400, "bad_request"), (400, "bad_parameter"))


def test_a_lie_about_the_length_is_no_array(process: Process) -> None:
    with process.connected() as connection:
        connection.sendall(POST + b"content-length: 20\r\nconnection: close\r\n\r\n" + ROWS[:20])
        status, said = answer(everything(connection))
    assert (status, said["code"]) == (422, "input_refused")


def test_clients_that_go_away_cost_nothing(process: Process) -> None:
    def gone(raw: bytes, *, reset: bool) -> None:
        with process.connected() as connection:
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(raw)

    whole = POST + b"content-length: %d\r\n\r\n" % len(ROWS) + ROWS
    # Warm, so that what is measured is growth.
    for rounds in (30, 150):
        before = process.resident()
        for number in range(rounds):
            gone(whole[: len(whole) * (number % 5 + 1) // 5], reset=bool(number % 2))
    assert process.resident() - before < 2**22


def test_more_connections_than_granted_are_turned_away_and_come_back(process: Process) -> None:
    with contextlib.ExitStack() as held:
        connections = [held.enter_context(process.connected()) for _ in range(60)]
        for connection in connections:
            connection.sendall(b"GET")
        time.sleep(0.2)
        with process.connected() as late:
            status, said = answer(everything(late))
        assert (status, said["code"]) == (503, "overloaded")
        begin = time.monotonic()
        # Their requests do not come.
        assert {answer(everything(connection))[1]["code"] for connection in connections} == {"too_slow"}
        assert time.monotonic() - begin < 10


def test_clients_that_do_not_read_their_answers_are_cut(process: Process) -> None:
    rows = b"0,0\n" * 1000
    head = POST.replace(b"/net/", b"/table/").replace(b"application/x-npy", b"text/csv")
    request = head + b"content-length: %d\r\n\r\n" % len(rows) + rows
    cut = 'hdlif_connections_cut_total{reason="not_reading"}'
    before, resident = metric(process, cut), process.resident()
    with contextlib.ExitStack() as held:
        for _ in range(4):
            connection = held.enter_context(process.connected())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(2)
            with contextlib.suppress(OSError):
                connection.sendall(request * 100)
        # Some 320 answers of 1,000 rows are written before the machine holds no more of them.
        wait_until(lambda: metric(process, cut) == before + 4, seconds=120)
    assert process.resident() - resident < 2**25


def test_requests_in_one_packet_are_answered_in_turn(process: Process) -> None:
    one = POST + b"content-length: %d\r\n\r\n" % len(ROWS) + ROWS
    last = POST + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(ROWS) + ROWS
    with process.connected() as connection:
        connection.sendall(one * 4 + last)
        assert everything(connection).count(b"HTTP/1.1 200") == 5
    with process.connected() as connection:
        connection.sendall(one + one[:40])
        found = everything(connection)
    assert found.count(b"HTTP/1.1 200") == 1
    assert found.count(b"HTTP/1.1 408") == 1


def test_hundreds_of_bad_requests_leave_memory_as_it_was(process: Process) -> None:
    bad = [b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", b"\x00" * 100 + b"\r\n\r\n"]
    bad.append(POST + b"connection: close\r\ncontent-length: 5000\r\n\r\n" + bytes(5000))
    bad.append(POST + b"connection: close\r\ncontent-length: 2000000\r\n\r\n" + bytes(2_000_000))
    for rounds in (100, 400):
        before = process.resident()
        for number in range(rounds):
            with process.connected() as connection:
                connection.sendall(bad[number % 4])
                everything(connection)
    assert process.resident() - before < 2**23
