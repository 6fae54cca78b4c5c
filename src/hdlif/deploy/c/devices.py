"""Build a network's firmware for other processors, and run the firmware in emulators if the tools are installed."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hdlif.errors import MachineError

DEVICES: Mapping[str, tuple[str, ...]] = {
    "cortex-m0plus": ("arm-none-eabi-gcc", "qemu-system-arm"),
    "cortex-m0plus-mps2": ("arm-none-eabi-gcc", "qemu-system-arm"),
    "cortex-m4": ("arm-none-eabi-gcc", "qemu-system-arm"),
    "cortex-m55": ("arm-none-eabi-gcc", "qemu-system-arm"),
    "riscv64": ("riscv64-linux-gnu-gcc", "qemu-riscv64"),
    "host": ("gcc",),
}
"""Devices of firmware/Makefile, with the tools that each needs in addition to `make`."""
LONGEST_S = 600
_TOO_SMALL = re.compile(r"region `(\w+)' overflowed by (\d+) bytes|no room for a stack")


@dataclass(frozen=True)
class Ran:
    """The result of running a network's samples on one device.

    Attributes:
        fits: whether the program fits into memory; otherwise all numbers are 0.
        code_bytes: bytes of the network's code, without its tables.
        image_bytes: bytes of .text, .rodata and .data of the complete program, including samples and start-up code; 0
            for devices with an operating system.
        stack_bytes: largest measured stack of the program; 0 if it was not measured.
        frame_bytes: largest stack frame of the network's functions, reported by the compiler; 0 if it is unknown.
        ticks: duration of the slowest sample on the board's own clock; 0 without a clock.
        learn_ticks, update_ticks: durations of the slowest learning step and the slowest update; 0 without learning.
        differ: number of outputs that differ from the expected outputs.
    """

    device: str
    fits: bool
    code_bytes: int = 0
    image_bytes: int = 0
    stack_bytes: int = 0
    frame_bytes: int = 0
    ticks: int = 0
    learn_ticks: int = 0
    update_ticks: int = 0
    differ: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def installed() -> tuple[str, ...]:
    """Return the devices whose tools are installed on this machine."""
    if shutil.which("make") is None:
        return ()
    return tuple(device for device, tools in DEVICES.items() if all(map(shutil.which, tools)))


def run_on_devices(
    project: Mapping[str, str],
    data_bytes: int,
    devices: tuple[str, ...] | None = None,
    *,
    by_answer: bool = False,
) -> Iterator[Ran]:
    """Run the samples on each of `devices`, by default all devices whose tools are installed, and yield the results.

    Args:
        project: the files of `firmware`, by name.
        data_bytes: bytes of the network's tables.
        by_answer: call the function for all time steps.
    Raises:
        MachineError: a tool fails, or an output differs from the expected one.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, text in project.items():
            Path(folder, name).write_text(text, encoding="utf-8")
        for device in installed() if devices is None else devices:
            yield _ran(Path(folder), device, data_bytes, by_answer)


def _ran(folder: Path, device: str, data_bytes: int, by_answer: bool) -> Ran:
    flags = ["--always-make", "CFLAGS=-O2 -DBY_ANSWER"] if by_answer else []
    command = ["make", "--no-print-directory", "run", f"DEVICE={device}", *flags]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise MachineError(f"{device}: the firmware did not finish within {LONGEST_S} s") from error
    # semihosting prints to standard error
    printed = done.stdout + done.stderr
    if _TOO_SMALL.search(printed):
        return Ran(device, fits=False)
    said = re.search(r"(\d+) outputs differ; stack: (\d+) bytes; longest sample: (\d+) ticks", printed)
    learned = re.search(r"learned: longest step: (\d+) ticks; longest update: (\d+) ticks", printed)
    network, image = (_flash_bytes(printed, f"{device}.{kind}") for kind in ("o", "elf"))
    if said is None or network is None or image is None:
        raise MachineError(f"{device}: the firmware fails: {printed.strip()[-2000:]}")
    differ, stack, ticks = map(int, said.groups())
    if differ:
        raise MachineError(f"{device}: {differ} outputs differ from the reference; try other tools, or report it")
    return Ran(
        device,
        fits=True,
        code_bytes=network - data_bytes,
        image_bytes=image if stack else 0,
        stack_bytes=stack,
        frame_bytes=_largest_frame(folder / f"{device}.su"),
        ticks=ticks,
        learn_ticks=int(learned[1]) if learned else 0,
        update_ticks=int(learned[2]) if learned else 0,
    )


def _flash_bytes(printed: str, file: str) -> int | None:
    """Return a file's total .text, .rodata and .data bytes as printed by `size`, or None if `size` omits the file."""
    found = re.search(rf"^\s*(\d+)\s+(\d+)\s+\d+\s+\d+\s+\w+\s+(?:\./)?{re.escape(file)}$", printed, re.MULTILINE)
    return None if found is None else sum(map(int, found.groups()))


def _largest_frame(usage: Path) -> int:
    """Return the size of the largest stack frame listed in a `-fstack-usage` file."""
    if not usage.exists():
        return 0
    lines = (line.split("\t") for line in usage.read_text(encoding="utf-8").splitlines())
    return max((int(line[1]) for line in lines if len(line) == 3), default=0)
