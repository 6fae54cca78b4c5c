"""The trainings of `benchmarks/protocol.md`: accuracy against energy, and against training memory."""

from collections.abc import Collection, Sequence
from statistics import mean

from figures import records
from figures.drawing import Line, Panel, Plot
from figures.registry import Record
from figures.registry import plot as registered
from figures.tables.protocol import ARMS, DATA, SERIES, energy, trainings

ACCURACY = "test accuracy, %"


def _point(found: Collection[Record]) -> tuple[float, ...]:
    """Return the energy and the mean accuracy, and with several seeds also the lowest and highest."""
    accuracies = [100 * one["accuracy"] for one in found]
    ends = (min(accuracies), max(accuracies)) if len(accuracies) > 1 else ()
    return (round(energy(found), 1), mean(accuracies), *ends)


@registered("protocol_images")
def _() -> Plot:
    lines = []
    for arm, (name, shown) in ARMS.items():
        if found := records.of_arm(name):
            lines.append(Line(f"{arm}: {shown}", (_point(found.values()),), "points", len(lines)))
    panel = Panel("energy per image, all operations, µJ", ACCURACY, tuple(lines), log_x=True)
    return Plot("Accuracy of networks on CIFAR-10 (JPEG) against their energy per image", (panel,))


@registered("protocol_series")
def _() -> Plot:
    x = "peak training memory, MB"
    return Plot(
        "Accuracy on two sets of time series against peak training memory, by network; each point is a learning rule",
        tuple(Panel(x, ACCURACY, _networks(data), title=shown) for data, shown in DATA.items()),
    )


def _networks(data: str) -> Sequence[Line]:
    lines = []
    for place, (network, shown) in enumerate(SERIES.items()):
        own = [one for one in trainings(data) if one.network == network]
        points = sorted((one.mean("peak_bytes") / 1e6, 100 * one.mean("accuracy")) for one in own)
        if points:
            lines.append(Line(shown, tuple(points), "points", place))
    return tuple(lines)
