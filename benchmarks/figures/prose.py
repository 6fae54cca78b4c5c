"""Figures in prose that are computed from more than one value of a record."""

import math
import statistics
from functools import partial
from typing import Any

from figures.records import record
from figures.registry import figure
from figures.tables.coherence import setting_of
from figures.tables.digits import paired

OWN = "ablations/fashion_mnist"
OTHER = "ablations/fashion_mnist_matched"
LIF, GRADED, HDLIF, PARALLEL = ((OWN, name) for name in ("LIF", "graded LIF", "HD-LIF", "Parallel"))
LIF_LOW, GRADED_HIGH = (OTHER, "LIF, threshold of graded LIF"), (OTHER, "graded LIF, threshold of LIF")
STBP, SLTT, OTTT, STEP = "STBP", "SLTT", "OTTT", "random step"
ROWS = "ablations/fashion_mnist_rows"
DIGITS_ROWS = "ablations/digits_rows"
MEMORY = "ablations/digits_rows_neurons"
FULL = "ablations/fashion_mnist_full"

Cell = tuple[str, str]
DIFFERENCES: dict[str, tuple[Cell, str, Cell, str]] = {
    "spikes_low_stbp": (GRADED, STBP, LIF_LOW, STBP),
    "spikes_low_step": (GRADED, STEP, LIF_LOW, STEP),
    "spikes_high_stbp": (GRADED_HIGH, STBP, LIF, STBP),
    "spikes_high_step": (LIF, STEP, GRADED_HIGH, STEP),
    "own_threshold_stbp": (LIF, STBP, LIF_LOW, STBP),
    "own_threshold_step": (LIF, STEP, LIF_LOW, STEP),
    "both_stbp": (GRADED, STBP, LIF, STBP),
    "both_step": (GRADED, STEP, LIF, STEP),
    "learned_step": (HDLIF, STEP, LIF, STEP),
    "reset_step": (HDLIF, STEP, GRADED, STEP),
    "reset_stbp": (HDLIF, STBP, GRADED, STBP),
    "rule_lif": (LIF, STBP, LIF, STEP),
    "rule_graded": (GRADED, STBP, GRADED, STEP),
    "rule_hdlif": (HDLIF, STEP, HDLIF, STBP),
    "rule_parallel": (PARALLEL, STBP, PARALLEL, STEP),
    "memory_stbp": (HDLIF, STBP, PARALLEL, STBP),
    "memory_step": (HDLIF, STEP, PARALLEL, STEP),
    "rows_hdlif": ((ROWS, "HD-LIF"), STBP, (ROWS, "Parallel"), STBP),
    "rows_lif": ((ROWS, "LIF"), STBP, (ROWS, "Parallel"), STBP),
    "rows_hdlif_step": ((ROWS, "HD-LIF"), STEP, (ROWS, "Parallel"), STEP),
    "rows_rule_lif": ((ROWS, "LIF"), STBP, (ROWS, "LIF"), STEP),
    "rows_rule_hdlif": ((ROWS, "HD-LIF"), STBP, (ROWS, "HD-LIF"), STEP),
    "rows_rule_parallel": ((ROWS, "Parallel"), STEP, (ROWS, "Parallel"), STBP),
    **{
        f"digits_rows_{name}_{column.split()[0].lower()}": (
            (DIGITS_ROWS, "HD-LIF"),
            column,
            (DIGITS_ROWS, other),
            column,
        )
        for name, other in (("parallel", "Parallel"), ("lif", "LIF"))
        for column in (STBP, SLTT, OTTT, STEP)
    },
    "digits_rows_cut_hdlif": ((DIGITS_ROWS, "HD-LIF"), STBP, (DIGITS_ROWS, "HD-LIF"), SLTT),
    "digits_rows_cut_graded": ((DIGITS_ROWS, "graded LIF"), STBP, (DIGITS_ROWS, "graded LIF"), SLTT),
    "digits_rows_cut_lif": ((DIGITS_ROWS, "LIF"), STBP, (DIGITS_ROWS, "LIF"), SLTT),
    **{
        f"digits_rows_step_{name}": ((DIGITS_ROWS, neuron), SLTT, (DIGITS_ROWS, neuron), STEP)
        for name, neuron in (("lif", "LIF"), ("graded", "graded LIF"), ("hdlif", "HD-LIF"), ("parallel", "Parallel"))
    },
    "neurons_recurrent_stbp": ((MEMORY, "HD-LIF, recurrent"), STBP, (MEMORY, "HD-LIF"), STBP),
    "neurons_second_stbp": ((MEMORY, "HD-LIF"), STBP, (MEMORY, "second order"), STBP),
    "neurons_parallel_stbp": ((MEMORY, "HD-LIF"), STBP, (MEMORY, "Parallel"), STBP),
    "neurons_four_stbp": ((MEMORY, "HD-LIF"), STBP, (MEMORY, "sliding parallel, taps 1, 1, 1, 1"), STBP),
    "neurons_adaptive_sltt": ((MEMORY, "adaptive"), SLTT, (MEMORY, "HD-LIF"), SLTT),
    "neurons_recurrent_sltt": ((MEMORY, "HD-LIF"), SLTT, (MEMORY, "HD-LIF, recurrent"), SLTT),
    "neurons_second_sltt": ((MEMORY, "HD-LIF"), SLTT, (MEMORY, "second order"), SLTT),
    "neurons_four_sltt": ((MEMORY, "HD-LIF"), SLTT, (MEMORY, "sliding parallel, taps 1, 1, 1, 1"), SLTT),
    "neurons_resonate_step": ((MEMORY, "resonate"), STEP, (MEMORY, "HD-LIF"), STEP),
    "neurons_cut_second": ((MEMORY, "second order"), STBP, (MEMORY, "second order"), SLTT),
    "neurons_cut_recurrent": ((MEMORY, "HD-LIF, recurrent"), STBP, (MEMORY, "HD-LIF, recurrent"), SLTT),
}
"""By name: so many points the first cell is above the second; each a record's row and its column."""


