"""Load on `hdlif serve` over loopback: many streams at once, what each step takes, whether all is answered, memory.

    python benchmarks/bench_serving.py ARTEFACT [--streams 1000] [--seconds 600] [--period 2] [--out RECORD]

The server is a process of its own, and so is each of the clients, which speak HTTP by bare sockets, one connection
for each stream. Phases:

    paced      each stream sends a step every `--period` seconds, at moments spread evenly, for `--seconds`
    saturated  each stream sends its next step as soon as the one before is answered, for `--saturated-seconds`
    whole      16 connections send whole inputs as fast as they are answered, for `--saturated-seconds`

A step takes from the first byte that is sent to the last that is received. Every answer is compared with what this
process computes of the same steps; `wrong` counts those that differ, `lost` those that did not come. Memory is the
server's resident set, once a second: at a tenth of the paced phase, at its end, and the most. Prints one JSON object,
with the machine's load averages over 1 minute at the beginning and the end: what else runs there is in the tails.
"""

import argparse
import asyncio
import io
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from hdlif.graph.artefact import load
from hdlif.runtime import Session
from hdlif.runtime.answers import answers
from hdlif.runtime.files import Given
from hdlif.runtime.going_on import GoingOn
from hdlif.runtime.inputs import read_inputs, read_steps
from recorded import write_record

PATTERNS = 8
"""Different sequences of inputs, which the streams share."""
REPEATS = 16
"""Steps after which a sequence of inputs repeats."""
CONNECTIONS = 16
MODEL = "net"


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


class Expected:
    """What is said of each pattern after each step, computed when it is first asked for."""

    def __init__(self, path: Path) -> None:
        self.session = Session(load(path), 1)
        rng, record = np.random.default_rng(0), self.session.input
        shape = record.shape if record.kind in ("image", "events") else record.shape[:1]

        def drawn(*of: int) -> bytes:
            if record.kind == "image":
                return npy(rng.integers(0, 256, of, dtype=np.uint8))
            return npy(rng.normal(0.0, 1.0, of).astype(np.float32))

        self.steps = [[drawn(*shape) for _ in range(REPEATS)] for _ in range(PATTERNS)]
        whole = shape if record.kind != "series" else (self.session.time_steps, *shape)
        self.inputs = [drawn(*whole) for _ in range(PATTERNS)]
        self._going = [GoingOn(self.session) for _ in range(PATTERNS)]
        self._said: list[list[Any]] = [[] for _ in range(PATTERNS)]
        self.whole = [self._of(body) for body in self.inputs]

    def after(self, pattern: int, step: int) -> Any:
        """What is said after a step, from 0."""
        said = self._said[pattern]
        while len(said) <= step:
            body = Given("body", ".npy", self.steps[pattern][len(said) % REPEATS])
            x = read_steps(body, self.session.input, self.session.time_steps)
            said += json.loads(json.dumps(self._going[pattern].run(x)))
        return said[step]

    def _of(self, body: bytes) -> Any:
        ((_, x),) = read_inputs(Given("body", ".npy", body), self.session.input, self.session.time_steps)
        return json.loads(json.dumps(next(answers(self.session.run(x), self.session.task, self.session.labels))))


@dataclass
class Counts:
    """What clients saw."""

    seconds: list[float] = field(default_factory=list)
    wrong: int = 0
    lost: int = 0

    def add(self, other: "Counts") -> None:
        self.seconds += other.seconds
        self.wrong += other.wrong
        self.lost += other.lost

    def as_dict(self, seconds: float) -> dict[str, Any]:
        p50, p95, p99, most = np.percentile(np.array(self.seconds or [0]) * 1000, [50, 95, 99, 100])
        return {
            "answered": len(self.seconds),
            "per_second": round(len(self.seconds) / seconds, 1),
            "wrong": self.wrong,
            "lost": self.lost,
            "ms": {"p50": round(p50, 2), "p95": round(p95, 2), "p99": round(p99, 2), "max": round(most, 2)},
        }


