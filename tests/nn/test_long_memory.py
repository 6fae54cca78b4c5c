"""Neurons with more memory than HD-LIF: traces by hand, derivatives by derivation, their limits, their counts."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.functional import jacobian

from cases import every, naming
from hdlif.graph.equations import counts
from hdlif.nn import (
    HDLIF,
    AdaptiveHDLIF,
    EquationNeuron,
    ParallelHDLIF,
    Parameter,
    ResonateHDLIF,
    SecondOrderHDLIF,
    SlidingParallelHDLIF,
    SteppedNeuron,
    StepValue,
    Temporal,
)

T, B, IN, OUT = 8, 4, 3, 50
F64: Any = {"dtype": torch.float64}
KINDS = {
    "adaptive": AdaptiveHDLIF,
    "second order": SecondOrderHDLIF,
    "resonate": ResonateHDLIF,
    "sliding": lambda steps: SlidingParallelHDLIF(steps, taps=(1, -1, 0, 1)),
}


def trace(neuron: SteppedNeuron, currents: Sequence[float]) -> tuple[list[float], dict[str, list[float]]]:
    """Spikes, and every state after each step, of one neuron."""
    spikes: list[float] = []
    seen: dict[str, list[float]] = {name: [] for name in neuron.states}
    state = None
    with torch.no_grad():
        for t, current in enumerate(currents):
            spike, state = neuron.double()(torch.tensor([[[current]]], **F64), state, range(t, t + 1))
            spikes.append(float(spike))
            for name in seen:
                seen[name].append(float(state[name]))
    return spikes, seen


def test_an_adaptive_threshold_rises_with_what_is_emitted_and_falls_back() -> None:
    neuron = AdaptiveHDLIF(4, leak=0.5, threshold=0.5, adaptation_leak=0.5, rise=0.25, learned=False)
    spikes, states = trace(neuron, [1.0, 0.5, 1.0, 0.0])
    assert spikes == [0.5, 0.125, 0.71875, 0.0]
    assert states["adaptation"] == [0.125, 0.09375, 0.2265625, 0.11328125]
    assert states["potential"] == [0.5, 0.625, 0.59375, 0.296875]


def test_a_synaptic_current_outlasts_the_input() -> None:
    neuron = SecondOrderHDLIF(4, leak=0.5, synapse_leak=0.5, threshold=0.5, learned=False)
    spikes, states = trace(neuron, [1.0, 0.0, 0.0, -1.0])
    assert spikes == [0.5, 0.25, 0.0, 0.0]
    assert states["synapse"] == [1.0, 0.5, 0.25, -0.875]
    assert states["potential"] == [0.5, 0.5, 0.5, -0.625]


def test_a_resonating_state_turns_by_its_angle_and_shrinks_by_its_decay() -> None:
    neuron = ResonateHDLIF(4, decay=0.5, angle=torch.pi / 2, threshold=0.5, learned=False)
    spikes, states = trace(neuron, [1.0, 0.0, 0.0, 0.0])
    # The cosine of float32's π/2 is -4e-8.
    assert spikes == pytest.approx([0.5, 0.0, 0.0, 0.0], abs=1e-7)
    assert states["potential"] == pytest.approx([0.5, 0.0, -0.125, 0.0], abs=1e-7)
    assert states["w"] == pytest.approx([0.0, 0.25, 0.0, -0.0625], abs=1e-7)


def test_a_sliding_neuron_filters_its_last_currents() -> None:
    spikes, states = trace(
        SlidingParallelHDLIF(5, taps=[1, 0, -1], threshold=0.25, learned=False), [1.0, 0.5, 0.25, 2.0, -1.0]
    )
    assert spikes == [0.75, 0.25, 0.0, 1.25, 0.0]
    assert states == {"delayed_1": [1.0, 0.5, 0.25, 2.0, -1.0], "delayed_2": [0.0, 1.0, 0.5, 0.25, 2.0]}
    inverted, _ = trace(SlidingParallelHDLIF(3, taps=[-1, 1], threshold=0.25, learned=False), [1.0, 0.5, 1.0])
    assert inverted == [0.0, 0.25, 0.0]


def scattered(neuron: EquationNeuron) -> EquationNeuron:
    """In float64, with another value of every parameter at every step."""
    generator = torch.Generator().manual_seed(0)
    for parameter in neuron.double().parameters():
        parameter.data += 0.5 * torch.randn(parameter.shape, generator=generator, **F64)
    return neuron


def values(neuron: nn.Module, name: str) -> Tensor:
    value = neuron.get_submodule(name)
    assert isinstance(value, StepValue)
    return value.values().detach()


class Forward:
    """Traces e = d(state)/dW [B, out, in] of one layer, carried forward with the states."""

    def __init__(self, neuron: EquationNeuron) -> None:
        self.of = {name: values(neuron, name) for name in neuron.declared}
        self.neuron = neuron
        self.e: dict[str, Tensor] = {name: torch.zeros(B, OUT, IN, **F64) for name in neuron.states}

    def step(self, t: int, x: Tensor, fired: Tensor) -> Tensor:
        """The trace of the spike, from the step's input [B, 1, in] and firing bits [B, out, 1]."""
        p = {name: value[t] for name, value in self.of.items()}
        e = self.e
        match self.neuron:
            case AdaptiveHDLIF():
                membrane = p["leak"] * e["potential"] + x
                spike = fired * (membrane - e["adaptation"])
                self.e = {
                    "potential": membrane - spike,
                    "adaptation": p["adaptation_leak"] * e["adaptation"] + p["rise"] * spike,
                }
            case SecondOrderHDLIF():
                synapse = p["synapse_leak"] * e["synapse"] + x
                membrane = p["leak"] * e["potential"] + synapse
                spike = fired * membrane
                self.e = {"synapse": synapse, "potential": membrane - spike}
            case ResonateHDLIF():
                r, cos, sin = p["decay"], p["angle"].cos(), p["angle"].sin()
                membrane = r * (cos * e["potential"] - sin * e["w"]) + x
                spike = fired * membrane
                self.e = {"potential": membrane - spike, "w": r * (sin * e["potential"] + cos * e["w"])}
            case SlidingParallelHDLIF():
                window = [x.expand(B, OUT, IN), *e.values()]
                spike = fired * sum(tap * one for tap, one in zip(self.neuron.taps, window, strict=True))
                self.e = dict(zip(e, window, strict=False))
        return spike


