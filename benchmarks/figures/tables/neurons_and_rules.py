"""Time series by neuron and by rule; accuracies of each family of neurons."""

from collections.abc import Sequence

from figures.markdown import MISSING, table
from figures.records import record as record_of
from figures.registry import Record
from figures.registry import table as registered
from figures.tables.ablations import Cell, cost, grid, neurons, rules, said

WINDOW = ("STBP", "random window of 16")


@registered("voices_neurons", "ablations/voices")
def _(record: Record) -> str:
    return neurons(record, "accuracy %", WINDOW)


@registered("voices_rules", "ablations/voices")
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


SETS = {
    "digits": ("digits", 2),
    "Fashion-MNIST": ("fashion_mnist_losses", 5),
    "digits by row": ("digits_rows", 3),
    "voices": ("voices", 3),
}
"""By their names in a head: the ablation, and its seeds."""
STILL = (
    ("digits", "STBP"),
    ("digits", "random step"),
    ("Fashion-MNIST", "STBP, mean output"),
    ("Fashion-MNIST", "random step, mean output"),
    ("digits by row", "STBP"),
    ("digits by row", "SLTT"),
)
LONG = (("digits by row", "STBP"), ("digits by row", "SLTT"), ("voices", "STBP"))


@registered("accuracy_lif", None)
def _(_: Record) -> str:
    return accuracies(("LIF", "graded LIF", "GLIF", "HD-LIF"), STILL)


@registered("accuracy_hdlif", None)
def _(_: Record) -> str:
    return accuracies(("HD-LIF", "HD-LIF, Mem-BN", "HD-LIF, half parallel", "LIF"), STILL)


@registered("accuracy_long_memory", None)
def _(_: Record) -> str:
    more = ("sliding parallel, taps 1, 1", "adaptive", "second order", "resonate", "HD-LIF, recurrent", "HD-LIF")
    return accuracies(("Parallel", *more), LONG)


def accuracies(neurons: Sequence[str], columns: Sequence[tuple[str, str]]) -> str:
    """Write neurons by sets and rules, each from the ablation of its set."""
    head = [f"{of}, {rule.removesuffix(', mean output')}" for of, rule in columns]
    return table(["accuracy %", *head], [[name, *(_accuracy(name, *column) for column in columns)] for name in neurons])


def _accuracy(neuron: str, of: str, rule: str) -> str:
    ablation, seeds = SETS[of]
    rows = record_of(f"ablations/{ablation}")["rows"]
    if of == "digits by row":
        rows = record_of("ablations/digits_rows_neurons")["rows"] | rows
    cell = rows.get(neuron, {}).get(rule)
    return MISSING if cell is None else said(cell, 1, seeds=seeds)
