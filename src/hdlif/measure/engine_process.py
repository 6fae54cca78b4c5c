"""A process that loads one engine and runs it: what it needs from its start to its first answer, and in memory.

    python -m hdlif.measure.engine_process ENGINE FILE IMAGES.npy THREADS

Prints "ready" after the first answer, and {"resident_bytes", "peak_resident_bytes"} of the whole process, Python with
it, after a few more runs.
"""

import json
import sys
from pathlib import Path

import numpy as np

from hdlif.measure.engines import ENGINES

RUNS = 5


def resident_bytes(field: str) -> int | None:
    """VmRSS or VmHWM of this process; None where there is no /proc."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    return 1024 * next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(f"{field}:"))


def main(name: str, path: str, images: str, threads: str) -> None:
    x = np.load(images)
    run = ENGINES[name].load(Path(path), int(threads))
    run(x)
    print("ready", flush=True)
    for _ in range(RUNS):
        run(x)
    print(
        json.dumps({"resident_bytes": resident_bytes("VmRSS"), "peak_resident_bytes": resident_bytes("VmHWM")}),
        flush=True,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