@every(name=list(KINDS))
def test_the_gradient_of_weights_is_that_of_forward_mode(name: str) -> None:
    neuron = scattered(KINDS[name](T))
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(OUT, IN, generator=generator, **F64).requires_grad_()
    x = torch.randn(T, B, IN, generator=generator, **F64)
    upstream = torch.randn(T, B, OUT, generator=generator, **F64)
    spikes, _ = neuron(x @ weight.T, None, range(T))
    (spikes * upstream).sum().backward()
    fired = (spikes > 0).double()
    assert 0.1 < float(fired.mean()) < 0.9
    forward, expected = Forward(neuron), torch.zeros(OUT, IN, **F64)
    for t in range(T):
        trace = forward.step(t, x[t, :, None], fired[t, :, :, None])
        expected += (upstream[t, :, :, None] * trace).sum(0)
    torch.testing.assert_close(weight.grad, expected, atol=1e-10, rtol=0)


def test_adaptive_gradients_are_those_of_the_adjoint() -> None:
    """p = dL/dv_t and q = dL/da_t come from the later step."""
    neuron = scattered(AdaptiveHDLIF(T))
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(T, B, OUT, generator=generator, **F64).requires_grad_()
    upstream = torch.randn(T, B, OUT, generator=generator, **F64)
    spikes, _ = neuron(x, None, range(T))
    (spikes * upstream).sum().backward()
    fired, grads = (spikes > 0).double(), {}
    for name in neuron.declared:
        value = neuron.get_submodule(name)
        logit = value.logit.detach().requires_grad_()
        (slope,) = torch.autograd.grad((value.low + value.width * torch.sigmoid(logit)).sum(), logit)
        grads[name] = value.logit.grad / slope
    leak, rho, delta, theta = (values(neuron, name) for name in ("leak", "adaptation_leak", "rise", "threshold"))
    v, a, before = torch.zeros(B, OUT, **F64), torch.zeros(B, OUT, **F64), []
    for t in range(T):
        before.append((v, a))
        m = leak[t] * v + x[t].detach()
        s = torch.relu(m - theta[t] - a)
        v, a = m - s, rho[t] * a + delta[t] * s
        before[-1] += (s,)
    p = q = torch.zeros(B, OUT, **F64)
    expected, of = torch.zeros(T, B, OUT, **F64), {name: torch.zeros(T, **F64) for name in grads}
    for t in reversed(range(T)):
        (v, a, s), chi, g = before[t], fired[t], upstream[t]
        membrane = chi * g + (1 - chi) * p + delta[t] * chi * q
        of["leak"][t] = (membrane * v).sum()
        of["adaptation_leak"][t], of["rise"][t] = (q * a).sum(), (q * s).sum()
        of["threshold"][t] = (chi * (p - g - delta[t] * q)).sum()
        expected[t] = membrane
        p, q = leak[t] * membrane, -chi * g + chi * p + (rho[t] - delta[t] * chi) * q
    torch.testing.assert_close(x.grad, expected, atol=1e-10, rtol=0)
    torch.testing.assert_close(grads, of, atol=1e-10, rtol=1e-9)


