"""Neurons made of an equation: their module, its gradients against derivations by hand, and what is refused."""

import inspect
import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import own_neurons
from hdlif.equations import counts
from hdlif.errors import EquationError, ShapeError, StateError
from hdlif.nn import HDLIF, LIF, EquationNeuron, ParallelHDLIF, Parameter, Sequential, Temporal, detach
from own_neurons import AdaptiveHDLIF, Delayed, Resonate, SecondOrder

T, N = 7, 50
F64: Any = {"dtype": torch.float64}


def same_values(own: EquationNeuron, shipped: Temporal) -> None:
    """Give both the same leak and threshold at every step."""
    torch.manual_seed(0)
    for name, parameter in own.named_parameters():
        torch.nn.init.normal_(parameter, std=0.7)
        shipped.get_parameter(name).data.copy_(parameter.data)


@pytest.mark.parametrize(
    ("own", "shipped"),
    [
        (own_neurons.HDLIF(T), HDLIF(T)),
        (own_neurons.LIF(T), LIF(T, learned=True)),
        (own_neurons.Parallel(T), ParallelHDLIF(T)),
    ],
    ids=["hdlif", "lif", "parallel"],
)
def test_the_equation_of_a_shipped_neuron_is_that_neuron(own: EquationNeuron, shipped: Temporal) -> None:
    own, shipped = own.double(), shipped.double()
    same_values(own, shipped)
    x = torch.randn(T, 3, N, **F64)
    weight = torch.randn(T, 3, N, **F64)
    found = []
    for neuron in (own, shipped):
        given = x.clone().requires_grad_()
        y, state = neuron(given, None, range(T))
        (y * weight).sum().backward()
        found.append([y, *(state or {}).values(), given.grad, *(p.grad for _, p in sorted(neuron.named_parameters()))])
    for mine, its in zip(*found, strict=True):
        torch.testing.assert_close(mine, its, atol=1e-12, rtol=0)


def run(neuron: EquationNeuron, x: Tensor, *, cut: bool = False) -> Tensor:
    emitted, state = [], None
    for t in range(len(x)):
        y, state = neuron(x[t : t + 1], detach(state) if cut else state, range(t, t + 1))
        emitted.append(y)
    return torch.cat(emitted)


def test_adaptive_gradients_are_those_of_the_adjoint() -> None:
    """With p = dL/dv_t and q = dL/da_t from the later step: dL/dm = χG + (1 - χ)p + δχq, and so on backwards."""
    torch.manual_seed(1)
    neuron = AdaptiveHDLIF(T, rise=0.25).double()
    for parameter in neuron.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x = (1.5 * torch.randn(T, N, **F64)).requires_grad_()
    weight = torch.randn(T, N, **F64)
    (run(neuron, x[:, None])[:, 0] * weight).sum().backward()
    leak, decay = (neuron.get_submodule(name)(range(T)).detach() for name in ("leak", "decay"))
    threshold = neuron.get_submodule("threshold")(range(T)).detach()
    v, a, fired = torch.zeros(N, **F64), torch.zeros(N, **F64), []
    for t in range(T):
        m = leak[t] * v + x[t].detach()
        s = torch.relu(m - threshold[t] - a)
        fired.append((s > 0).double())
        v, a = m - s, decay[t] * a + 0.25 * s
    p = q = torch.zeros(N, **F64)
    expected = torch.zeros(T, N, **F64)
    for t in reversed(range(T)):
        chi, g = fired[t], weight[t]
        membrane = chi * g + (1 - chi) * p + 0.25 * chi * q
        p, q = leak[t] * membrane, -chi * g + chi * p + (decay[t] - 0.25 * chi) * q
        expected[t] = membrane
    assert 0.1 < float(torch.stack(fired).mean()) < 0.9
    torch.testing.assert_close(x.grad, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("cls", [AdaptiveHDLIF, SecondOrder, Resonate])
def test_cut_in_time_the_gradient_is_that_of_the_step(cls: type[EquationNeuron]) -> None:
    """HD-LIF's: G where it fired, 0 elsewhere."""
    torch.manual_seed(2)
    x = (1.5 * torch.randn(T, 1, N, **F64)).requires_grad_()
    weight = torch.randn(T, 1, N, **F64)
    y = run(cls(T).double(), x, cut=True)
    (y * weight).sum().backward()
    torch.testing.assert_close(x.grad, weight * (y > 0), atol=1e-12, rtol=0)


def test_what_acts_on_later_steps_alone_has_a_gradient_of_zero_where_time_is_cut() -> None:
    """Not none: averaging over devices waits for every parameter."""
    neuron = AdaptiveHDLIF(T)
    neuron(torch.randn(1, 2, N), None, range(1))[0].sum().backward()
    for name, parameter in neuron.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad == 0).all() == (name != "threshold.logit")