def _accuracies(cell: Cell, rule: str) -> list[float]:
    found: list[float] = record(cell[0])["rows"][cell[1]][rule]["accuracies"]
    return [100 * accuracy for accuracy in found]


def difference(first: list[float], second: list[float]) -> tuple[float, float]:
    """Of the means, with its standard error.

    >>> difference([3.0, 5.0], [1.0, 1.0])
    (3.0, 1.0)
    """
    error = math.sqrt(sum(statistics.variance(values) / len(values) for values in (first, second)))
    return statistics.mean(first) - statistics.mean(second), error


def _registered(name: str, cells: tuple[Cell, str, Cell, str]) -> None:
    def both() -> tuple[float, float]:
        first, rule, second, other = cells
        return difference(_accuracies(first, rule), _accuracies(second, other))

    figure(f"gain/{name}")(lambda: f"{both()[0]:.1f}")
    figure(f"gain/{name}/error")(lambda: f"{both()[1]:.1f}")


for _name, _cells in DIFFERENCES.items():
    _registered(_name, _cells)


def _means(start: str) -> list[float]:
    """Of all differences whose names begin so."""
    found = [cells for name, cells in DIFFERENCES.items() if name.startswith(start)]
    return [difference(_accuracies(a, rule), _accuracies(b, other))[0] for a, rule, b, other in found]


for _start in ("digits_rows_lif", "digits_rows_step"):
    figure(f"gain/{_start}/least")(lambda of=_start: f"{min(_means(of)):.1f}")  # type: ignore[misc]
    figure(f"gain/{_start}/most")(lambda of=_start: f"{max(_means(of)):.1f}")  # type: ignore[misc]


def _demo(name: str) -> float:
    """The accuracy of a network of the demo in per cent."""
    (found,) = (network for network in record("demo_fashion_mnist")["networks"] if network["name"] == name)
    return float(100 * found["accuracy"])


figure("gain/demo_hdlif")(lambda: f"{_demo('hdlif') - _demo('lif'):.1f}")
figure("gain/demo_learned")(lambda: f"{_demo('hdlif') - _accuracies((FULL, 'LIF'), STEP)[0]:.1f}")
figure("gain/demo_compressed")(lambda: f"{_demo('hdlif') - _demo('hdlif_w1p5_s4'):.1f}")


def _lost_by_sharing(network: int) -> str:
    """Points that statistics which all steps share cost at the last step."""
    accuracies = record("shared_statistics")["networks"][network]["accuracy_per_step"]
    return f"{100 * (accuracies['per step'][-1] - accuracies['shared'][-1]):.1f}"


figure("gain/shared_statistics_lif")(lambda: _lost_by_sharing(0))


def _lost(neuron: str, loss: str) -> tuple[float, float]:
    """Points that SLTT loses against STBP with the same loss, digits row by row; mean and standard error."""
    of_row = record("ablations/digits_rows_losses")["rows"][neuron]
    return paired(of_row[f"STBP, {loss}"], of_row[f"SLTT, {loss}"])


for _name, _neuron in (("lif", "LIF"), ("graded", "graded LIF"), ("hdlif", "HD-LIF")):
    figure(f"cut/{_name}")(lambda of=_neuron: f"{_lost(of, 'mean output')[0]:.1f}")  # type: ignore[misc]
    figure(f"cut/{_name}/error")(lambda of=_neuron: f"{_lost(of, 'mean output')[1]:.1f}")  # type: ignore[misc]


