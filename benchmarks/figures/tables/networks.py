"""Networks of other libraries made spiking, and compiled training."""

import statistics

from figures.markdown import table
from figures.registry import Record
from figures.registry import table as registered

RULES = {"stochastic_step": "random step", "stbp": 'STBP (`--set "rule={kind: stbp}"`)'}


@registered("spiking_networks", "spiking_networks")
def _(record: Record) -> str:
    lines = []
    for name, network in record["networks"].items():
        times = network["image_ms"]
        lines.append(
            [name, f"{network['parameters']:,}", f"{network['seconds']:.2f} s", f"{network['file_bytes']:,}",
             f"{statistics.median(times):.1f} ({min(times):.1f} to {max(times):.1f})"]
        )  # fmt: skip
    return table(["network", "parameters", "converted in", "bytes of the file", "ms an image"], lines)


@registered("compile", "compile")
def _(record: Record) -> str:
    lines = []
    for rule, found in record["rules"].items():
        first, later = found["first_s"], found["update_s"]
        lines.append(
            [RULES[rule], str(found["graphs"]), f"{first['eager']:.2f}", f"{first['compiled']:.0f}",
             f"{later['eager']:.3f}", f"{later['compiled']:.3f}"]
        )  # fmt: skip
    head = ["digits_hdlif", "graphs", "first update, s: eager", "compiled", "later updates, s: eager", "compiled"]
    return table(head, lines)
