"""The arms and hypotheses of `benchmarks/protocol.md`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import mean

from figures import records
from figures.markdown import MISSING, megabytes, of_values, table
from figures.registry import Record
from figures.registry import table as registered
from intervals import half_interval

ARMS = {
    "a": ("cifar10_relu", "ReLU, one step"),
    "b": ("cifar10_relu_w1p5_s4", "ReLU, one step, low-bit"),
    "c": ("cifar10_relu_wide_w1p5_s4", "ReLU, one step, low-bit, wider"),
    "d": ("cifar10_hdlif_w1p5_s4", "HD-LIF, random step, low-bit"),
    "e": ("cifar10_hdlif", "HD-LIF, random step"),
    "f": ("cifar10_hdlif_stbp", "HD-LIF, STBP"),
    "g": ("cifar10_lif_stbp", "LIF, STBP"),
    "h": ("cifar10_lif", "LIF, random step"),
}
"""By letter: the arm in `benchmarks/experiments.yaml`, and the name of its network."""
SEEDS = 3
"""Number of seeds without which a hypothesis is untested."""
DECIDING = 1 - 0.05 / 7
"""The level of the intervals that decide, for seven hypotheses (Bonferroni)."""


@dataclass(frozen=True)
class Hypothesis:
    """The mean difference in accuracy, in points, is on one side of a bound."""

    text: str
    signs: Mapping[str, int]
    """By arm: 1 if its accuracy is added, -1 if it is subtracted."""
    bound: float = 0.0
    above: bool = False
    """Whether the difference should exceed the bound; otherwise it should not."""

    def verdict(self, low: float, high: float) -> str:
        """Return whether an interval confirms or rejects the hypothesis.

        >>> gain = Hypothesis("", {"e": 1, "h": -1}, above=True)
        >>> gain.verdict(0.1, 0.5), gain.verdict(-0.5, -0.1), gain.verdict(-0.1, 0.5)
        ('confirmed', 'rejected', 'undecided')
        >>> Hypothesis("", {"f": 1, "e": -1}, bound=1.0).verdict(0.2, 0.9)
        'confirmed'
        """
        if low > self.bound or high <= self.bound:
            return "confirmed" if (low > self.bound) == self.above else "rejected"
        return "undecided"


HYPOTHESES = (
    Hypothesis("low-bit ReLU of equal energy is no more accurate than low-bit HD-LIF", {"c": 1, "d": -1}),
    Hypothesis("STBP is at most 1 point better than the random step for HD-LIF", {"f": 1, "e": -1}, 1.0),
    Hypothesis("HD-LIF is better than LIF with the random step", {"e": 1, "h": -1}, above=True),
    Hypothesis("HD-LIF is better than LIF with STBP", {"f": 1, "g": -1}, above=True),
    Hypothesis("cutting time costs LIF more than HD-LIF", {"g": 1, "h": -1, "f": -1, "e": 1}, above=True),
    Hypothesis("low bits and half the memory cost at most 1 point", {"e": 1, "d": -1}, 1.0),
    Hypothesis("ReLU is no more accurate than HD-LIF with STBP", {"a": 1, "f": -1}),
)


def interval(differences: list[float], level: float) -> tuple[float, float]:
    """Return the ends of Student's t interval of the mean.

    >>> [round(end, 2) for end in interval([1.0, 2.0, 3.0], 0.95)]
    [-0.48, 4.48]
    """
    half = half_interval(differences, level)
    return mean(differences) - half, mean(differences) + half


def differences(signs: Mapping[str, int], accuracies: Mapping[str, Mapping[str, float]]) -> list[float]:
    """Return the difference in points with each seed that all arms have.

    >>> differences({"a": 1, "f": -1}, {"a": {"42": 0.75, "43": 0.5}, "f": {"42": 0.5}})
    [25.0]
    """
    seeds = set.intersection(*(set(accuracies[arm]) for arm in signs))
    return [100 * sum(sign * accuracies[arm][seed] for arm, sign in signs.items()) for seed in sorted(seeds)]


def energy(found: Iterable[Record]) -> float:
    """Return the mean energy of all operations per sample, in µJ."""
    return 1e3 * mean(one["energy_mj_honest"] for one in found)


@registered("cifar10_arms", None)
def _arms(record: Record) -> str:
    lines = []
    for arm, (name, shown) in ARMS.items():
        if found := list(records.of_arm(name).values()):
            deployed = [one["evaluation"]["ms_per_image"].get("deployed") for one in found]
            lines.append(
                [
                    f"{arm}: {shown}",
                    f"{len(found)}",
                    of_values([one["accuracy"] for one in found], ".1f", 100),
                    f"{energy(found):.1f}",
                    f"{1e3 * mean(one['energy_mj'] for one in found):.1f}",
                    f"{1e3 * found[0]['stored_mb']:,.0f}",
                    megabytes(mean(one["peak_bytes"] for one in found), ".0f"),
                    # Other work makes a training slower, so the fastest says most.
                    f"{min(one['train_seconds'] for one in found) / 60:.0f}",
                    f"{min(deployed):.1f}" if all(deployed) else MISSING,
                ]
            )
    heads = ["network", "seeds", "accuracy %", "energy, all operations (µJ)", "SOPs only (µJ)", "file (kB)"]
    return table([*heads, "peak, MB", "training (min)", "ms per image"], lines)


@registered("cifar10_hypotheses", None)
def _hypotheses(record: Record) -> str:
    accuracies = {
        arm: {seed: one["accuracy"] for seed, one in records.of_arm(name).items()} for arm, (name, _) in ARMS.items()
    }
    lines = []
    for number, hypothesis in enumerate(HYPOTHESES, 1):
        found = differences(hypothesis.signs, accuracies)
        line = [f"{number}. {hypothesis.text}", f"{len(found)}", f"{mean(found):+.1f}" if found else MISSING]
        if len(found) >= SEEDS:
            deciding = interval(found, DECIDING)
            ends = (interval(found, 0.95), deciding)
            line += [*("{:+.1f} to {:+.1f}".format(*one) for one in ends), hypothesis.verdict(*deciding)]
        else:
            line += [MISSING, MISSING, "untested"]
        lines.append(line)
    return table(["hypothesis", "seeds", "difference (points)", "95 %", "99.3 %", "verdict"], lines)


SERIES = {
    "hdlif": "HD-LIF",
    "lif": "LIF",
    "parallel": "Parallel",
    "relu": "ReLU",
    "gru": "GRU, int8 weights",
}
RULES = {
    "stbp": "STBP",
    "sltt": "SLTT",
    "ottt": "OTTT",
    "forward_mode": "forward mode",
    "window": "window of 16",
    "step": "random step",
}
DATA = {"hapt": "HAPT", "spoken_digits": "spoken digits"}


@dataclass(frozen=True)
class Training:
    """A network trained with a rule on one data set, once per seed or per speaker."""

    network: str
    rule: str
    records: Mapping[str, Record]
    """By seed, or by speaker and seed."""

    @property
    def shown(self) -> str:
        return f"{SERIES[self.network]}, {RULES[self.rule]}"

    @property
    def accuracies(self) -> dict[str, float]:
        return {key: one["accuracy"] for key, one in self.records.items()}

    def mean(self, key: str) -> float:
        return mean(one[key] for one in self.records.values())


def trainings(data: str) -> list[Training]:
    """Return the trainings of one data set of `DATA` that have records, in the order of `SERIES` and `RULES`."""
    found = (
        Training(network, rule, records.of_arm(f"series_{data}_{network}_{rule}", r"\w+"))
        for network in SERIES
        for rule in RULES
    )
    return [one for one in found if one.records]


def best(found: Iterable[Training]) -> Training | None:
    """Return the training with the highest validation accuracy, or None if there is none."""
    return max(found, key=lambda one: one.mean("validation_accuracy"), default=None)


def best_online(found: Iterable[Training]) -> Training | None:
    """Return the best training of HD-LIF with an online rule."""
    return best(one for one in found if one.network == "hdlif" and one.rule != "stbp")


@registered("series_by_protocol", None)
def _series(record: Record) -> str:
    of_data = {data: {(one.network, one.rule): one for one in trainings(data)} for data in DATA}
    lines = []
    for place in ((network, rule) for network in SERIES for rule in RULES):
        if not any(place in found for found in of_data.values()):
            continue
        line = [SERIES[place[0]], RULES[place[1]]]
        for found in of_data.values():
            if place not in found:
                line += [MISSING] * 3
                continue
            own = list(found[place].records.values())
            seconds = min(one["train_seconds"] for one in own)
            accuracies = list(found[place].accuracies.values())
            line += [of_values(accuracies, ".1f", 100), f"{own[0]['parameters']:,}", f"{seconds:.0f}"]
        lines.append(line)
    heads = [(f"{data} %", "parameters", "training (s)") for data in DATA.values()]
    return table(["network", "rule", *(word for head in heads for word in head)], lines)


@registered("series_hypothesis", None)
def _series_hypothesis(record: Record) -> str:
    lines = []
    for data, shown in DATA.items():
        of_data = trainings(data)
        first, online = best(of_data), best_online(of_data)
        if first is None or online is None:
            continue
        gains = differences({"best": 1, "online": -1}, {"best": first.accuracies, "online": online.accuracies})
        low, high = interval(gains, 0.95)
        verdict = Hypothesis("", {}, 1.0).verdict(low, high)
        lines.append([shown, first.shown, online.shown, f"{mean(gains):+.1f}", f"{low:+.1f} to {high:+.1f}", verdict])
    heads = ["data", "best by validation", "best online HD-LIF", "difference (points)", "95 %", "at most 1 point"]
    return table(heads, lines)
