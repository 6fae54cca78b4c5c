"""Figures in prose that are computed from more than one value of a record."""

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

from figures.records import record
from figures.registry import figure
from figures.tables.coherence import setting_of
from figures.tables.elsewhere import PEER
from figures.tables.losses import CHANGES, paired
from figures.tables.memory import growth

Cell = tuple[str, str]
"""A row of an ablation, and its column."""
NEURONS = {"lif": "LIF", "graded": "graded LIF", "hdlif": "HD-LIF", "parallel": "Parallel"}
ONE_LOSS = {"stbp": "STBP, mean output", "step": "random step, mean output"}
"""Either rule with the loss of the mean output."""

DIFFERENCES: dict[str, tuple[str, Cell, Cell]] = {
    "gain/digits_rows_parallel": ("digits_rows", ("HD-LIF", "STBP"), ("Parallel", "STBP")),
    **{
        f"gain/neurons_{name}": ("digits_rows_neurons", (above, rule), (below, rule))
        for name, rule, above, below in (
            ("recurrent", "STBP", "HD-LIF, recurrent", "HD-LIF"),
            ("adaptive", "SLTT", "adaptive", "HD-LIF"),
        )
    },
    **{
        f"cut/fashion_mnist/{name}": (
            "fashion_mnist_losses",
            (neuron, ONE_LOSS["stbp"]),
            (neuron, ONE_LOSS["step"]),
        )
        for name, neuron in NEURONS.items()
    },
    **{
        f"gain/{change}_{name}": ("fashion_mnist_losses", (above, column), (below, column))
        for change, (above, below) in CHANGES.items()
        for name, column in ONE_LOSS.items()
    },
    **{
        f"cut/{name}": (
            "digits_rows_losses",
            (NEURONS[name], "STBP, mean output"),
            (NEURONS[name], "SLTT, mean output"),
        )
        for name in ("lif", "graded", "hdlif")
    },
}
"""By name: an ablation, and the cells whose difference in points is shown, with its standard error over the seeds."""


def points(of: str, first: Cell, second: Cell) -> tuple[float, float]:
    """Return how many points the first cell of an ablation is above the second, and the standard error."""
    rows = record(f"ablations/{of}")["rows"]
    return paired(rows[first[0]][first[1]], rows[second[0]][second[1]])


for _name, _cells in DIFFERENCES.items():
    figure(_name)(lambda of=_cells: f"{points(*of)[0]:z.1f}")  # type: ignore[misc]
    figure(f"{_name}/error")(lambda of=_cells: f"{points(*of)[1]:.1f}")  # type: ignore[misc]

PAIRS: dict[str, list[tuple[Cell, Cell]]] = {
    "lif": [(("HD-LIF", rule), ("LIF", rule)) for rule in ("STBP", "SLTT", "OTTT", "random step")],
    "step": [((neuron, "SLTT"), (neuron, "random step")) for neuron in NEURONS.values()],
}
"""Of digits row by row: the differences whose least and most are shown."""


def _extreme(pairs: list[tuple[Cell, Cell]], end: Callable[[list[float]], float]) -> str:
    return f"{end([points('digits_rows', first, second)[0] for first, second in pairs]):.1f}"


for _name, _pairs in PAIRS.items():
    figure(f"gain/digits_rows_{_name}/least")(lambda of=_pairs: _extreme(of, min))  # type: ignore[misc]
    figure(f"gain/digits_rows_{_name}/most")(lambda of=_pairs: _extreme(of, max))  # type: ignore[misc]


def _demo(name: str) -> float:
    """The accuracy of a network of the demo in per cent."""
    (found,) = (network for network in record("demo_fashion_mnist")["networks"] if network["name"] == name)
    return float(100 * found["accuracy"])


figure("gain/demo_hdlif")(lambda: f"{_demo('hdlif') - _demo('lif'):.1f}")
figure("gain/demo_compressed")(lambda: f"{_demo('hdlif') - _demo('hdlif_w1p5_s4'):.1f}")


