"""Fashion-MNIST: still images, row by row, and in events."""

from figures.markdown import MISSING, table
from figures.records import record as record_of
from figures.registry import Record
from figures.registry import table as registered
from figures.tables.ablations import Cell, grid, said


@registered("fashion_mnist", "ablations/fashion_mnist")
def _(record: Record) -> str:
    return _with_seconds(record)


@registered("fashion_mnist_thresholds", "ablations/fashion_mnist_matched")
def _(record: Record) -> str:
    own = record_of("ablations/fashion_mnist")["rows"]
    rows = {
        "LIF, θ from 1 in (½, 1½)": own["LIF"],
        "LIF, θ from ½ in (0, 1)": record["rows"]["LIF, threshold of graded LIF"],
        "graded LIF, θ from 1 in (½, 1½)": record["rows"]["graded LIF, threshold of LIF"],
        "graded LIF, θ from ½ in (0, 1)": own["graded LIF"],
    }
    lines = []
    for name, cells in rows.items():
        line = [name]
        for rule in ("STBP", "random step"):
            cell = cells[rule]
            fires = f"{cell['firing_rate']:.0%}" if "firing_rate" in cell else MISSING
            line += [said(cell), fires, f"{cell['sops'] / 1e6:.1f}"]
        lines.append(line)
    return table(["accuracy %", "STBP", "fire", "M SOPs", "random step", "fire", "M SOPs"], lines)


@registered("fashion_mnist_variants", "ablations/fashion_mnist_variants")
def _(record: Record) -> str:
    rows = {"HD-LIF, fp32": record_of("ablations/fashion_mnist")["rows"]["HD-LIF"], **record["rows"]}
    cells = {name: of_row["random step"] for name, of_row in rows.items()}
    return table(
        ["with the random step", "accuracy %", "M SOPs"],
        [[name, said(cell), f"{cell['sops'] / 1e6:.1f}"] for name, cell in cells.items()],
    )


@registered("fashion_mnist_rows", "ablations/fashion_mnist_rows")
def _(record: Record) -> str:
    return _with_seconds(record)


def _with_seconds(record: Record) -> str:
    lines = []
    for name, of_row in record["rows"].items():
        lines.append([name, *(f for cell in of_row.values() for f in (said(cell), f"{cell['train_seconds']:.0f}"))])
    rules = list(next(iter(record["rows"].values())))
    return table(["accuracy %", *(word for rule in rules for word in (rule, "s"))], lines)


@registered("fashion_mnist_time_steps", "ablations/fashion_mnist_time_steps")
def _(record: Record) -> str:
    return grid(record, "accuracy %")


@registered("fashion_mnist_after_each_step", "ablations/fashion_mnist_time_steps")
def _(record: Record) -> str:
    def after(cell: Cell) -> list[str]:
        return [f"{accuracy:.1%}".removesuffix("%") for accuracy in cell["accuracy_per_step"]]

    names = ("images, HD-LIF", "events, HD-LIF", "events, half parallel", "events, HD-LIF, STBP")
    lines = [[name, *after(record["rows"][name]["T = 8"])] for name in names]
    return table(["accuracy % after step", *map(str, range(1, 9))], lines)


@registered("fashion_mnist_event_windows", "ablations/fashion_mnist_event_windows")
def _(record: Record) -> str:
    return grid(record, "accuracy %")
