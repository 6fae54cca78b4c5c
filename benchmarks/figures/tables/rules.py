"""What learning rules save and take (`bench_rules.py`), and an update beside others' (`bench_training.py`)."""

import statistics

from figures.markdown import megabytes, spread, table
from figures.registry import Record
from figures.registry import table as registered

FEW, MANY = "4", "16"
"""Time steps of the columns."""


@registered("rules", "rules_digits")
def _(record: Record) -> str:
    lines = []
    for rule, counts in record["counts"].items():
        few, many = counts[FEW], counts[MANY]
        lines.append(
            [rule, f"{many['forward_steps']:.3g} / {many['backward_steps']:g}",
             *(megabytes(of["saved_bytes"], ".2f") for of in (few, many)), megabytes(record["peak_bytes"][rule][MANY]),
             *(spread(record["times"][rule][steps], ".2f") for steps in (FEW, MANY))]
        )  # fmt: skip
    steps = [f"T = {FEW}", f"T = {MANY}"]
    head = ["rule", f"steps forward / backward, {steps[1]}", f"saved, MB: {steps[0]}", steps[1]]
    return table([*head, f"peak, MB: {steps[1]}", f"time: {steps[0]}", steps[1]], lines)


@registered("updates", "training")
def _(record: Record) -> str:
    cells = {(cell["row"], cell["time_steps"]): cell for cell in record["cells"]}
    lines = []
    for row in record["rows"]:
        line = [row]
        for steps in record["time_steps"]:
            cell = cells[row, steps]
            beside = cell["beside"]["clock"]
            line.append(spread(statistics.quantiles(cell["clock"]), ".2f"))
            line += [spread(beside[opponent], ".2f") for opponent in ("fastest peer", "naive")]
        lines.append(line)
    each = [head for steps in record["time_steps"] for head in (f"s, T = {steps}", "by peer", "by naive")]
    return table(["network and rule", *each], lines)
