"""Networks side by side: the findings in sentences, and the table of figures."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from hdlif.report.summary import TrainResult

DASH = "—"
# Sizes and energies within half a percent of each other are called alike: such ratios would print as 1.
_ALIKE = 1.005


@dataclass(frozen=True)
class Column:
    """One figure of the table: how to read it off a network in the unit shown, and which end is best, if one is."""

    group: str
    heading: str
    value: Callable[[TrainResult], float | None]
    best: Callable[[Sequence[float]], float] | None = min
    decimals: int | None = None


@dataclass(frozen=True)
class Cell:
    """A printed figure; `best` where no network prints a better one."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Table:
    """Headings with their groups (name, number of columns), and one row of cells per network."""

    groups: list[tuple[str, int]]
    headings: list[str]
    rows: list[tuple[str, list[Cell]]]


def table(networks: Sequence[TrainResult]) -> Table:
    """The figures of every network; the best of each column is marked where they differ."""
    columns = _columns(networks)
    groups: dict[str, int] = {}
    for column in columns:
        groups[column.group] = groups.get(column.group, 0) + 1
    cells = [_cells([column.value(network) for network in networks], column) for column in columns]
    rows = [(network.name, [column[i] for column in cells]) for i, network in enumerate(networks)]
    return Table(list(groups.items()), [column.heading for column in columns], rows)


def _columns(networks: Sequence[TrainResult]) -> list[Column]:
    # The networks of the demo spend nanojoules, a ResNet-18 a third of a millijoule.
    largest = max((network.energy_mj or 0.0 for network in networks), default=0.0)
    unit, per_mj = ("mJ", 1.0) if largest >= 0.01 or largest == 0.0 else ("µJ", 1e3)
    parameters, operations, training = "Parameters, MB", "Operations, M", "Training"
    energy = f"Energy, {unit}"
    return [
        *_measures(networks),
        Column(parameters, "published", lambda n: n.params_mb),
        Column(parameters, "stored", lambda n: n.stored_mb),
        Column(operations, "SOPs", lambda n: _scaled(n.sops, 1e-6)),
        Column(operations, "NOPs", lambda n: _scaled(n.nops, 1e-6)),
        Column(energy, "paper", lambda n: _scaled(n.energy_mj, per_mj)),
        Column(energy, "honest", lambda n: _scaled(n.energy_mj_honest, per_mj)),
        Column(training, "time, s", lambda n: n.train_seconds),
        Column(training, "peak, MB", lambda n: _scaled(n.peak_bytes, 1e-6)),
        Column(training, "saved, MB", lambda n: _scaled(n.saved_bytes, 1e-6)),
    ]


_SMALLER_IS_BETTER = {"rmse", "mae"}


def _measures(networks: Sequence[TrainResult]) -> list[Column]:
    """Accuracy of networks that classify, and the metrics of others."""
    columns = []
    if any(network.accuracy is not None for network in networks):
        columns.append(Column("Accuracy", "%", lambda n: _scaled(n.accuracy, 100), best=max, decimals=2))
    for name in dict.fromkeys(name for network in networks for name in network.beside_accuracy):
        columns.append(Column("Test set", name, partial(_metric, name), best=_best(name, networks)))
    return columns


def _metric(name: str, network: TrainResult) -> float | None:
    return network.beside_accuracy.get(name)


def _best(name: str, networks: Sequence[TrainResult]) -> Callable[[Sequence[float]], float] | None:
    """Which end of a metric is best, as far as the networks agree."""
    default = name not in _SMALLER_IS_BETTER
    having = [network for network in networks if name in network.beside_accuracy]
    stated = {(network.larger_is_better or {}).get(name, default) for network in having}
    if stated == {True}:
        return max
    return min if stated == {False} else None


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _cells(values: Sequence[float | None], column: Column) -> list[Cell]:
    texts = aligned(values, decimals=column.decimals)
    known = [value for value in values if value is not None]
    if not known:
        return [Cell(text) for text in texts]
    # Figures that print alike are equally good: the digits shown are all that the reader can compare.
    best = None if column.best is None else texts[values.index(column.best(known))]
    differ = len({text for text in texts if text != DASH}) > 1
    return [Cell(text, best=differ and text == best) for text in texts]


