"""Neurons on the same current; of LIF and HD-LIF also the gradients that are left when time is cut."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from figures.drawing import Line, Panel, Plot
from figures.registry import plot as registered
from hdlif import nn
from hdlif.functional import HardReset, Triangle, hd_lif_step, lif_step

CURRENT = (0.6, 0.6, 0.6, 0.2, 1.5, 0.3, 0.2, 0.9, 0.9, 0.1)
LEAK, THRESHOLD = torch.tensor(0.5), torch.tensor(1.0)
LIF, HD_LIF, SPIKE, EXACT = 0, 1, 2, 8
"""Colours."""

Points = tuple[tuple[float, ...], ...]
State = dict[str, float]


T = len(CURRENT)
SHARED: dict[str, Any] = {"per_step": False, "learned": False}
FIXED: dict[str, Any] = {"leak": 0.5, "threshold": 1.0, **SHARED}
DIGITS = 4
"""Of the numbers of a plot, so that every machine draws the same one."""


@dataclass(frozen=True)
class Run:
    membrane: Points
    """It charges, and is reset at once: two points a step."""
    gradients: Points
    """Of the sum of spikes by the current of each step."""


def _run(name: str, *, cut: bool) -> Run:
    current, v = torch.tensor(CURRENT, requires_grad=True), torch.zeros(())
    membrane, spikes = [(0.5, 0.0)], []
    for t, x in enumerate(current, 1):
        before = v.detach() if cut else v
        m = LEAK * before + x
        if name == "LIF":
            s, v = lif_step(x, before, LEAK, THRESHOLD, surrogate=Triangle(1.0))
        else:
            s, v = hd_lif_step(x, before, LEAK, THRESHOLD)
        membrane += [(t, m.item()), (t, v.item())]
        spikes.append(s)
    (gradients,) = torch.autograd.grad(torch.stack(spikes).sum(), current)
    steps = tuple((t, round(gradient.item(), 6)) for t, gradient in enumerate(gradients, 1))
    return Run(tuple(membrane), steps)


@registered("neurons")
def _() -> Plot:
    above, below = [], []
    for name, colour in (("LIF", LIF), ("HD-LIF", HD_LIF)):
        exact, cut = _run(name, cut=False), _run(name, cut=True)
        threshold = ((0.5, THRESHOLD.item()), (len(CURRENT) + 0.5, THRESHOLD.item()))
        lines = (
            Line("membrane", exact.membrane, colour=colour, marked=False),
            Line("threshold", threshold, "dotted", EXACT),
        )
        how = (
            "spikes are whole, and take the threshold away"
            if name == "LIF"
            else "a spike is what exceeds the threshold"
        )
        above.append(Panel("", "membrane", lines, title=f"{name}: {how}"))
        bars = (
            Line("exact gradient", exact.gradients, "bars", EXACT),
            Line("cut gradient", cut.gradients, "bars", colour),
        )
        below.append(Panel("time step", "gradient of spikes", bars, title=_said(exact.gradients, cut.gradients)))
    return Plot(
        "LIF and HD-LIF on the same current: membranes, and gradients with and without time", (*above, *below), rows=2
    )


def _said(exact: Points, cut: Points) -> str:
    kept = [(e[1], c[1]) for e, c in zip(exact, cut, strict=True) if abs(c[1]) > 1e-6]
    wrong = sum(abs(e - c) > 1e-6 for e, c in kept)
    lost = sum(abs(e[1]) > 1e-6 for e in exact) - sum(abs(e) > 1e-6 for e, _ in kept)
    return f"after the cut: {len(kept) - wrong} right, {wrong} wrong, {lost} dropped"


Membrane = Callable[[float, State, State, float], float]
"""(current, state before, state after, surplus or spike) -> the membrane before it fires."""


def _leaky(current: float, before: State, _after: State, _spike: float) -> float:
    return 0.5 * before.get("potential", 0.0) + current


def _before_reset(_current: float, _before: State, after: State, _spike: float) -> float:
    return after["potential"]


def _kept_and_emitted(_current: float, _before: State, after: State, spike: float) -> float:
    """P2-Reset loses nothing: m = v + s."""
    return after["potential"] + spike


def _panel(
    title: str,
    neuron: nn.Temporal,
    membrane: Membrane,
    threshold: Callable[[int, State], float] = lambda t, before: 1.0,
    *,
    colour: int,
    x: str = "",
) -> Panel:
    """A neuron's input, membrane and spikes on the current of the README's picture.

    Args:
        threshold: (step, state before) -> the threshold of that step.
    """
    state: Any = None
    before: State = {}
    charged, spikes, thresholds = [(0.5, 0.0)], [], []
    neuron.eval()
    for t, current in enumerate(CURRENT):
        with torch.no_grad():
            spike, state = neuron(torch.tensor([[[current]]]), state, range(t, t + 1))
        after = _numbers(state)
        m = membrane(current, before, after, spike.item())
        charged += [(t + 1, round(m, DIGITS)), (t + 1, round(after.get("potential", 0.0), DIGITS))]
        spikes.append((t + 1, round(spike.item(), DIGITS)))
        thresholds += [(t + side, round(threshold(t, before), DIGITS)) for side in (0.5, 1.5)]
        before = after
    lines = (
        Line("membrane", tuple(charged), colour=colour, marked=False),
        Line("input", tuple((t, current) for t, current in enumerate(CURRENT, 1)), "bars", EXACT),
        Line("spike", tuple(spikes), "bars", SPIKE),
        Line("threshold", tuple(thresholds), "dotted", EXACT),
    )
    return Panel(x, "", lines, title=title)


def _numbers(state: Any) -> State:
    """The entries of a state of one neuron; those of a neuron in a recurrent layer as its own."""
    found: State = {}
    for name, value in (state or {}).items():
        found |= _numbers(value) if isinstance(value, dict) else {name: value.item()}
    return found


@registered("neurons_lif")
def _() -> Plot:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        glif = nn.GLIF(T, leak=0.5, threshold=0.9)
    neurons = (
        ("LIF, soft reset", nn.LIF(T, **FIXED), _leaky),
        ("LIF, hard reset", nn.LIF(T, reset=HardReset(), **FIXED), _leaky),
        ("graded LIF", nn.GradedLIF(T, **FIXED), _leaky),
        ("GLIF, threshold 0.9", glif, _before_reset, lambda t, before: 0.9),
    )
    return _plot("LIF and its kin on the same current: input, membrane and spikes", neurons, LIF)


@registered("neurons_hdlif")
def _() -> Plot:
    mixed = nn.MemBN(T, 1)
    with torch.no_grad():
        mixed.mem_scale.fill_(0.5)
        mixed.bn_scale.fill_(0.5)
        mixed.running_mean.fill_(0.5)
    own, thresholds = nn.HDLIF(T, threshold_form="softplus"), torch.linspace(0.5, 1.5, T)
    with torch.no_grad():
        own.threshold.logit.copy_(thresholds.expm1().log())
    neurons = (
        ("HD-LIF", nn.HDLIF(T, **FIXED), _leaky),
        ("spikes in steps of ¼", nn.HDLIF(T, quantizer=nn.SpikeQuantizer(), **FIXED), _leaky),
        ("a threshold for each step", own, _kept_and_emitted, lambda t, before: thresholds[t].item()),
        ("Mem-BN: half the membrane, half normalised", nn.HDLIF(T, norm=mixed, **FIXED), _kept_and_emitted),
    )
    return _plot("HD-LIF on the same current: input, membrane and spikes", neurons, HD_LIF)


@registered("neurons_long_memory")
def _() -> Plot:
    def same(current: float, _before: State, _after: State, _spike: float) -> float:
        return current

    def difference(current: float, before: State, _after: State, _spike: float) -> float:
        return current - before.get("delayed_1", 0.0)

    def raised(_t: int, before: State) -> float:
        return 1.0 + before.get("adaptation", 0.0)

    one = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(one.weight, -0.5)
    neurons = (
        ("Parallel HD-LIF", nn.ParallelHDLIF(T, threshold=1.0, **SHARED), same),
        ("sliding parallel, taps 1, -1", nn.SlidingParallelHDLIF(T, taps=(1, -1), threshold=1.0, **SHARED), difference),
        ("adaptive, δ = ½", nn.AdaptiveHDLIF(T, rise=0.5, **FIXED), _kept_and_emitted, raised),
        ("second order", nn.SecondOrderHDLIF(T, **FIXED), _kept_and_emitted),
        ("resonate, ω = ½", nn.ResonateHDLIF(T, threshold=1.0, **SHARED), _kept_and_emitted),
        ("recurrent, U = -½", nn.Recurrent(nn.HDLIF(T, **FIXED), one), _kept_and_emitted),
    )
    return _plot("Parallel neurons and neurons with more memory on the same current", neurons, HD_LIF)


def _plot(what: str, neurons: Sequence[tuple[Any, ...]], colour: int) -> Plot:
    last = len(neurons) - 2
    panels = (_panel(*one, colour=colour, x="time step" if place >= last else "") for place, one in enumerate(neurons))
    return Plot(what, tuple(panels), rows=len(neurons) // 2)