def test_without_a_rise_the_adaptive_neuron_is_hd_lif() -> None:
    x = torch.randn(T, 3, N)
    adaptive, _ = AdaptiveHDLIF(T, rise=0.0)(x, None, range(T))
    plain, _ = HDLIF(T)(x, None, range(T))
    torch.testing.assert_close(adaptive, plain)


def test_a_resonating_neuron_turns_its_state() -> None:
    """Below the threshold a pulse rings with the angle of a step, and shrinks by the decay."""
    neuron = Resonate(T, decay=0.8, angle=1.0, threshold=0.999)
    x = torch.zeros(T, 1, 1)
    x[0] = 0.5
    state, seen = None, []
    for t in range(T):
        _, state = neuron(x[t : t + 1], state, range(t, t + 1))
        seen.append(float(state["u"].detach()))
    assert seen == pytest.approx([0.5 * 0.8**t * math.cos(t) for t in range(T)], abs=1e-6)


def test_parameters_start_where_the_class_or_the_layer_says() -> None:
    neuron = AdaptiveHDLIF(T, threshold=0.75, channels=3, per_step=False)
    assert neuron.leak(range(2)).shape == (2, 3)
    torch.testing.assert_close(neuron.threshold(range(1)), torch.full((1, 3), 0.75))
    assert [name for name, _ in neuron.named_parameters()] == ["leak.logit", "threshold.logit", "decay.logit"]
    assert Resonate(T).threshold.values().shape == (1,)
    assert not list(AdaptiveHDLIF(T, learned=False).parameters())


@pytest.mark.parametrize(
    ("low", "high", "start"), [(0.0, 1.0, 0.25), (-1.0, 3.0, 2.5), (0.0, math.inf, 4.0), (-math.inf, math.inf, -7.0)]
)
def test_a_learned_parameter_keeps_to_its_range(low: float, high: float, start: float) -> None:
    class Ranged(EquationNeuron):
        states = ()
        gain = Parameter(start, low=low, high=high)

        @staticmethod
        def step(current: Tensor, gain: Tensor) -> Tensor:
            return gain * current

    neuron = Ranged(2).double()
    torch.testing.assert_close(neuron.gain.values(), torch.full((2,), start, **F64), atol=1e-6, rtol=0)
    (neuron(torch.ones(2, 1, 1, **F64), None, range(2))[0] ** 2).sum().backward()
    assert bool((neuron.gain.logit.grad != 0).all())
    for extreme in (-30.0, 30.0):
        torch.nn.init.constant_(neuron.gain.logit, extreme)
        assert bool(((neuron.gain.values() >= low) & (neuron.gain.values() <= high)).all())


def test_a_state_is_a_value_of_all_its_names() -> None:
    neuron, x = AdaptiveHDLIF(T), torch.randn(1, 2, 5)
    _, state = neuron(x, None, range(1))
    assert {name: value.shape for name, value in state.items()} == {
        "potential": (2, 5),
        "adaptation": (2, 5),
    }
    with pytest.raises(StateError, match=r"it must be 2 tensors, 'potential' and 'adaptation'"):
        neuron(x, {"potential": state["potential"]}, range(1, 2))
    with pytest.raises(ShapeError, match="a new batch starts with state=None"):
        neuron(torch.randn(1, 3, 5), state, range(1, 2))
    with pytest.raises(StateError, match="a Parallel keeps none"):
        own_neurons.Parallel(T)(x, state, range(1, 2))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_states_are_float32_under_lower_precision(dtype: torch.dtype) -> None:
    y, state = AdaptiveHDLIF(T)(torch.randn(T, 2, 5).to(dtype), None, range(T))
    assert y.dtype == dtype
    assert {value.dtype for value in state.values()} == {torch.float32}


