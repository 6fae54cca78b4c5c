"""The trained networks of the folder `zoo`."""

import json

from figures.markdown import MISSING, table
from figures.registry import Record
from figures.registry import table as registered
from hdlif import zoo


@registered("trained_networks", None)
def _networks(_: Record) -> str:
    rows = []
    for name, entry in sorted(zoo.manifest().items()):
        card = json.loads((zoo.CHECKOUT / f"{name}{zoo.CARD}").read_text("utf-8"))
        low, high = entry["interval"]
        energies = [card["energy_uj"][count] for count in ("all_operations", "sops_only")]
        total = sum(file["bytes"] for file in entry["files"].values())
        rows.append(
            [
                f"`{name}`",
                entry["data"],
                f"{entry['metric']} {entry['value']:.3f}",
                f"{low:.3f} to {high:.3f}",
                f"{card['model_bytes'] / 1e3:,.1f} / {total / 1e3:,.0f}",
                f"{card['ms']['median']:.3f}",
                " / ".join(MISSING if one is None else f"{one:.3g}" for one in energies),
                entry["licence"],
            ]
        )
    heads = [
        "network",
        "data",
        "test",
        "95 %",
        "kB: model file, all",
        "ms, 1 thread",
        "µJ: all / SOPs only",
        "licence",
    ]
    return table(heads, rows)
