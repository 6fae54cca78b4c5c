"""Networks as C code on microcontrollers."""

from figures.markdown import table
from figures.registry import Record
from figures.registry import table as registered

DEVICES = {"cortex-m0plus-mps2": "Cortex-M0+", "cortex-m4": "Cortex-M4", "cortex-m55": "Cortex-M55"}


PEER = "CMSIS-NN int8"


@registered("c", "c")
def _(record: Record) -> str:
    lines = []
    for device, kinds in record["devices"].items():
        for kind in sorted(kinds, key=lambda kind: kind != PEER):
            found = kinds[kind]
            ratio = found["answer"] / kinds[PEER]["answer"]
            step = f"{found['mean']:,.0f}" if kind in ("float", "fixed") else ""
            sizes = (f"{found[part]:,}" for part in ("rom", "ram"))
            lines.append([f"{DEVICES[device]}, {kind}", step, f"{found['answer']:,.0f}", f"{ratio:.2f}", *sizes])
    columns = ["instructions a step", "an answer", "this / CMSIS-NN", "image", "RAM without stack"]
    return table(["processor", *columns], lines)
