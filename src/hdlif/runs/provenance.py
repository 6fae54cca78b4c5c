"""Where a figure comes from: versions and hardware, as every summary states them."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hdlif.build_info import build
from hdlif.runtime.session import available_cores


def versions() -> dict[str, str]:
    """Versions of what decides a run's figures."""
    this = build()
    found = {"hdlif": this.version, "python": platform.python_version()}
    if this.commit is not None:
        found["hdlif_commit"] = this.commit[:12]
    for name in ("torch", "torchvision", "lightning-fabric", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Processor, cores and instruction sets of this machine."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = set(fields.get("flags", "").split())
    return {
        "cpu": fields.get("model name", platform.processor() or platform.machine()),
        "cores": available_cores(),
        "instruction_sets": [name for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16") if name in flags],
    }
