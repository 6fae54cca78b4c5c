"""Real servers in processes of their own, and clients that speak to them by bare sockets."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

import hdlif


@dataclass
class Process:
    """A server that listens."""

    child: subprocess.Popen[str]
    said: dict[str, Any]

    @property
    def address(self) -> str:
        return str(self.said["address"])

    def connected(self) -> socket.socket:
        """A bare connection."""
        place = urlsplit(self.address)
        return socket.create_connection((place.hostname, place.port), timeout=30)

    def exchange(self, raw: bytes) -> bytes:
        """Send bytes over a bare connection, and return what comes until the other end closes."""
        with self.connected() as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(raw)
            return everything(connection)

    def resident(self) -> int:
        """Bytes of memory that the process has."""
        pages = int(Path(f"/proc/{self.child.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Its exit code and standard error, after a signal."""
        self.child.send_signal(number)
        _, err = self.child.communicate(timeout=60)
        return self.child.returncode, err


@contextlib.contextmanager
def server(*arguments: object) -> Iterator[Process]:
    """`hdlif serve` at a free port."""
    command = [sys.executable, "-m", "hdlif", "serve", *map(str, arguments), "--port", "0", "--json"]
    environment = os.environ | {"PYTHONPATH": str(Path(hdlif.__file__).parents[1])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        line = child.stdout.readline()
        if not line:
            raise AssertionError(child.communicate()[1])
        try:
            yield Process(child, json.loads(line))
        finally:
            if child.poll() is None:
                child.kill()


def everything(connection: socket.socket) -> bytes:
    """What comes until the other end closes."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(2**16):
            found += part
    return found


def answer(raw: bytes) -> tuple[int, dict[str, Any]]:
    """Status and JSON of one answer."""
    head, _, body = raw.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def wait_until(condition: Any, seconds: float = 30) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def metric(process: Process, name: str) -> float:
    """A value of /metrics, of a name without its labels the sum; 0 where there is none yet."""
    lines = httpx.get(f"{process.address}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))
