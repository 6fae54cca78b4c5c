"""Records by name, and what stands in them."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

RECORDS = Path(__file__).parents[1] / "records"


def names() -> list[str]:
    """All records, those of `ablations` with their folder."""
    return sorted(path.relative_to(RECORDS).with_suffix("").as_posix() for path in RECORDS.rglob("*.json"))


@cache
def record(name: str) -> dict[str, Any]:
    """The content of `benchmarks/records/NAME.json`."""
    found: dict[str, Any] = json.loads((RECORDS / f"{name}.json").read_text("utf-8"))
    return found


def measurements(name: str) -> list[dict[str, Any]]:
    """The record, and then those that measure the same on another machine (`remeasures`)."""
    return [record(name), *(record(other) for other in names() if record(other).get("remeasures") == name)]


def machine(measured: dict[str, Any]) -> str:
    """The processor of a record, and the widest vectors that were used."""
    hardware = measured["hardware"]
    sets = hardware.get("instruction_sets", [])
    known = {"amx_int8": "amx", "avx512f": "avx512"}
    best = next((name for flag, name in known.items() if flag in sets), sets[0] if sets else "")
    widest = measured.get("instruction_set") or best
    shown = {"amx": "AMX", "avx512": "AVX-512", "avx2": "AVX2"}.get(widest, widest)
    cpu = hardware["cpu"].replace("(R)", "").replace("(TM)", "").removesuffix(" Processor")
    return f"{cpu}, {shown}" if shown else cpu


def of_arm(arm: str, each: str = r"\d+") -> dict[str, dict[str, Any]]:
    """Records of an arm of `benchmarks/experiments.yaml`, by what follows its name: the seed, or a match of `each`."""
    found = (re.fullmatch(rf"experiments/{arm}_({each})", name) for name in names())
    return {one[1]: record(one[0]) for one in found if one}


def value(path: str) -> Any:
    """What stands at RECORD/KEY/...; a key may be the place in a list.

    Raises:
        KeyError: there is no such record or key.
    """
    parts = path.split("/")
    for length in range(1, len(parts)):
        if (RECORDS / f"{'/'.join(parts[:length])}.json").exists():
            found: Any = record("/".join(parts[:length]))
            for key in parts[length:]:
                found = found[int(key)] if isinstance(found, list) else found[key]
            return found
    raise KeyError(f"{path}: no such record")
