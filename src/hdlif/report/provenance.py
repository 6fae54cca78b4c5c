"""Record the versions, the hardware and the command of a measurement."""

import contextlib
import platform
import shlex
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hdlif.report.build_info import build


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that can affect a run's results."""
    this = build()
    found = {"hdlif": this.version, "python": platform.python_version()}
    if this.commit is not None:
        found["hdlif_commit"] = this.commit[:12]
    return found | installed_versions(("torch", "torchvision", "numpy"))


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of each given package that is installed."""
    found = {}
    for name in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")


def hardware() -> dict[str, Any]:
    """Return this machine's processor model, number of cores and instruction sets."""
    from hdlif.runtime.limits import available_cores

    fields = processor_fields()
    flags = set(fields.get("flags", "").split())
    return {
        "cpu": fields.get("model name", platform.processor() or platform.machine()),
        "cores": available_cores(),
        "instruction_sets": [name for name in INSTRUCTION_SETS if name in flags],
    }


def processor_fields() -> dict[str, str]:
    """Return the fields of the last processor in /proc/cpuinfo, or {} if the file does not exist."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.exists() else ""
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}


NOT_RECORDED = "not recorded"


def measured(seeds: Sequence[int] | str | None) -> dict[str, Any]:
    """Return the command, commit, hardware, versions and seeds of a measurement.

    Args:
        seeds: random seeds, or a description of their origin; None if nothing was random.
    """
    return {
        "command": command(sys.argv),
        "commit": build().commit or NOT_RECORDED,
        "hardware": hardware(),
        "versions": versions(),
        "seeds": "nothing is random" if seeds is None else seeds if isinstance(seeds, str) else list(seeds),
    }


def command(arguments: Sequence[str]) -> str:
    """Format a command line for use on other machines by reducing absolute paths to file names.

    >>> command(["/home/me/hdlif/benchmarks/bench_c.py", "/tmp/net", "--data-root=/data/sets"])
    'python benchmarks/bench_c.py net --data-root=sets'
    """
    program = Path(arguments[0])
    script = program.suffix == ".py" and program.name != "__main__.py"
    words = ["python", f"{program.resolve().parent.name}/{program.name}"] if script else ["hdlif"]
    return shlex.join([*words, *map(_without_folders, arguments[1:])])


def _without_folders(argument: str) -> str:
    name, equals, value = argument.rpartition("=")
    return f"{name}{equals}{Path(value).name}" if Path(value).is_absolute() else argument