def _energy(name: str, count: str) -> float:
    """The mean energy of a network of `energy_of_digits`, in microjoules."""
    return 1e3 * statistics.mean(run[count] for run in record("energy_of_digits")["networks"][name]["runs"])


_honest, _published = partial(_energy, count="energy_mj_honest"), partial(_energy, count="energy_mj")


def _weights_once() -> str:
    """Microjoules of traffic if each layer read its weights once per image, which has four steps."""
    of = record("energy_of_digits")
    moved = of["networks"][COMPRESSED]["traffic_bytes"]
    return f"{(moved['weights'] / 4 + moved['potentials'] + moved['values']) * of['pj_per_byte'] / 1e6:.1f}"


COMPRESSED = "HD-LIF 1.5-bit, 4-bit spikes"
figure("energy/lif_ternary")(lambda: f"{_honest('LIF 1.5-bit'):.3f}")
figure("energy/hdlif_ternary")(lambda: f"{_honest(COMPRESSED):.3f}")
figure("energy/lif_below_hdlif")(lambda: f"{100 * (1 - _honest('LIF 1.5-bit') / _honest(COMPRESSED)):.0f}")
figure("energy/weights_once")(_weights_once)
figure("energy/lif_one_bit")(lambda: f"{_published('LIF 1.5-bit') / 32:.3f}")
figure("energy/hdlif_published")(lambda: f"{_published(COMPRESSED):.3f}")


def _slope(peaks: dict[str, float], start: str, end: str) -> float:
    """Megabytes a time step."""
    return (peaks[end] - peaks[start]) / 1e6 / (int(end) - int(start))


def _growth(peaks: dict[str, float], start: int) -> float:
    """Per cent that the largest is above the smallest, of T from `start` on."""
    known = [peak for steps, peak in peaks.items() if int(steps) >= start]
    return 100 * (max(known) / min(known) - 1)


def _curve(name: str) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = record(name)["peak_bytes"]
    return found


figure("memory/step_growth")(lambda: f"{_growth(_curve('memory_curve')['random step'], 2):.1f}")
figure("memory/sltt_growth")(lambda: f"{_growth(_curve('memory_curve')['SLTT'], 2):.1f}")
figure("memory/stbp_slope")(lambda: f"{_slope(_curve('memory_curve')['STBP'], '64', '256'):.1f}")
figure("memory/spikingjelly_slope")(
    lambda: f"{_slope(_curve('memory_curve')['SpikingJelly, STBP'], '256', '1000'):.1f}"
)
figure("memory/stbp_over_step")(
    lambda: f"{_curve('memory_curve')['STBP']['256'] / _curve('memory_curve')['random step']['256']:.0f}"
)
figure("memory_series/stbp_slope")(lambda: f"{_slope(_curve('memory_series')['STBP'], '1024', '4096'):.2f}")
figure("memory_series/stbp_over_step")(
    lambda: f"{_curve('memory_series')['STBP']['4096'] / _curve('memory_series')['random step']['4096']:.0f}"
)


RANGES = (
    *(f"lif/{rule}/local/cosine/{end}" for rule in ("sltt", "ottt") for end in ("least", "most")),
    *(f"{of}/local/norm_ratio/{end}" for of in ("lif/sltt", "lif/ottt", "detached/sltt") for end in ("least", "most")),
    *(f"{of}/ottt/local/{what}/least" for of in ("detached", "shared") for what in ("cosine", "norm_ratio")),
    *(f"detached/sltt/local/cosine/{end}" for end in ("least", "most")),
    *(f"hdlif/{rule}/end_to_end/cosine/least" for rule in ("sltt", "ottt")),
    *(f"hdlif/{rule}/end_to_end/norm_ratio/most" for rule in ("ottt", "ndot")),
)
"""Of untrained networks: network, rule, view, quantity, and which end of its range over the layers of synapses."""


def _untrained(name: str) -> dict[str, Any]:
    settings = {"detached": "detached reset", "shared": "detached reset, shared statistics"}
    if name in settings:
        return setting_of(record("coherence_settings"), settings[name])["rules"]  # type: ignore[no-any-return]
    found: dict[str, Any] = record("coherence")["networks"][{"hdlif": 0, "lif": 3}[name]]["rules"]
    return found


def _range(name: str) -> str:
    network, rule, view, what, end = name.split("/")
    layers = _untrained(network)[rule]["synapses"][view]
    # The classifier has no trace.
    found = [layer[what] for layer in (layers if view == "local" else layers[:-1]) if layer[what] is not None]
    return f"{(min if end == 'least' else max)(found):{'.4f' if what == 'cosine' else '.2f'}}"


for _name in RANGES:
    figure(f"coherence/{_name}")(lambda of=_name: _range(of))  # type: ignore[misc]
