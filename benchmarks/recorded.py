"""How every benchmark writes its record."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hdlif.recipe.runs.files import write_json
from hdlif.report.provenance import measured


def write_record(path: Path, record: dict[str, Any], *, seeds: Sequence[int] | str | None) -> Path:
    """Write what was measured, with command, commit, hardware, versions and seeds.

    A record of another machine is not overwritten: what is measured again here stands beside it and says of which
    record it is another measurement (`remeasures`), and tables show both.

    Args:
        record: figures, and what belongs to them; its own versions and hardware are taken where it has them.
        seeds: of what was drawn at random, or where they come from; None where nothing was.
    Returns:
        the file that was written.
    """
    found: dict[str, Any] = json.loads(json.dumps(measured(seeds) | record, default=str))
    if path.exists():
        before = json.loads(path.read_text("utf-8"))
        if _machine(before) != _machine(found):
            found["remeasures"] = before.get("remeasures", path.stem)
            path = path.with_name(f"{found['remeasures']}_{_machine(found)}.json")
        elif "remeasures" in before:
            found["remeasures"] = before["remeasures"]
    write_json(path, found)
    return path


def _machine(record: dict[str, Any]) -> str:
    """Processor and widest vectors, as a part of a file name."""
    hardware = record.get("hardware", {})
    sets = hardware.get("instruction_sets", [])
    known = {"amx_int8": "amx", "avx512f": "avx512", "avx2": "avx2"}
    widest = record.get("instruction_set") or next((name for flag, name in known.items() if flag in sets), "")
    words = f"{hardware.get('cpu', 'unknown')} {widest}".replace("(R)", "").replace("(TM)", "")
    return re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")