def aligned(values: Sequence[float | None], *, decimals: int | None = None) -> list[str]:
    """Numbers with the same count of decimals, so that a column lines up on the point; None is a dash.

    Unless `decimals` says otherwise, there are as many as the smallest needs for three significant digits.

    >>> aligned([11.2, 0.0456, None])
    ['11.2000', '0.0456', '—']
    >>> aligned([1234.5, 990.0])
    ['1,234', '990']
    """
    if decimals is None:
        sizes = [abs(value) for value in values if value]
        decimals = min(max(2 - math.floor(math.log10(min(sizes))), 0), 7) if sizes else 0
    return [DASH if value is None else f"{value:,.{decimals}f}" for value in values]


def baseline(networks: Sequence[TrainResult]) -> TrainResult | None:
    """The one LIF network that the others are measured against (`lif`, `digits_lif`), if there is just one."""
    found = [network for network in networks if network.name == "lif" or network.name.endswith("_lif")]
    return found[0] if len(found) == 1 and len(networks) > 1 else None


def findings(networks: Sequence[TrainResult]) -> list[str]:
    """What the figures say, one sentence each on accuracy, size and energy beside the LIF baseline."""
    lif = baseline(networks)
    measured = _accuracy if all(network.accuracy is not None for network in networks) else _metrics
    return [sentence for finding in (measured, _size, _energy) if (sentence := finding(networks, lif))]


def _metrics(networks: Sequence[TrainResult], lif: TrainResult | None) -> str | None:
    said = [
        f"{network.name} has {metric} {value:.4g}"
        for network in networks
        if (metric := network.metric) is not None and (value := (network.metrics or {}).get(metric)) is not None
    ]
    return f"On the test set {', '.join(said)}." if said else None


def _accuracy(networks: Sequence[TrainResult], lif: TrainResult | None) -> str:
    best = max(network.accuracy or 0.0 for network in networks)
    percent = f"{100 * best:.2f} %"
    winners = [network for network in networks if network.accuracy == best]
    if len(networks) == 1:
        return f"{winners[0].name} classifies {percent} of the test images correctly."
    if lif in winners:
        return f"No network is more accurate than the LIF baseline, at {percent}."
    ahead = f", {100 * (best - (lif.accuracy or 0.0)):.2f} points above the LIF baseline" if lif else ""
    return f"{_named(winners, 'is', 'are')} the most accurate, at {percent}{ahead}."


def _size(networks: Sequence[TrainResult], lif: TrainResult | None) -> str | None:
    sizes = [(size, network) for network in networks if (size := network.stored_mb)]
    if not sizes:
        return None
    smallest = min(size for size, _ in sizes)
    winners = [network for size, network in sizes if size <= _ALIKE * smallest]
    # Three digits in kilobytes read better than 0.0123 MB.
    stored = f"{smallest:.3g} MB" if smallest >= 0.1 else f"{1e3 * smallest:.3g} kB"
    if lif in winners:
        return f"No network is smaller as stored than the LIF baseline, at {stored}."
    subject = f"{_named(winners, 'takes', 'take')} {stored} as stored"
    if lif and (reference := lif.stored_mb):
        return f"{subject}, {_less(reference / smallest)} than the LIF baseline."
    if reference := winners[0].fp32_mb:
        return f"{subject}, {_less(reference / smallest)} than in 32-bit floats."
    return f"{subject}."


def _energy(networks: Sequence[TrainResult], lif: TrainResult | None) -> str | None:
    if lif is None or not (reference := lif.energy_mj):
        return None
    energies = [(energy, network) for network in networks if (energy := network.energy_mj)]
    least = min(energy for energy, _ in energies)
    winners = [network for energy, network in energies if energy <= _ALIKE * least]
    if lif in winners:
        return "No network needs less energy than the LIF baseline by the paper’s count."
    subject = f"{_named(winners, 'needs', 'need')} {_less(reference / least)} energy per image"
    paper = f"{subject} than the LIF baseline by the paper’s count"
    ours, theirs = winners[0].energy_mj_honest, lif.energy_mj_honest
    return f"{paper}, {_less(theirs / ours)} by the honest count." if ours and theirs else f"{paper}."


def _named(networks: Sequence[TrainResult], singular: str, plural: str) -> str:
    names = [network.name for network in networks]
    if len(names) == 1:
        return f"{names[0]} {singular}"
    return f"{', '.join(names[:-1])} and {names[-1]} {plural}"


def _less(ratio: float) -> str:
    return f"{ratio:.3g} times less" if ratio >= 1 else f"{1 / ratio:.3g} times more"
