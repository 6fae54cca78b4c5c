"""Compare networks in a table and in sentences."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hdlif.graph.input_record import SAMPLE, SampleName
from hdlif.recipe.runs.summary import TrainResult

DASH = "—"
# Sizes and energies within half a percent of each other count as equal, because their ratio would print as 1.
_ALIKE = 1.005


_SMALLER_IS_BETTER = {"rmse", "mae"}
Best = Callable[[Sequence[float]], float]


@dataclass(frozen=True)
class Table:
    """A table with grouped headings and one row of cells per network.

    A cell contains a printed figure and a flag that marks the best figure in the column. `recipes` contains the name of
    each network's recipe, or None if the network itself has that name.
    """

    groups: list[tuple[str, int]]
    headings: list[str]
    rows: list[tuple[str, list[tuple[str, bool]]]]
    recipes: list[str | None]


def table(networks: Sequence[TrainResult]) -> Table:
    """Return a table of the networks' figures, in which the best figures are marked."""
    columns = []
    # Show the accuracy of classifiers and the metrics of other networks.
    if any(network.accuracy is not None for network in networks):
        values = [_scaled(network.accuracy, 100) for network in networks]
        columns.append(("Accuracy", "%", _cells(values, max, decimals=2)))
    for name in dict.fromkeys(name for network in networks for name in network.beside_accuracy):
        values = [network.beside_accuracy.get(name) for network in networks]
        columns.append(("Test set", name, _cells(values, _best(name, networks))))
    # The unit varies, because networks of the demo use nanojoules and a ResNet-18 a third of a millijoule.
    largest = max((network.energy_mj or 0.0 for network in networks), default=0.0)
    unit, per_mj = ("mJ", 1.0) if largest >= 0.01 or largest == 0.0 else ("µJ", 1e3)
    parameters, operations, training = "Parameters, MB", "Operations, M", "Training"
    energy = f"Energy, {unit}"
    for group, heading, field, factor in (
        (parameters, "paper convention", "params_mb", 1.0),
        (parameters, "file", "stored_mb", 1.0),
        (operations, "SOPs", "sops", 1e-6),
        (operations, "NOPs", "nops", 1e-6),
        (energy, "SOPs only", "energy_mj", per_mj),
        (energy, "all operations", "energy_mj_honest", per_mj),
        (training, "time, s", "train_seconds", 1.0),
        (training, "peak, MB", "peak_bytes", 1e-6),
        (training, "kept, MB", "saved_bytes", 1e-6),
    ):
        values = [_scaled(getattr(network, field), factor) for network in networks]
        columns.append((group, heading, _cells(values, min)))
    groups = Counter(group for group, _, _ in columns)
    rows = [(network.name, [cells[i] for _, _, cells in columns]) for i, network in enumerate(networks)]
    return Table(list(groups.items()), [heading for _, heading, _ in columns], rows, [*map(recipe_beside, networks)])


def recipe_beside(network: TrainResult) -> str | None:
    """Return the name of a network's recipe, or None if the network and the recipe have the same name."""
    name = network.recipe_name
    return None if name == network.name else name


def _best(name: str, networks: Sequence[TrainResult]) -> Best | None:
    """Return `max` if larger values of a metric are better, `min` if smaller values are better, or None if unknown."""
    default = name not in _SMALLER_IS_BETTER
    having = [network for network in networks if name in network.beside_accuracy]
    stated = {(network.larger_is_better or {}).get(name, default) for network in having}
    if stated == {True}:
        return max
    return min if stated == {False} else None


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _cells(values: Sequence[float | None], best: Best | None, *, decimals: int | None = None) -> list[tuple[str, bool]]:
    texts = aligned(values, decimals=decimals)
    known = [value for value in values if value is not None]
    # Figures with the same printed digits are equally good, because the reader compares these digits.
    winner = texts[values.index(best(known))] if best and known else None
    differ = len({text for text in texts if text != DASH}) > 1
    return [(text, differ and text == winner) for text in texts]