def defined(**members: Any) -> type[EquationNeuron]:
    return type("Mine", (EquationNeuron,), members)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({}, "Mine has no step; write one: @staticmethod def step(current, potential)"),
        ({"step": staticmethod(lambda current: current)}, "takes (current); states and parameters make it"),
        (
            {"step": staticmethod(lambda current, v, leak: current), "leak": Parameter(0.5)},
            "make it (current, potential, leak)",
        ),
        (
            {"states": ("v", "v"), "step": staticmethod(lambda current, v: current)},
            "each state and parameter has a name of its own",
        ),
        ({"states": "potential"}, "states = 'potential'; it is a tuple of names"),
        ({"states": ("training",)}, "'training' is not a name for a state"),
        ({"states": ("forward",)}, "'forward' is not a name for a state"),
        ({"states": ("_v",)}, "'_v' is not a name for a state"),
        ({"kind": Parameter(0.5)}, "'kind' is not a name for a state or a parameter"),
        ({"reset": Parameter(0.5)}, "'reset' is not a name for a state or a parameter"),
        (
            {"step": lambda current, potential: current},
            "step takes (current, potential); states and parameters make it",
        ),
        ({"step": lambda current, potential: current}, "make it (current, potential); is @staticmethod missing?"),
        ({"step": staticmethod(lambda: None)}, "step takes (); states and parameters make it (current, potential)"),
        ({"step": staticmethod(lambda current, v, *rest: current)}, "step takes (current, v, rest)"),
        ({"step": staticmethod(torch.relu)}, "must be a function that is written in Python"),
        ({"states": ("quantizer",)}, "'quantizer' is not a name for a state or a parameter here"),
    ],
)
def test_a_class_that_does_not_fit_its_step_is_refused_where_it_is_defined(members: dict[str, Any], words: str) -> None:
    with pytest.raises(EquationError, match=re.escape(words)):
        defined(**members)


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (0.0, 0.0), (-math.inf, 1.0), (math.nan, 1.0)])
def test_a_range_is_checked(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="a range is finite"):
        Parameter(0.5, low=low, high=high)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"lek": 0.5}, "lek is not a parameter of AdaptiveHDLIF; it has leak, threshold, decay, rise"),
        ({"leak": 1.5}, "leak = 1.5; a learned one must lie in (0.0, 1.0)"),
        ({"rise": math.nan}, "rise = nan; it must be a finite number"),
    ],
)
def test_starts_are_checked(arguments: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        AdaptiveHDLIF(T, **arguments)


ONE_NUMBER = "a parameter starts from one number, the same at every time step and channel"


@pytest.mark.parametrize(
    ("start", "seen"),
    [
        ([0.5, 0.6], "[0.5, 0.6]; "),
        ((0.5,), "(0.5,); "),
        (torch.ones(3), "a Tensor of shape [3]; "),
        (torch.ones(1, 1), "a Tensor of shape [1, 1]; "),
        (np.ones((4, 2)), "a ndarray of shape [4, 2]; "),
    ],
)
def test_a_start_of_several_numbers_is_refused_by_neuron_and_parameter(start: Any, seen: str) -> None:
    with pytest.raises(ShapeError, match=re.escape(f"AdaptiveHDLIF: leak = {seen}{ONE_NUMBER}")):
        AdaptiveHDLIF(T, leak=start)
    with pytest.raises(ShapeError, match=re.escape(f"leak = {seen}{ONE_NUMBER}")):
        HDLIF(T, leak=start)
    with pytest.raises(ShapeError, match=re.escape(f"start = {seen}{ONE_NUMBER}")):
        Parameter(start)


@pytest.mark.parametrize("start", ["0.5", None, True, {}, 1j])
def test_a_start_that_is_no_number_is_refused_by_neuron_and_parameter(start: Any) -> None:
    with pytest.raises(
        ValueError, match=re.escape(f"AdaptiveHDLIF: leak = {start!r}, of type {type(start).__name__};")
    ):
        AdaptiveHDLIF(T, leak=start)


def test_one_number_of_any_library_is_a_start() -> None:
    for start in (0.25, np.float32(0.25), torch.tensor(0.25), np.array(0.25)):
        assert float(AdaptiveHDLIF(T, leak=start).leak.values()[0].detach()) == 0.25
        assert Parameter(start).start == 0.25


@pytest.mark.parametrize("count", [0, -1, 2.5, "8", True, [8]])
def test_a_number_of_channels_or_steps_is_a_whole_one(count: Any) -> None:
    with pytest.raises(ValueError, match=r"channels = .*; it must be .*at least 1, or None for one value of the layer"):
        AdaptiveHDLIF(T, channels=count)
    with pytest.raises(ValueError, match=r"time_steps = .*; it must be .*at least 1"):
        AdaptiveHDLIF(count)


def test_currents_of_other_channels_are_refused_by_neuron_and_parameter() -> None:
    neuron = Sequential({"act": AdaptiveHDLIF(T, channels=8)})
    with pytest.raises(
        ShapeError,
        match=r"AdaptiveHDLIF: input has 5 channels, its shape being \[7, 2, 5, 3\]; this neuron's leak is for 8",
    ):
        neuron(torch.zeros(T, 2, 5, 3), steps=range(T), state=None)
    with pytest.raises(ShapeError, match=r"AdaptiveHDLIF: input has no channels, .*give it \[K, B, 8, ...\]"):
        neuron(torch.zeros(T, 2), steps=range(T), state=None)


@pytest.mark.parametrize("saved", [{"channels": 8}, {"channels": 5}, {"per_step": False, "channels": 3}, {}])
@pytest.mark.parametrize("learned", [True, False])
def test_rows_of_another_shape_are_not_loaded(saved: dict[str, Any], learned: bool) -> None:
    """In one line, before anything of the neuron is written."""
    neuron = Sequential({"act": AdaptiveHDLIF(T, channels=3, learned=learned)})
    other = Sequential({"act": AdaptiveHDLIF(T, leak=0.25, learned=learned, **saved)}).state_dict()
    before = {name: value.clone() for name, value in neuron.state_dict().items()}
    key = "act.leak.logit" if learned else "act.leak.value"
    seen = re.escape(str(list(other[key].shape)))
    with pytest.raises(
        ShapeError, match=rf"^{key} has shape {seen} in what is loaded, and \[7, 3\] here.*same time_steps"
    ):
        neuron.load_state_dict(other)
    with pytest.raises(ShapeError, match=key):
        neuron.load_state_dict(other, strict=False, assign=True)
    assert all(torch.equal(value, before[name]) for name, value in neuron.state_dict().items())


@pytest.mark.parametrize(
    ("row", "seen"),
    [
        (torch.ones(3, 1), "shape [3, 1]; they must be a tensor or array [7 or 1, 3 or 1]"),
        (torch.ones(T, 5), "shape [7, 5]; they must be a tensor or array [7 or 1, 3 or 1]"),
        (torch.ones(T), "shape [7]; they must be"),
        (np.ones((T, 1, 1)), "shape [7, 1, 1]; they must be"),
        (0.5, "no shape, 0.5; they must be"),
        ([0.5] * T, "no shape, [0.5,"),
    ],
)
def test_rows_of_a_wrong_shape_are_not_traced(row: Any, seen: str) -> None:
    neuron = AdaptiveHDLIF(T, channels=3)
    with pytest.raises(ShapeError, match=re.escape(f"AdaptiveHDLIF: the rows of leak have {seen}")):
        neuron.traced(rows={**neuron.row_values(), "leak": row})


def test_rows_are_traced_by_their_names() -> None:
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
        with pytest.raises(ShapeError, match="give one of each of leak, threshold, decay, rise"):
            neuron.traced(rows=wrong)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (lambda potential, leak: torch.ones(3), "the step gives a Tensor of shape [3] for potential; it must be"),
        (lambda potential, leak: np.ones((2, 3)), "the step gives a ndarray of shape [2, 3] for potential"),
        (lambda potential, leak: None, "the step gives NoneType for potential"),
        (lambda potential, leak: [potential], "the step gives list for potential"),
        (lambda potential, leak: potential * torch.ones(3), "a Tensor of shape [3] is neither a number"),
        (lambda potential, leak: potential.mean(), "mean is not an operation of a neuron's program"),
        (lambda potential, leak: leak.mean(), "mean of parameters makes one number of several"),
        (lambda potential, leak: leak[0] * potential, "a look at one of them, has no program"),
    ],
)
def test_a_state_of_another_shape_than_the_neurons_is_refused_with_its_place(state: Any, words: str) -> None:
    def step(current: Any, potential: Any, leak: Any) -> Any:
        return torch.relu(current), state(potential, leak)

    cls = defined(leak=Parameter(0.5), step=staticmethod(step))
    with pytest.raises(EquationError, match=r"^test_equation\.py:\d+: .*" + re.escape(words)):
        cls(T, channels=3)


