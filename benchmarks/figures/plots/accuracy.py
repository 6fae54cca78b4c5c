"""Accuracy against the number of time steps."""

from figures.drawing import Line, Panel, Plot
from figures.records import record
from figures.registry import plot as registered


def _percent(mean: float, std: float | None) -> tuple[float, ...]:
    return (100 * mean,) if std is None else (100 * mean, 100 * (mean - std), 100 * (mean + std))


@registered("accuracy_time_steps")
def _() -> Plot:
    rows = record("ablations/fashion_mnist_time_steps")["rows"]
    over = tuple(
        Line(name, tuple((int(t.split()[-1]), *_percent(cell["accuracy"], cell["std"])) for t, cell in of.items()))
        for name, of in rows.items()
    )
    within = tuple(
        Line(name, tuple((step, 100 * a) for step, a in enumerate(of["T = 8"]["accuracy_per_step"], start=1)))
        for name, of in rows.items()
    )
    panels = (
        Panel("time steps T, trained", "test accuracy, %", over, title="after all T steps"),
        Panel("step", "test accuracy, %", within, title="after each step of T = 8"),
    )
    return Plot("Accuracy on Fashion-MNIST, images and events, against the number of time steps", panels)


@registered("accuracy_event_windows")
def _() -> Plot:
    rows = record("ablations/fashion_mnist_event_windows")["rows"]
    lines = tuple(
        Line(name, tuple((int(t.split()[-1]), *_percent(cell["accuracy"], cell["std"])) for t, cell in of.items()))
        for name, of in rows.items()
    )
    panel = Panel("time steps T", "test accuracy, %", lines)
    return Plot("Accuracy on Fashion-MNIST as events against the number of time steps, by learning rule", (panel,))