def _lost_by_sharing(network: int) -> str:
    """Points that statistics which all steps share cost at the last step."""
    accuracies = record("shared_statistics")["networks"][network]["accuracy_per_step"]
    return f"{100 * (accuracies['per step'][-1] - accuracies['shared'][-1]):.1f}"


figure("gain/shared_statistics_lif")(lambda: _lost_by_sharing(0))


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
figure("energy/lif_float")(lambda: f"{_honest('LIF fp32'):.3f}")
figure("energy/hdlif_ternary")(lambda: f"{_honest(COMPRESSED):.3f}")
figure("energy/lif_below_hdlif")(lambda: f"{100 * (1 - _honest('LIF 1.5-bit') / _honest(COMPRESSED)):.0f}")
figure("energy/weights_once")(_weights_once)
figure("energy/lif_one_bit")(lambda: f"{_published('LIF 1.5-bit') / 32:.3f}")
figure("energy/hdlif_published")(lambda: f"{_published(COMPRESSED):.3f}")


def _slope(peaks: dict[str, float], start: str, end: str) -> float:
    """Megabytes a time step."""
    return (peaks[end] - peaks[start]) / 1e6 / (int(end) - int(start))


def _growth(rule: str, above: int) -> str:
    """Percent by which the largest peak of more than so many steps exceeds the smallest one."""
    return f"{100 * (growth(_curve('memory_curve')[rule], above) - 1):.1f}"


def _curve(name: str) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = record(name)["peak_bytes"]
    return found


figure("memory/step_growth")(lambda: _growth("random step", 1))
figure("memory/sltt_growth")(lambda: _growth("SLTT", 1))
figure("memory/sltt_growth_from_4")(lambda: _growth("SLTT", 3))
figure("memory/stbp_slope")(lambda: f"{_slope(_curve('memory_curve')['STBP'], '256', '1000'):.1f}")
figure("memory/spikingjelly_slope")(
    lambda: f"{_slope(_curve('memory_curve')['SpikingJelly, STBP'], '256', '1000'):.1f}"
)
figure("memory/stbp_over_step")(
    lambda: f"{_curve('memory_curve')['STBP']['1000'] / _curve('memory_curve')['random step']['1000']:.0f}"
)
figure("memory_series/stbp_slope")(lambda: f"{_slope(_curve('memory_series')['STBP'], '1024', '4096'):.2f}")
figure("memory_series/stbp_over_step")(
    lambda: f"{_curve('memory_series')['STBP']['4096'] / _curve('memory_series')['random step']['4096']:.0f}"
)


def _vowels(end: Callable[[list[float]], float]) -> str:
    """Percent: the lowest or the highest mean accuracy over all neurons and rules."""
    rows = record("ablations/vowels")["rows"].values()
    return f"{100 * end([cell['accuracy'] for of in rows for cell in of.values()]):.1f}"


figure("vowels/least")(lambda: _vowels(min))
figure("vowels/most")(lambda: _vowels(max))


def _instructions(device: str, kind: str) -> float:
    """Instructions of an answer, divided by those of CMSIS-NN."""
    kinds = record("c")["devices"][device]
    return float(kinds[kind]["answer"] / kinds[PEER]["answer"])


figure("c/fewer_m0plus")(lambda: f"{100 * (1 - _instructions('cortex-m0plus-mps2', 'fixed, one call')):.0f}")
figure("c/more_m4")(lambda: f"{100 * (_instructions('cortex-m4', 'fixed, one call') - 1):.0f}")
figure("c/times_m55")(lambda: f"{_instructions('cortex-m55', 'fixed, one call'):.1f}")


RANGES = (
    "detached/ottt/local/cosine/least",
    "detached/ottt/local/norm_ratio/least",
    "hdlif/ndot/end_to_end/norm_ratio/most",
    "hdlif/ottt/end_to_end/cosine/least",
    "hdlif/ottt/end_to_end/norm_ratio/most",
    "hdlif/sltt/end_to_end/cosine/least",
    "lif/ottt/local/cosine/least",
    "lif/sltt/local/cosine/least",
    "lif/sltt/local/norm_ratio/least",
    "lif/sltt/local/norm_ratio/most",
    "shared/ottt/local/cosine/least",
    "shared/ottt/local/norm_ratio/least",
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