class Connection:
    """A connection that is kept alive."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def post(self, path: str, body: bytes = b"") -> tuple[int, Any]:
        head = (
            f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-npy\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        head_of = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head_of.lower().partition(b"content-length:")[2].split()[0])
        return int(head_of.split(maxsplit=2)[1]), json.loads(await self._reader.readexactly(length))

    def close(self) -> None:
        self._writer.close()


class Stream:
    """A stream and how far it is."""

    def __init__(self, connection: Connection, id: str, pattern: int, expected: Expected) -> None:
        self._connection, self._id, self._pattern, self._expected = connection, id, pattern, expected
        self._step = 0

    async def step(self, counts: Counts) -> None:
        """Send the next step and check its answer."""
        body = self._expected.steps[self._pattern][self._step % REPEATS]
        begin = time.perf_counter()
        try:
            status, said = await self._connection.post(f"/v1/streams/{self._id}/steps?t={self._step}", body)
        except (OSError, asyncio.IncompleteReadError):
            counts.lost += 1
            return
        counts.seconds.append(time.perf_counter() - begin)
        right = {"t": self._step + 1, **(self._expected.after(self._pattern, self._step) or {})}
        self._step += 1
        counts.wrong += status != 200 or said["answers"] != [right]


async def connect(address: str) -> Connection:
    place = urlsplit(address)
    return Connection(*await asyncio.open_connection(place.hostname, place.port))


async def streams(options: argparse.Namespace, address: str, mine: list[int], expected: Expected) -> list[Counts]:
    found = []
    for number in mine:
        connection = await connect(address)
        status, said = await connection.post(f"/v1/models/{MODEL}/streams")
        assert status == 201, said
        found.append(Stream(connection, said["stream"], number % PATTERNS, expected))
    paced, saturated = Counts(), Counts()
    begin = time.perf_counter() + 0.5

    async def at_its_pace(place: int, stream: Stream) -> None:
        due = begin + options.period * mine[place] / options.streams
        while due < begin + options.seconds:
            await asyncio.sleep(max(0, due - time.perf_counter()))
            await stream.step(paced)
            due += options.period

    async def at_once(stream: Stream) -> None:
        end = time.perf_counter() + options.saturated_seconds
        while time.perf_counter() < end:
            await stream.step(saturated)

    await asyncio.gather(*(at_its_pace(place, stream) for place, stream in enumerate(found)))
    await asyncio.sleep(max(0, begin + options.seconds + 1 - time.perf_counter()))
    await asyncio.gather(*map(at_once, found))
    return [paced, saturated]


async def wholes(options: argparse.Namespace, address: str, expected: Expected) -> Counts:
    counts = Counts()

    async def ask(pattern: int) -> None:
        connection = await connect(address)
        end = time.perf_counter() + options.saturated_seconds
        while time.perf_counter() < end:
            begin = time.perf_counter()
            status, said = await connection.post(f"/v1/models/{MODEL}/predict", expected.inputs[pattern])
            counts.seconds.append(time.perf_counter() - begin)
            counts.wrong += status != 200 or said["inputs"] != [{"input": "body", **expected.whole[pattern]}]
        connection.close()

    await asyncio.gather(*(ask(number % PATTERNS) for number in range(CONNECTIONS)))
    return counts


def client(options: argparse.Namespace, address: str, mine: list[int], results: Any) -> None:
    results.put(asyncio.run(streams(options, address, mine, Expected(options.artefact))))


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(options: argparse.Namespace, child: subprocess.Popen[str]) -> dict[str, Any]:
    assert child.stdout is not None
    address = json.loads(child.stdout.readline())["address"]
    started = resident(child.pid)
    memory: list[int] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(1):
            memory.append(resident(child.pid))

    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    shares = [list(range(number, options.streams, options.clients)) for number in range(options.clients)]
    clients = [context.Process(target=client, args=(options, address, mine, results)) for mine in shares]
    begin = time.perf_counter()
    for one in clients:
        one.start()
    watching = threading.Thread(target=watch)
    watching.start()
    paced, saturated = Counts(), Counts()
    for _ in clients:
        of_one = results.get()
        paced.add(of_one[0])
        saturated.add(of_one[1])
    for one in clients:
        one.join()
    stop.set()
    watching.join()
    lasted = time.perf_counter() - begin
    share = processor_seconds(child.pid) / lasted
    of_paced = memory[: int(options.seconds)]
    whole = asyncio.run(wholes(options, address, Expected(options.artefact)))
    return {
        "paced": {"seconds": options.seconds, "period": options.period, **paced.as_dict(options.seconds)},
        "saturated": {"seconds": options.saturated_seconds, **saturated.as_dict(options.saturated_seconds)},
        "whole": {
            "seconds": options.saturated_seconds,
            "connections": CONNECTIONS,
            **whole.as_dict(options.saturated_seconds),
        },
        "resident_mb": {
            "started": round(started / 1e6, 1),
            "at_a_tenth": round(of_paced[len(of_paced) // 10] / 1e6, 1),
            "at_the_end": round(of_paced[-1] / 1e6, 1),
            "most": round(max(memory) / 1e6, 1),
        },
        "share_of_a_core": round(share, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artefact", type=Path)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--period", type=float, default=2)
    parser.add_argument("--saturated-seconds", type=float, default=20)
    parser.add_argument("--clients", type=int, default=1, help="processes that send")
    parser.add_argument("--threads", type=int, default=1, help="of the server's runtime")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    command = [
        *(sys.executable, "-m", "hdlif", "serve", f"{MODEL}={options.artefact}", "--port", "0", "--json"),
        *("--threads", str(options.threads), "--max-connections", str(options.streams + 64)),
    ]
    before = os.getloadavg()[0]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            found = measured(options, child)
        finally:
            child.send_signal(signal.SIGTERM)
        code = child.wait(60)
    record = {
        "streams": options.streams,
        "clients": options.clients,
        "threads": options.threads,
        "artefact": options.artefact.name,
        "nice": os.nice(0),
        "load_averages": [round(before, 2), round(os.getloadavg()[0], 2)],
        "exit_code": code,
        **found,
    }
    if options.out:
        write_record(options.out, record, seeds=None)
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