def of_fixed(cls: type[EquationNeuron], **fixed: float) -> type[EquationNeuron]:
    """The neuron with parameters that do not learn."""
    return type(cls.__name__, (cls,), {name: Parameter(value, learned=False) for name, value in fixed.items()})


@every(
    "neuron",
    "plain",
    "names",
    of=[
        (of_fixed(AdaptiveHDLIF, rise=0.0)(T), HDLIF(T), {"leak": "leak", "threshold": "threshold"}),
        (of_fixed(SecondOrderHDLIF, synapse_leak=0.0)(T), HDLIF(T), {"leak": "leak", "threshold": "threshold"}),
        (of_fixed(ResonateHDLIF, angle=0.0)(T), HDLIF(T, leak=0.9), {"leak": "decay", "threshold": "threshold"}),
        (SlidingParallelHDLIF(T, taps=[1]), ParallelHDLIF(T), {"threshold": "threshold"}),
    ],
)
def test_at_its_limit_a_neuron_is_the_plain_one_in_value_and_gradient(
    neuron: EquationNeuron, plain: Temporal, names: dict[str, str]
) -> None:
    neuron, plain = scattered(neuron), plain.double()
    for name, own in names.items():
        plain.get_parameter(f"{name}.logit").data.copy_(neuron.get_parameter(f"{own}.logit").data)
    x = torch.randn(T, B, OUT, generator=torch.Generator().manual_seed(3), **F64)
    upstream = torch.randn(T, B, OUT, generator=torch.Generator().manual_seed(4), **F64)
    found = []
    for one, mapped in ((neuron, names.values()), (plain, names)):
        given = x.clone().requires_grad_()
        spikes, state = one(given, None, range(T))
        (spikes * upstream).sum().backward()
        memory = [] if state is None else [state["potential"]]
        found.append([spikes, *memory, given.grad, *(one.get_parameter(f"{name}.logit").grad for name in mapped)])
    torch.testing.assert_close(*found, atol=1e-12, rtol=0)


def jacobian_of(cls: type[EquationNeuron], current: float, *parameters: float) -> Tensor:
    """d(states after the step)/d(states before it) of one neuron whose states are 0.1."""

    def step(states: Tensor) -> Tensor:
        given = [torch.tensor(value, **F64) for value in parameters]
        return torch.stack(cls.step(torch.tensor(current, **F64), *states, *given)[1:])

    found: Tensor = jacobian(step, torch.full((2,), 0.1, **F64))  # type: ignore[no-untyped-call]
    return found


