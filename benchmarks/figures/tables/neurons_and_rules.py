"""Every neuron with every rule, by data set."""

from figures.markdown import table
from figures.registry import Record
from figures.registry import table as registered
from figures.tables.ablations import Cell, cost, grid, neurons, rules, said

WHOLE = ("STBP", "SLTT", "OTTT", "forward mode")
DRAWN = ("random step", "random window of 4", "random window of 16")
REDUCED = ("SLTT, reduced", "random window of 16, reduced", "forward mode, reduced")
WINDOW = ("STBP", "random window of 16")

for _name in ("vowels", "voices"):

    @registered(f"{_name}_neurons", f"ablations/{_name}")
    def _(record: Record) -> str:
        return neurons(record, "accuracy %", WINDOW)

    @registered(f"{_name}_rules", f"ablations/{_name}")
    def _(record: Record) -> str:
        return rules(record, ("HD-LIF",))


@registered("hapt_whole", "ablations/hapt")
def _(record: Record) -> str:
    return grid(record, "accuracy %", WHOLE)


@registered("hapt_drawn", "ablations/hapt")
def _(record: Record) -> str:
    return grid(record, "accuracy %", DRAWN)


@registered("hapt_reduced", "ablations/hapt")
def _(record: Record) -> str:
    rows = [row for row, of_row in record["rows"].items() if set(of_row) & set(REDUCED)]
    return grid(record, "accuracy %", ("SLTT, reduced", "forward mode, reduced"), rows)


@registered("hapt_cost", "ablations/hapt")
def _(record: Record) -> str:
    return _costs(record, ("STBP", "SLTT", "OTTT", "random window of 16", "forward mode"))


@registered("mackey_glass_neurons", "ablations/mackey_glass")
def _(record: Record) -> str:
    return neurons(record, "rmse", WINDOW)


@registered("mackey_glass_rules", "ablations/mackey_glass")
def _(record: Record) -> str:
    return rules(record, ("HD-LIF", "HD-LIF, causal convolutions"))


@registered("hapt_next_neurons", "ablations/hapt_next")
def _(record: Record) -> str:
    return neurons(record, "rmse", WINDOW)


@registered("hapt_next_rules", "ablations/hapt_next")
def _(record: Record) -> str:
    return rules(record, ("HD-LIF",))


@registered("fashion_mnist_series_neurons", "ablations/fashion_mnist_series")
def _(record: Record) -> str:
    return grid(record, "accuracy %", (*WINDOW, "random window of 16, reduced"))


@registered("fashion_mnist_series_cost", "ablations/fashion_mnist_series")
def _(record: Record) -> str:
    return _costs(record, (*WINDOW, "random window of 16, reduced"))


@registered("fashion_mnist_series_rules", "ablations/fashion_mnist_series")
def _(record: Record) -> str:
    return rules(record, ("HD-LIF",))


@registered("fashion_mnist_series_forward", "ablations/fashion_mnist_series")
def _(record: Record) -> str:
    rows = ("HD-LIF", "HD-LIF, spread leaks", "resonate")
    return grid(record, "accuracy %", ("STBP", "forward mode", "forward mode, reduced"), rows)


@registered("fashion_mnist_pixels", "ablations/fashion_mnist_pixels")
def _(record: Record) -> str:
    return rules(record, list(record["rows"]))


@registered("delays", "ablations/delays")
def _(record: Record) -> str:
    return grid(record, "accuracy % at a delay of", ("10", "100", "300", "1000"))


@registered("delays_cost", "ablations/delays")
def _(record: Record) -> str:
    return _costs(record, ("10", "100", "300", "1000"))


@registered("copy", "ablations/copy")
def _(record: Record) -> str:
    delays = ("20", "50", "100")
    return grid(record, "right, %; s, MB at a delay of", delays, cell=lambda cell: f"{said(cell, 1)}; {cost(cell)}")


@registered("delayed_xor_whole", "ablations/delayed_xor")
def _(record: Record) -> str:
    return grid(record, "accuracy %", WHOLE)


@registered("delayed_xor_drawn", "ablations/delayed_xor")
def _(record: Record) -> str:
    return grid(record, "accuracy %", DRAWN)


@registered("delayed_xor_cost", "ablations/delayed_xor")
def _(record: Record) -> str:
    return _costs(record, ("STBP", "SLTT", "OTTT", "random window of 16", "forward mode"))


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


def _costs(record: Record, columns: tuple[str, ...]) -> str:
    """Parameters, and seconds and peak memory by column."""
    short = {"random window of 16": "window of 16", "random window of 16, reduced": "window of 16, reduced"}
    lines = []
    for row, of_row in record["rows"].items():
        parameters = next(iter(of_row.values()))["parameters"]
        lines.append([row, f"{parameters:,}", *(cost(of_row[c]) if c in of_row else "" for c in columns)])
    return table(["s, MB", "parameters", *(short.get(c, c) for c in columns)], lines)
