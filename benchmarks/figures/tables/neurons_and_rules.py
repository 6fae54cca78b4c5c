"""Time series by neuron and by rule."""

from figures.markdown import table
from figures.registry import Record
from figures.registry import table as registered
from figures.tables.ablations import Cell, cost, grid, neurons, rules, said

WINDOW = ("STBP", "random window of 16")

for _name in ("vowels", "voices"):

    @registered(f"{_name}_neurons", f"ablations/{_name}")
    def _(record: Record) -> str:
        return neurons(record, "accuracy %", WINDOW)

    @registered(f"{_name}_rules", f"ablations/{_name}")
    def _(record: Record) -> str:
        return rules(record, ("HD-LIF",))


@registered("mackey_glass_neurons", "ablations/mackey_glass")
def _(record: Record) -> str:
    return neurons(record, "rmse", WINDOW)


@registered("mackey_glass_rules", "ablations/mackey_glass")
def _(record: Record) -> str:
    return rules(record, ("HD-LIF", "HD-LIF, causal convolutions"))


@registered("copy", "ablations/copy")
def _(record: Record) -> str:
    delays = ("20", "50", "100")
    return grid(record, "right, %; s, MB at a delay of", delays, cell=lambda cell: f"{said(cell, 1)}; {cost(cell)}")


@registered("delayed_xor_settings", "ablations/delayed_xor_settings")
def delayed_xor_settings(record: Record) -> str:
    """Each seed by itself: where some learn it and others do not, a mean says little."""
    lines = []
    for name, of_row in record["rows"].items():
        cell = of_row["STBP"]
        seeds = ", ".join(f"{100 * accuracy:.1f}" for accuracy in cell["accuracies"])
        lines.append([name, seeds, said(cell, 1), f"{cell['parameters']:,}", f"{cell['train_seconds']:.0f}"])
    return table(["changed", "accuracy %, by seed", "mean", "parameters", "s"], lines)


@registered("delays_by_rule", "ablations/delays_by_rule")
def delays_by_rule(record: Record) -> str:
    def both(cell: Cell) -> str:
        return f"{said(cell, 1, seeds=1)}; {cost(cell)}"

    return grid(record, "accuracy %; s, MB at a delay of", ("100", "300", "1000"), cell=both)
