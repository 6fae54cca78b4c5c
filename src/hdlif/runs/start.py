"""Starts this program again for each further process of a training on this node."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence

from hdlif.python_processes import this_command

SECONDS = 5.0
"""Between two looks at the processes that were started."""


def start_others(devices: int, world_size: int) -> int:
    """Start the other processes of this node, unless this is one of them; return the number of this one.

    Each finds its place in LOCAL_RANK, NODE_RANK, MASTER_ADDR and MASTER_PORT. If one of them fails, all end.
    """
    place = os.environ
    place.setdefault("NODE_RANK", "0")
    place.setdefault("MASTER_ADDR", "127.0.0.1")
    if "LOCAL_RANK" in place:
        return int(place["LOCAL_RANK"])
    place.setdefault("MASTER_PORT", str(_free_port()))
    place["LOCAL_RANK"], place["WORLD_SIZE"] = "0", str(world_size)
    started = [
        subprocess.Popen(this_command(), env={**place, "LOCAL_RANK": str(number)}) for number in range(1, devices)
    ]
    threading.Thread(target=_watch, args=[started], daemon=True, name="watch-processes").start()
    return 0


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _watch(started: Sequence[subprocess.Popen[bytes]]) -> None:
    """Kill all processes, this one last, when one has failed: the others may wait for it for ever."""
    while any(one.poll() is None for one in started):
        time.sleep(SECONDS)
        if any(one.poll() for one in started):
            for one in started:
                one.kill()
            os.kill(os.getpid(), signal.SIGKILL)
