"""Networks as C code on microcontrollers."""

from figures.markdown import table
from figures.registry import Record
from figures.registry import table as registered

DEVICES = {"cortex-m0plus-mps2": "Cortex-M0+", "cortex-m4": "Cortex-M4", "cortex-m55": "Cortex-M55"}


@registered("c", "c")
def _(record: Record) -> str:
    lines = []
    for device, kinds in record["devices"].items():
        dense = kinds["dense int8"]["mean"]
        for kind, found in kinds.items():
            ram = "" if kind == "dense int8" else f"{found['ram']:,}"
            ratio = "1" if kind == "dense int8" else f"{dense / found['mean']:.2f}"
            lines.append([f"{DEVICES[device]}, {kind}", f"{found['mean']:,.0f}", ratio, f"{found['rom']:,}", ram])
    return table(["processor", "instructions a step", "dense int8 / this", "image", "state and work space"], lines)