def aligned(values: Sequence[float | None], *, decimals: int | None = None) -> list[str]:
    """Format numbers with the same number of decimals; format None as a dash.

    By default, the number of decimals gives the smallest number three significant digits.

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
    """Return the LIF network to compare other networks with, or None unless there is exactly one LIF network."""
    found = [network for network in networks if f"_{network.recipe_name or network.name}".endswith("_lif")]
    return found[0] if len(found) == 1 and len(networks) > 1 else None


def findings(networks: Sequence[TrainResult], samples: SampleName = SAMPLE) -> list[str]:
    """Return sentences that compare accuracy, size and energy, using the LIF network as the baseline if there is one.

    Args:
        samples: name of a sample.
    """
    lif = baseline(networks)
    measured = _accuracy if all(network.accuracy is not None for network in networks) else _metrics
    return [sentence for finding in (measured, _size, _energy) if (sentence := finding(networks, lif, samples))]


def _metrics(networks: Sequence[TrainResult], lif: TrainResult | None, samples: SampleName) -> str | None:
    said = [
        f"{network.name} has {metric} {value:.4g}"
        for network in networks
        if (metric := network.metric) is not None and (value := (network.metrics or {}).get(metric)) is not None
    ]
    return f"On the test set {', '.join(said)}." if said else None


def _accuracy(networks: Sequence[TrainResult], lif: TrainResult | None, samples: SampleName) -> str:
    best = max(network.accuracy or 0.0 for network in networks)
    winners = [network for network in networks if network.accuracy == best]
    count = _test_samples(networks)
    percent = f"{100 * best:.2f} %"
    worth = [] if count is None else [f"one {samples.one} is {_points(100 / count)}"]
    if len(networks) == 1:
        of = "the" if count is None else f"{count:,}"
        aside = "; ".join([*worth, "one run"])
        return f"{winners[0].name} classifies {percent} of {of} test {samples.many} correctly ({aside})."
    of = "" if count is None else f" of {count:,} test {samples.many}"
    at = f"at {percent}{of} ({'; '.join([*worth, 'one run per network'])})"
    noise = f"within the noise of so few test {samples.many}"
    said = f"{_named(winners, 'is', 'are')} the most accurate, {at}"
    if lif in winners:
        said = f"No network is more accurate than the LIF baseline, {at}"
    elif lif:
        said += f", {100 * (best - (lif.accuracy or 0.0)):.2f} points above the LIF baseline"
        if _is_noise(best, lif.accuracy or 0.0, count):
            return f"{said}, which is {noise}."
    others = [network for network in networks if network not in winners]
    following = max(others, key=lambda network: network.accuracy or 0.0, default=None)
    if following and _is_noise(best, following.accuracy or 0.0, count):
        said += f"; the lead over {following.name} is {noise}"
    return f"{said}."


def _test_samples(networks: Sequence[TrainResult]) -> int | None:
    """Return the number of test samples, or None if the number is unknown or differs between networks."""
    # With a class at each step, accuracy is not a fraction of samples.
    if any((network.task or {}).get("kind", "classify") != "classify" for network in networks):
        return None
    counts = {network.test_samples for network in networks}
    return counts.pop() or None if len(counts) == 1 else None


def _is_noise(one: float, other: float, count: int | None) -> bool:
    """Return whether two accuracies differ by less than twice the standard error of their difference.

    The standard error is sqrt(2 p (1 - p) / n) for the mean accuracy p and n independent samples.
    """
    p = (one + other) / 2
    return count is not None and abs(one - other) < 2 * math.sqrt(2 * p * (1 - p) / count)


def _points(value: float) -> str:
    """Format percentage points with two significant digits.

    >>> _points(100 / 9), _points(0.2778), _points(1.0), _points(100.0)
    ('11 points', '0.28 points', '1 point', '100 points')
    """
    said = f"{value:.0f}" if value >= 10 else f"{value:.2g}"
    return f"{said} point" if said == "1" else f"{said} points"


def _size(networks: Sequence[TrainResult], lif: TrainResult | None, samples: SampleName) -> str | None:
    sizes = [(size, network) for network in networks if (size := network.stored_mb)]
    if not sizes:
        return None
    smallest = min(size for size, _ in sizes)
    winners = [network for size, network in sizes if size <= _ALIKE * smallest]
    stored = in_bytes(smallest)
    if lif in winners:
        return f"The LIF baseline has the smallest file, {stored}."
    subject = f"{_named(winners, 'takes', 'take')} {stored}"
    if lif and (reference := lif.stored_mb):
        return f"{subject}, {_less(reference / smallest)} than the LIF baseline."
    # The file of a network with float weights is slightly larger than its weights.
    if (reference := winners[0].fp32_mb) and reference > _ALIKE * smallest:
        return f"{subject}, {_less(reference / smallest)} than in 32-bit floats."
    return f"{subject}."


def in_bytes(size_mb: float) -> str:
    """Format a size with three significant digits, in MB or, if smaller than 0.1 MB, in kB.

    >>> in_bytes(0.324), in_bytes(0.0162)
    ('0.324 MB', '16.2 kB')
    """
    return f"{size_mb:.3g} MB" if size_mb >= 0.1 else f"{1e3 * size_mb:.3g} kB"


def _energy(networks: Sequence[TrainResult], lif: TrainResult | None, samples: SampleName) -> str | None:
    if lif is None or not (reference := lif.energy_mj):
        return None
    energies = [(energy, network) for network in networks if (energy := network.energy_mj)]
    least = min(energy for energy, _ in energies)
    winners = [network for energy, network in energies if energy <= _ALIKE * least]
    if lif in winners:
        return "No network needs less energy than the LIF baseline, counting SOPs only."
    subject = f"{_named(winners, 'needs', 'need')} {_less(reference / least)} energy per {samples.one}"
    paper = f"{subject} than the LIF baseline, counting SOPs only"
    ours, theirs = winners[0].energy_mj_honest, lif.energy_mj_honest
    return f"{paper}, and {_less(theirs / ours)} counting all operations." if ours and theirs else f"{paper}."


def _named(networks: Sequence[TrainResult], singular: str, plural: str) -> str:
    names = [network.name for network in networks]
    if len(names) == 1:
        return f"{names[0]} {singular}"
    return f"{', '.join(names[:-1])} and {names[-1]} {plural}"


def _less(ratio: float) -> str:
    return f"{ratio:.3g} times less" if ratio >= 1 else f"{1 / ratio:.3g} times more"
