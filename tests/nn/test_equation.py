"""Neurons made of an equation: their module, its gradients, and what is refused."""

import inspect
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import own_neurons
from cases import every, naming
from chunks import drawn, everything
from hdlif.errors import EquationError, ShapeError, StateError
from hdlif.graph.equations import counts
from hdlif.nn import (
    HDLIF,
    LIF,
    EquationNeuron,
    ParallelHDLIF,
    Parameter,
    Sequential,
    Temporal,
)
from own_neurons import AdaptiveHDLIF, Delayed

T, N = 7, 50
F64: Any = {"dtype": torch.float64}


@every(
    "own",
    "shipped",
    of=[
        (own_neurons.HDLIF(T), HDLIF(T)),
        (own_neurons.LIF(T), LIF(T, learned=True)),
        (own_neurons.Parallel(T), ParallelHDLIF(T)),
    ],
)
def test_the_equation_of_a_shipped_neuron_is_that_neuron(own: EquationNeuron, shipped: Temporal) -> None:
    own, shipped = own.double(), shipped.double()
    torch.manual_seed(0)
    for name, parameter in shipped.named_parameters():
        torch.nn.init.normal_(parameter, std=0.7)
        own.get_parameter(name).data.copy_(parameter.data)
    found = [everything(neuron, drawn(T, 3, N), steps=T) for neuron in (own, shipped)]
    torch.testing.assert_close(*found, atol=1e-12, rtol=0)


def test_what_acts_on_later_steps_alone_has_a_gradient_of_zero_where_time_is_cut() -> None:
    """Not none: averaging over devices waits for every parameter."""
    neuron = AdaptiveHDLIF(T)
    neuron(torch.randn(1, 2, N), None, range(1))[0].sum().backward()
    for name, parameter in neuron.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad == 0).all() == (name != "threshold.logit")


def test_parameters_start_where_the_class_or_the_layer_says() -> None:
    neuron = AdaptiveHDLIF(T, threshold=0.75, channels=3, per_step=False)
    assert neuron.leak(range(2)).shape == (2, 3)
    torch.testing.assert_close(neuron.threshold(range(1)), torch.full((1, 3), 0.75))
    assert [name for name, _ in neuron.named_parameters()] == ["leak.logit", "threshold.logit", "decay.logit"]
    gain = Parameter(0.5, per_step=False)
    shared = defined(states=(), gain=gain, step=staticmethod(lambda current, gain: gain * current))
    assert shared(T).gain.values().shape == (1,)
    assert not list(AdaptiveHDLIF(T, learned=False).parameters())
    for start in (0.25, np.float32(0.25), torch.tensor(0.25), np.array(0.25)):
        assert float(AdaptiveHDLIF(T, leak=start).leak.values()[0].detach()) == 0.25
        assert Parameter(start).start == 0.25


@every(
    "low",
    "high",
    "start",
    of=[(0.0, 1.0, 0.25), (-1.0, 3.0, 2.5), (0.0, math.inf, 4.0), (-math.inf, math.inf, -7.0)],
)
def test_a_learned_parameter_keeps_to_its_range(low: float, high: float, start: float) -> None:
    ranged = defined(
        states=(), gain=Parameter(start, low=low, high=high), step=staticmethod(lambda current, gain: gain * current)
    )
    neuron = ranged(2).double()
    torch.testing.assert_close(neuron.gain.values(), torch.full((2,), start, **F64), atol=1e-6, rtol=0)
    (neuron(torch.ones(2, 1, 1, **F64), None, range(2))[0] ** 2).sum().backward()
    assert bool((neuron.gain.logit.grad != 0).all())
    for extreme in (-30.0, 30.0):
        torch.nn.init.constant_(neuron.gain.logit, extreme)
        assert bool(((neuron.gain.values() >= low) & (neuron.gain.values() <= high)).all())