def test_a_state_may_be_a_parameter() -> None:
    cls = defined(
        leak=Parameter(0.5, learned=False),
        step=staticmethod(lambda current, potential, leak: (current + potential, leak)),
    )
    y, state = cls(T, channels=3)(torch.zeros(T, 2, 3, 4), None, range(T))
    assert state["potential"].shape == (2, 3, 4)
    assert y[:, 0, 0, 0].tolist() == [0.0, *[0.5] * (T - 1)]


def test_a_step_that_mixes_neurons_is_refused() -> None:
    class Mixing(EquationNeuron):
        states = ()

        @staticmethod
        def step(current: Tensor) -> Tensor:
            return current.sum(0)

    with pytest.raises(EquationError, match=r"test_equation\.py:\d+: sum is not an operation"):
        Mixing(T)


def over_current(current: Any, potential: Any, leak: Any) -> Any:
    current += leak * potential
    return torch.relu(current), potential


def over_parameter(current: Any, potential: Any, leak: Any) -> Any:
    leak *= 0.9
    return torch.relu(current), leak * potential


def over_result(current: Any, potential: Any, leak: Any) -> Any:
    membrane = leak * potential + current
    return torch.nn.functional.relu(membrane, inplace=True), membrane


def method_over_parameter(current: Any, potential: Any, leak: Any) -> Any:
    return torch.relu(current), leak.mul_(0.5) * potential