SILENT, FIRING = -5.0, 5.0
ENDS = (0.0, 0.3, 0.7, 0.999)
Matrix = list[list[float]]


@every(b=ENDS, a=ENDS)
def test_what_a_step_passes_on_is_the_stated_matrix_and_stable(a: float, b: float) -> None:
    def check(cls: type[EquationNeuron], parameters: tuple[float, ...], silent: Matrix, firing: Matrix) -> None:
        for current, expected in ((SILENT, silent), (FIRING, firing)):
            found = jacobian_of(cls, current, *parameters)
            torch.testing.assert_close(found, torch.tensor(expected, **F64), atol=1e-12, rtol=0)
            assert float(torch.linalg.eigvals(found).abs().max()) < 1

    # 1/2 is the end of a learned rise; the range ends at (1 + ρ)/(1 + λ), which is more.
    for rise in (0.0, 0.25, 0.5, 0.999 * (1 + b) / (1 + a)):
        check(AdaptiveHDLIF, (a, 0.5, b, rise), [[a, 0], [0, b]], [[0, 1], [rise * a, b - rise]])
    check(SecondOrderHDLIF, (a, b, 0.5), [[b, 0], [b, a]], [[b, 0], [0, 0]])
    angle = 3.0 * b
    cos, sin = (a * float(f(torch.tensor(angle, **F64))) for f in (torch.cos, torch.sin))
    check(ResonateHDLIF, (a, angle, 0.5), [[cos, -sin], [sin, cos]], [[0, 0], [sin, cos]])


def test_a_learned_rise_stays_where_every_leak_is_stable() -> None:
    neuron = AdaptiveHDLIF(2)
    torch.nn.init.constant_(neuron.rise.logit, 50.0)
    assert float(neuron.rise.values().detach().max()) <= 0.5
    with pytest.raises(ValueError, match=r"rise = 0\.6; a learned one must lie in \(0\.0, 0\.5\)"):
        AdaptiveHDLIF(2, rise=0.6)


@every(
    "make",
    "multiplications",
    "additions",
    "words",
    of=[
        # λv, ρa, δs; + I, θ + a, m - Θ, ρa + δs
        (AdaptiveHDLIF, 3, 4, 2),
        # μi, λv; + I, + i, m - θ
        (SecondOrderHDLIF, 2, 3, 2),
        # four of the turn; two of the turn, + I, m - θ
        (ResonateHDLIF, 4, 4, 2),
        (lambda steps: SlidingParallelHDLIF(steps, taps=[1]), 0, 1, 0),
        (SlidingParallelHDLIF, 0, 2, 1),
        (lambda steps: SlidingParallelHDLIF(steps, taps=[-1, -1, 1, 1]), 0, 4, 3),
        (lambda steps: SlidingParallelHDLIF(steps, taps=[1, 0, 0, -1]), 0, 2, 3),
    ],
)
def test_operations_of_a_step(
    make: Callable[[int], EquationNeuron], multiplications: int, additions: int, words: int
) -> None:
    found = counts(make(4).program())
    assert (found.multiplications, found.additions, found.comparisons) == (multiplications, additions, 0)
    assert found.state_words == words


def test_taps_are_checked() -> None:
    for taps in ([], [1] * 5, [1, 0.5], [2], 1, "11"):
        with naming(taps), pytest.raises(ValueError, match="expected 1 to 4 numbers, each -1, 0 or 1"):
            SlidingParallelHDLIF(4, taps=taps)  # type: ignore[arg-type]
    for taps, words in (([0, 1], "the first one is 0"), ([1, 0], "the last one is 0")):
        with pytest.raises(ValueError, match=words):
            SlidingParallelHDLIF(4, taps=taps)