def test_a_state_is_a_value_of_all_its_names() -> None:
    neuron, x = AdaptiveHDLIF(T), torch.randn(1, 2, 5)
    _, state = neuron(x, None, range(1))
    assert {name: value.shape for name, value in state.items()} == {"potential": (2, 5), "adaptation": (2, 5)}
    with pytest.raises(StateError, match="'potential' and 'adaptation'"):
        neuron(x, {"potential": state["potential"]}, range(1, 2))
    with pytest.raises(ShapeError, match="a new batch starts with state=None"):
        neuron(torch.randn(1, 3, 5), state, range(1, 2))
    with pytest.raises(ShapeError, match=r"AdaptiveHDLIF: input has 5 channels.*; this neuron's leak is for 8"):
        AdaptiveHDLIF(T, channels=8)(torch.zeros(T, 2, 5, 3))
    with pytest.raises(StateError, match="a Parallel keeps none"):
        own_neurons.Parallel(T)(x, state, range(1, 2))


def defined(**members: Any) -> type[EquationNeuron]:
    return type("Mine", (EquationNeuron,), members)


def test_a_class_that_does_not_fit_its_step_is_refused_where_it_is_defined() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "Mine has no step"),
        ({"step": staticmethod(lambda current: current)}, r"takes \(current\)"),
        ({"step": staticmethod(lambda current, v, leak: current), "leak": Parameter(0.5)}, "current, potential, leak"),
        ({"states": ("v", "v"), "step": staticmethod(lambda current, v: current)}, "must have a unique name"),
        ({"states": "potential"}, "it must be a tuple of names"),
        *(({"states": (name,)}, f"'{name}' cannot be the name") for name in ("training", "forward", "_v", "quantizer")),
        *(({name: Parameter(0.5)}, f"'{name}' cannot be the name") for name in ("kind", "reset")),
        ({"step": lambda current, potential: current}, "is @staticmethod missing"),
        ({"step": staticmethod(lambda: None)}, r"takes \(\)"),
        ({"step": staticmethod(lambda current, v, *rest: current)}, r"takes \(current, v, rest\)"),
        ({"step": staticmethod(torch.relu)}, "written in Python"),
    ]
    for members, words in cases:
        with naming(words), pytest.raises(EquationError, match=words):
            defined(**members)
    with pytest.raises(EquationError, match="EquationNeuron has no step"):
        EquationNeuron(T)


def test_starts_and_ranges_are_checked_by_neuron_and_parameter() -> None:
    for low, high in ((1.0, 0.0), (0.0, 0.0), (-math.inf, 1.0), (math.nan, 1.0)):
        with pytest.raises(ValueError, match="a range is finite"):
            Parameter(0.5, low=low, high=high)
    values: list[dict[str, Any]] = [{"lek": 0.5}, {"leak": 1.5}, {"rise": math.nan}]
    values += [{"leak": start} for start in ("0.5", None, True, {}, 1j)]
    for given in values:
        (name,) = given
        with naming(given), pytest.raises(ValueError, match=name):
            AdaptiveHDLIF(T, **given)
    for start in ("0.5", None, True):
        with pytest.raises(ValueError, match="it must be a number"):
            Parameter(start)
    for start in ([0.5, 0.6], (0.5,), torch.ones(3), torch.ones(1, 1), np.ones((4, 2))):
        for make in (lambda start: AdaptiveHDLIF(T, leak=start), lambda start: HDLIF(T, leak=start), Parameter):
            with naming(start), pytest.raises(ShapeError, match=r"(leak|start) = .*a parameter starts from one number"):
                make(start)
    for count in (0, -1, 2.5, "8", True, [8]):
        with naming(count), pytest.raises(ValueError, match=r"channels = .*at least 1, or None"):
            AdaptiveHDLIF(T, channels=count)
        with naming(count), pytest.raises(ValueError, match=r"time_steps = .*at least 1"):
            AdaptiveHDLIF(count)


@every(saved=[{"channels": 8}, {"channels": 5}, {"per_step": False, "channels": 3}, {}], learned=[True, False])
def test_rows_of_another_shape_are_not_loaded(saved: dict[str, Any], learned: bool) -> None:
    """Before anything of the neuron is written."""
    neuron = Sequential({"act": AdaptiveHDLIF(T, channels=3, learned=learned)})
    other = Sequential({"act": AdaptiveHDLIF(T, leak=0.25, learned=learned, **saved)}).state_dict()
    before = {name: value.clone() for name, value in neuron.state_dict().items()}
    key = "act.leak.logit" if learned else "act.leak.value"
    with pytest.raises(ShapeError, match=rf"^{key} has shape .*, but \[7, 3\] in this network"):
        neuron.load_state_dict(other)
    with pytest.raises(ShapeError, match=key):
        neuron.load_state_dict(other, strict=False, assign=True)
    assert all(torch.equal(value, before[name]) for name, value in neuron.state_dict().items())