def out(current: Any, potential: Any, leak: Any) -> Any:
    return torch.add(current, potential, out=potential), potential


def mean_of_parameter(current: Any, potential: Any, leak: Any) -> Any:
    return torch.relu(current - leak.mean()), potential


def cumulated(current: Any, potential: Any, leak: Any) -> Any:
    return torch.relu(current - torch.cumsum(leak, 0)), potential


def sum_of_truths(current: Any, potential: Any, leak: Any) -> Any:
    return torch.relu(current), (current > 0.3) + (current > 0.6)


def one_less_truth(current: Any, potential: Any, leak: Any) -> Any:
    return torch.relu(current), 1 - (current > leak)


def negated_truth(current: Any, potential: Any, leak: Any) -> Any:
    return -(current > leak), potential


def and_of_numbers(current: Any, potential: Any, leak: Any) -> Any:
    return torch.logical_and(current + 2, current + 3), potential


def where_of_numbers(current: Any, potential: Any, leak: Any) -> Any:
    return torch.where(current, potential, leak), potential


def integers(current: Any, potential: Any, leak: Any) -> Any:
    return current.to(torch.int32).float(), potential


def largest_of_all(current: Any, potential: Any, leak: Any) -> Any:
    return torch.max(current), potential


def largest_of_an_axis(current: Any, potential: Any, leak: Any) -> Any:
    return current.max(0), potential


def of_its_type(current: Any, potential: Any, leak: Any) -> Any:
    """What it does on tensors is another thing than on symbols."""
    return (2 if isinstance(current, Tensor) else 1) * current, potential


def infinite(current: Any, potential: Any, leak: Any) -> Any:
    return torch.log(leak - 1) * current, potential


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (over_current, r"test_equation\.py:\d+: \+=, \*= and their like write over"),
        (over_parameter, r"\+=, \*= and their like write over"),
        (over_result, "relu writes over a value"),
        (method_over_parameter, "mul_ changes a value in place"),
        (out, "add writes over a value"),
        (mean_of_parameter, "mean of parameters makes one number of several"),
        (cumulated, "cumsum of parameters makes one number of several"),
        (sum_of_truths, r"add of truth values; make numbers of them by \.float\(\)"),
        (one_less_truth, "subtract of truth values"),
        (negated_truth, "subtract of truth values"),
        (and_of_numbers, "and takes truth values, such as x > 0"),
        (where_of_numbers, "the condition of torch.where is a truth value"),
        (integers, "to an integer cuts them off"),
        (largest_of_all, "maximum takes two tensors"),
        (largest_of_an_axis, "maximum takes two tensors"),
        (of_its_type, "gives another spike on tensors than as it was traced"),
        (infinite, r"log\(.*\) is not a finite number where the parameters start"),
    ],
)
def test_a_step_whose_program_would_be_another_is_refused(step: Any, words: str) -> None:
    cls = defined(states=("potential",), leak=Parameter(0.5, learned=False), step=staticmethod(step))
    with pytest.raises(EquationError, match=words):
        cls(T, channels=3)


