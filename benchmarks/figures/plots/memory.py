"""Peak training memory against the number of time steps."""

from figures.drawing import Line, Panel, Plot
from figures.records import record
from figures.registry import Record
from figures.registry import plot as registered

X, Y = "time steps T", "peak training memory, MB"


def _curves(found: Record) -> tuple[Line, ...]:
    return tuple(
        Line(rule, tuple((int(t), peak / 1e6) for t, peak in peaks.items() if peak is not None))
        for rule, peaks in found["peak_bytes"].items()
    )


@registered("memory")
def _() -> Plot:
    found = record("memory_curve")
    lines = list(_curves(found))
    colours = {line.name: place for place, line in enumerate(lines)}
    for rule in ("random step", "STBP"):
        law = found["law_bytes"][rule]
        points = tuple((int(t), sum(of[p] for p in ("optimiser", "saved", "state")) / 1e6) for t, of in law.items())
        lines.append(Line(f"law, {rule}", points, "dotted", colours[rule]))
    panel = Panel(X, Y, tuple(lines), log_x=True, log_y=True)
    return Plot("Peak training memory of a ResNet-18 against the number of time steps, by learning rule", (panel,))


@registered("memory_series")
def _() -> Plot:
    panel = Panel(X, Y, _curves(record("memory_series")), log_x=True, log_y=True)
    return Plot("Peak training memory of a series network against the number of time steps, by learning rule", (panel,))


@registered("memory_unet")
def _() -> Plot:
    panel = Panel(X, Y, _curves(record("memory_unet")), log_x=True, log_y=True)
    return Plot("Peak training memory of a U-Net against the number of time steps, by learning rule", (panel,))