def test_rows_are_traced_by_their_names_and_shapes() -> None:
    neuron = AdaptiveHDLIF(T, channels=3, decay=0.75)
    rows = neuron.row_values()
    _, expected = neuron.traced()
    _, found = neuron.traced(rows=dict(reversed(rows.items())))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    # Of other time steps, as many for all of them, as a deployed network may have.
    _, longer = neuron.traced(
        rows={**rows, "leak": torch.full((2 * T, 1), 0.5), "threshold": torch.ones(1, 3)}
        | {name: torch.ones(2 * T, 3) for name in ("decay", "rise")}
    )
    assert len(longer["leak"]) == 2 * T
    for wrong in ({}, {"leak": rows["leak"]}, {**rows, "lek": rows["leak"]}):
        with pytest.raises(ShapeError, match="give one for each of leak, threshold, decay, rise"):
            neuron.traced(rows=wrong)
    for row in (torch.ones(3, 1), torch.ones(T, 5), torch.ones(T), np.ones((T, 1, 1)), 0.5, [0.5] * T):
        with naming(row), pytest.raises(ShapeError, match="AdaptiveHDLIF: the rows of leak have"):
            neuron.traced(rows={**rows, "leak": row})


def over_current(x: Any, v: Any, p: Any) -> Any:
    x += p * v
    return torch.relu(x), v


def over_parameter(x: Any, v: Any, p: Any) -> Any:
    p *= 0.9
    return torch.relu(x), p * v


def test_a_step_without_a_program_of_its_own_is_refused() -> None:
    relu, where = torch.relu, torch.where
    cases: list[tuple[Any, str]] = [
        (lambda x, v, p: (relu(x), torch.ones(3)), r"^test_equation\.py:\d+: .*a Tensor of shape \[3\] for v"),
        (lambda x, v, p: (relu(x), [v]), "list for v"),
        (lambda x, v, p: (relu(x), p.mean()), "mean of parameters combines several numbers"),
        (lambda x, v, p: (relu(x), p[0] * v), "or reading one, has no program"),
        (over_current, r"test_equation\.py:\d+: \+=, \*= and similar operators overwrite"),
        (over_parameter, r"\+=, \*= and similar operators overwrite"),
        (lambda x, v, p: (torch.nn.functional.relu(p * v + x, inplace=True), v), "relu overwrites a value"),
        (lambda x, v, p: (torch.add(x, v, out=v), v), "add overwrites a value"),
        (lambda x, v, p: (relu(x - torch.cumsum(p, 0)), v), "cumsum of parameters combines several numbers"),
        (lambda x, v, p: (relu(x), (x > 0.3) + (x > 0.6)), r"add of Booleans has no program"),
        (lambda x, v, p: (relu(x), 1 - (x > p)), "subtract of Booleans has no program"),
        (lambda x, v, p: (-(x > p), v), "subtract of Booleans has no program"),
        (lambda x, v, p: (torch.logical_and(x + 2, x + 3), v), "and takes Booleans"),
        (lambda x, v, p: (where(x, v, p), v), "the condition of torch.where must be a Boolean"),
        (lambda x, v, p: (x.to(torch.int32).float(), v), "to an integer truncates them"),
        (lambda x, v, p: (torch.max(x), v), "maximum takes two tensors"),
        (lambda x, v, p: (x.max(0), v), "maximum takes two tensors"),
        (lambda x, v, p: ((2 if isinstance(x, Tensor) else 1) * x, v), "another spike on tensors than when it was"),
        (lambda x, v, p: (torch.log(p - 1) * x, v), r"log\(.*\) is not a finite number at the initial parameters"),
    ]
    for step, words in cases:
        cls = defined(states=("v",), p=Parameter(0.5, learned=False), step=staticmethod(step))
        with naming(words), pytest.raises(EquationError, match=words):
            cls(T, channels=3)