def test_a_step_may_return_a_list_and_numbers() -> None:
    cls = defined(step=staticmethod(lambda current, potential: [torch.relu(current), 1]))
    y, state = cls(T)(torch.randn(T, 2, 3), None, range(T))
    assert y.shape == (T, 2, 3)
    torch.testing.assert_close(state["potential"], torch.ones(2, 3))


def test_operators_on_parameters_are_free() -> None:
    cls = defined(
        leak=Parameter(0.5),
        step=staticmethod(
            lambda current, potential, leak: (2**leak * current, (leak % 0.3 + leak // 0.2 + +leak) * potential)
        ),
    )
    assert len(cls(T).program().rows) == 2


def test_equal_functions_of_parameters_are_one_row() -> None:
    cls = defined(
        leak=Parameter(0.5),
        step=staticmethod(
            lambda current, potential, leak: ((1 - leak) * current + (1 - leak) * potential, (1 - leak) * current)
        ),
    )
    program = cls(T).program()
    assert program.rows == ("(1 - leak)",)
    assert counts(program).multiplications == 2


def test_long_functions_of_parameters_have_short_names_and_too_many_are_refused() -> None:
    def long(current: Any, leak: Any) -> Any:
        e = leak
        for _ in range(16):
            e = e * e + e
        return e * current

    def many(current: Any, leak: Any) -> Any:
        for i in range(70):
            current = (1 - leak * i / 100) * current
        return current

    assert len(defined(states=(), leak=Parameter(0.1), step=staticmethod(long))(T).program().rows[0]) <= 64
    with pytest.raises(
        EquationError, match=r"test_equation\.py:\d+: the step has \d+ parameters and functions of them"
    ):
        defined(states=(), leak=Parameter(0.5), step=staticmethod(many))(T)


def test_whether_a_network_has_equations_changes_no_draw() -> None:
    torch.manual_seed(0)
    AdaptiveHDLIF(T)
    found = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(found, torch.rand(3))


@pytest.mark.parametrize("start", ["0.5", None, True])
def test_a_parameter_is_a_number(start: Any) -> None:
    with pytest.raises(ValueError, match="it must be a number"):
        Parameter(start)


@pytest.mark.parametrize("delay", [0, 1, 3])
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


def test_a_step_may_be_a_method_of_all_names() -> None:
    cls = defined(leak=Parameter(0.5), step=lambda self, current, potential, leak: (leak * potential, current))
    assert cls(T).program().text().splitlines()[0] == "r3 = leak * potential"


def test_whether_traces_stand_before_a_neuron_follows_from_its_states_or_is_said() -> None:
    assert AdaptiveHDLIF.accumulates
    assert not own_neurons.Parallel.accumulates
    assert not defined(
        accumulates=False, step=staticmethod(lambda current, potential: (current, potential))
    ).accumulates


def test_an_equation_is_inherited() -> None:
    class Slower(AdaptiveHDLIF):
        leak = Parameter(0.95)

    assert list(Slower.declared) == ["leak", "threshold", "decay", "rise"]
    torch.testing.assert_close(Slower(1).leak.values(), torch.tensor([0.95]))
    assert AdaptiveHDLIF.declared["leak"].start == 0.5


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


class Runaway(EquationNeuron):
    states = ("potential", "gain")
    leak = Parameter(0.5)

    @staticmethod
    def step(current: Any, potential: Any, gain: Any, leak: Any) -> Any:
        return torch.relu(potential), leak * potential + current, 1.5 * gain + current


def test_an_equation_that_grows_without_bound_is_refused_with_its_operation() -> None:
    with pytest.raises(
        EquationError, match=r"Runaway: gain grows without bound .* within \d+ steps .*, first in r\d+ = 1\.5 \* gain"
    ):
        Runaway(2)


class Summing(EquationNeuron):
    @staticmethod
    def step(current: Any, potential: Any) -> Any:
        return torch.relu(potential - 1), potential + current


def test_an_equation_that_sums_its_currents_is_none_of_them() -> None:
    assert Summing(2).program().states == ("potential",)