def test_what_a_step_may_return_and_do() -> None:
    numbers = defined(step=staticmethod(lambda current, potential: [torch.relu(current), 1]))
    y, state = numbers(T)(torch.randn(T, 2, 3), None, range(T))
    assert y.shape == (T, 2, 3)
    torch.testing.assert_close(state["potential"], torch.ones(2, 3))
    parameter = defined(
        leak=Parameter(0.5, learned=False),
        step=staticmethod(lambda current, potential, leak: (current + potential, leak)),
    )
    y, state = parameter(T, channels=3)(torch.zeros(T, 2, 3, 4), None, range(T))
    assert state["potential"].shape == (2, 3, 4)
    assert y[:, 0, 0, 0].tolist() == [0.0, *[0.5] * (T - 1)]
    operators = defined(
        leak=Parameter(0.5),
        step=staticmethod(
            lambda current, potential, leak: (2**leak * current, (leak % 0.3 + leak // 0.2 + +leak) * potential)
        ),
    )
    assert len(operators(T).program().rows) == 2
    equal = defined(
        leak=Parameter(0.5),
        step=staticmethod(
            lambda current, potential, leak: ((1 - leak) * current + (1 - leak) * potential, (1 - leak) * current)
        ),
    )
    assert equal(T).program().rows == ("(1 - leak)",)
    assert counts(equal(T).program()).multiplications == 2


def test_long_functions_of_parameters_have_short_names_and_too_many_are_refused() -> None:
    def long(current: Any, leak: Any) -> Any:
        e = leak
        for _ in range(12):
            e = e * e + e
        return e * current

    def many(current: Any, leak: Any) -> Any:
        for i in range(66):
            current = (1 - leak * i / 100) * current
        return current

    assert len(defined(states=(), leak=Parameter(0.1), step=staticmethod(long))(T).program().rows[0]) <= 64
    with pytest.raises(EquationError, match=r"test_equation\.py:\d+: the step has \d+ parameters and functions"):
        defined(states=(), leak=Parameter(0.5), step=staticmethod(many))(T)


@every(delay=[0, 1, 3])
def test_constants_of_the_constructor_may_shape_the_equation_and_its_states(delay: int) -> None:
    neuron = Delayed(T, delay=delay, threshold=0.25)
    x = torch.randn(T, 2, 3)
    y, state = neuron(x, None, range(T))
    torch.testing.assert_close(y, torch.relu(torch.cat([torch.zeros(delay, 2, 3), x])[:T] - 0.25))
    assert list(state or {}) == list(neuron.program().states) == [f"before_{j}" for j in range(1, delay + 1)]
    assert counts(neuron.program()).state_words == delay
    assert list(inspect.signature(Delayed).parameters) == [
        *("time_steps", "learned", "channels", "per_step", "quantizer", "path", "delay", "threshold")
    ]


def test_an_equation_is_inherited_and_states_whether_it_accumulates() -> None:
    slower = type("Slower", (AdaptiveHDLIF,), {"leak": Parameter(0.95)})
    assert list(slower.declared) == ["leak", "threshold", "decay", "rise"]
    torch.testing.assert_close(slower(1).leak.values(), torch.tensor([0.95]))
    assert AdaptiveHDLIF.declared["leak"].start == 0.5
    assert AdaptiveHDLIF.accumulates
    assert not own_neurons.Parallel.accumulates
    assert not defined(
        accumulates=False, step=staticmethod(lambda current, potential: (current, potential))
    ).accumulates


def test_arguments_of_ones_own_may_be_positional() -> None:
    class Sized(EquationNeuron):
        def __init__(self, time_steps: int, size: float = 2.0, **given: Any) -> None:
            self.size = size
            super().__init__(time_steps, **given)

        def step(self, current: Any, potential: Any) -> Any:
            return self.size * current, potential

    assert list(inspect.signature(Sized).parameters)[:2] == ["time_steps", "size"]
    y, _ = Sized(2, 3.0)(torch.ones(1, 1, 1), None, range(1))
    assert y.item() == 3


def test_an_equation_that_grows_without_bound_is_refused_and_one_that_sums_its_currents_is_not() -> None:
    growing = defined(states=("gain",), step=staticmethod(lambda current, gain: (gain, 1.5 * gain + current)))
    with pytest.raises(
        EquationError, match=r"gain grows without bound .* within \d+ steps .*, first in r\d+ = 1\.5 \* gain"
    ):
        growing(2)
    summing = defined(step=staticmethod(lambda current, potential: (torch.relu(potential - 1), potential + current)))
    assert summing(2).program().states == ("potential",)
