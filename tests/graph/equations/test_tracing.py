"""An equation's program computes what the equation does, and what has none is refused with its line."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import own_neurons
from cases import every
from hdlif.errors import ArtefactError, EquationError
from hdlif.functional import Triangle, heaviside
from hdlif.graph.equations import Instruction, Program, counts, evaluate, from_attributes, to_attributes, trace
from hdlif.graph.graph import Node
from hdlif.graph.ops.program import program_of
from hdlif.nn import GLIF, HDLIF, AdaptiveHDLIF, EquationNeuron, ResonateHDLIF, SecondOrderHDLIF

OWN = [cls for cls in vars(own_neurons).values() if isinstance(cls, type) and issubclass(cls, EquationNeuron)]
NEURONS = {cls.__name__: cls for cls in (*OWN, SecondOrderHDLIF, ResonateHDLIF)}
del NEURONS["EquationNeuron"]


def scattered(neuron: EquationNeuron) -> EquationNeuron:
    for parameter in neuron.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return neuron


@every(channels=[None, 3], name=list(NEURONS))
def test_the_program_of_a_neuron_computes_what_the_module_does(name: str, channels: int | None) -> None:
    """In float64, where a rounding of 1e-16 decides no spike of these."""
    torch.manual_seed(0)
    neuron = scattered(NEURONS[name](4, channels=channels)).double()
    x = 2 * torch.randn(6, 2, 3, 4, dtype=torch.float64)
    with torch.no_grad():
        emitted, after = neuron(x, None, range(6))
    program, rows = neuron.traced()
    states = [np.zeros((2, 3, 4)) for _ in neuron.states]
    for t, frame in enumerate(x.numpy()):
        of_step = [row[min(t, len(row) - 1)].numpy().reshape(-1, 1) for row in rows.values()]
        spike, states = evaluate(program, frame, states, of_step)
        np.testing.assert_allclose(spike, emitted[t].numpy(), atol=1e-14)
    for state, expected in zip(states, (after or {}).values(), strict=True):
        np.testing.assert_allclose(state, expected.numpy(), atol=1e-14)


def test_the_published_operations_follow_from_the_equations() -> None:
    """Of ResNet-18 with T = 4: 548,864 neurons, of which 245,760 are parallel in the hybrid."""
    accumulating, parallel = (counts(NEURONS[name](4).program()).operations for name in ("HDLIF", "Parallel"))
    assert f"{4 * 548_864 * accumulating / 1e6:.2f}" == "6.59"
    assert f"{4 * (303_104 * accumulating + 245_760 * parallel) / 1e6:.2f}" == "4.62"


def test_what_follows_from_parameters_alone_is_a_row() -> None:
    program, rows = NEURONS["ResonateHDLIF"](2).traced()
    assert program.rows == ("(decay * cos(angle))", "(decay * sin(angle))", "threshold")
    torch.testing.assert_close(rows["(decay * cos(angle))"], torch.full((2, 1), 0.9 * math.cos(0.5)), check_dtype=False)


def test_surrogates_are_named_and_whether_a_spike_is_a_step_is_known() -> None:
    expected = {"LIF": (("Triangle(width=1.0)",), True), "HDLIF": ((), False), "Parallel": ((), False)}
    for name, (surrogates, emits) in expected.items():
        program = NEURONS[name](4).program()
        assert (program.surrogates, program.emits_steps) == (surrogates, emits)


ROW = {"p": torch.tensor([[0.5], [0.25]])}
Step = Callable[[Any, Any, Any], Any]


def program_of_step(step: Step) -> Program:
    return trace(step, states=("v",), rows=ROW)[0]


PAIRS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "x - 1": lambda x, v, p: x - 1,
    "1 - x": lambda x, v, p: 1 - x,
    "-x": lambda x, v, p: -x,
    "x / 2": lambda x, v, p: x / 2,
    "x / p": lambda x, v, p: x / p,
    "x**2": lambda x, v, p: x**2,
    "square": lambda x, v, p: torch.square(x),
    "abs": lambda x, v, p: abs(x),
    "x.abs": lambda x, v, p: x.abs(),
    "floor": lambda x, v, p: torch.floor(3 * x),
    "relu": lambda x, v, p: F.relu(x),
    "x.relu": lambda x, v, p: x.relu(),
    "clamp": lambda x, v, p: torch.clamp(x, -1, 1),
    "x.clamp": lambda x, v, p: x.clamp(min=0),
    "clamp_min": lambda x, v, p: x.clamp_min(0.5),
    "clamp_max": lambda x, v, p: x.clamp_max(0.5),
    "minimum": lambda x, v, p: torch.minimum(x, v),
    "maximum": lambda x, v, p: torch.maximum(x, p.expand_as(v) if isinstance(p, Tensor) else p),
    "greater": lambda x, v, p: (x > v) * x,
    "at least": lambda x, v, p: (x >= v).float() * x,
    "less": lambda x, v, p: torch.where(x < p, x, v),
    "at most": lambda x, v, p: torch.where(x <= 0, x, v),
    "and": lambda x, v, p: torch.where((x > 0) & (v > 0), x, v),
    "or": lambda x, v, p: torch.where((x > 0) | (v > 0), x, v),
    "not": lambda x, v, p: torch.where(~(x > 0), x, v),
    "where with a number": lambda x, v, p: torch.where(x > v, x, 0.0),
    "step": lambda x, v, p: heaviside(x - p, Triangle()),
    "choice": lambda x, v, p: x - (v > 0) * p,
    "choice, added": lambda x, v, p: x + p * (v > 0),
    "parameters": lambda x, v, p: x * torch.sigmoid(p) + (1 - p) * torch.exp(-p) / p,
    "detached": lambda x, v, p: x.detach() + v.clone().to(torch.float64),
    "tensor": lambda x, v, p: torch.tensor(2.0, dtype=torch.float64) * x,
    "zeros": lambda x, v, p: torch.where(x > 0, torch.zeros_like(x), torch.ones_like(v)),
}


@every(function=PAIRS)
def test_every_function_means_what_it_means_in_torch(function: Callable[[Any, Any, Any], Any]) -> None:
    x, v = torch.randn(2, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x[0] = v[0] = 0
    program, rows = trace(lambda x, v, p: (function(x, v, p), v), states=("v",), rows={"p": ROW["p"].double()})
    for t in (0, 1):
        expected = function(x, v, ROW["p"][t].double())
        of_step = [row[t].numpy() if len(row) > 1 else row[0].numpy() for row in rows.values()]
        spike, (kept,) = evaluate(program, x.numpy(), [v.numpy()], of_step)
        np.testing.assert_allclose(spike, expected.numpy(), atol=1e-15)
        np.testing.assert_array_equal(kept, v.numpy())


@settings(max_examples=60)
@given(data=st.data())
def test_random_programs_are_what_was_written(data: st.DataObject) -> None:
    """A chain of draws, run once on tensors and once as its program."""
    kinds = data.draw(st.lists(st.sampled_from(sorted(PAIRS)), min_size=1, max_size=8))

    def step(x: Any, v: Any, p: Any) -> Any:
        for kind in kinds:
            x, v = v, PAIRS[kind](x, v, p)
        return x, v

    x, v = torch.randn(2, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    p = torch.tensor([[0.3]], dtype=torch.float64)
    program, rows = trace(step, states=("v",), rows={"p": p})
    if program.binary_states:
        v = (v > 0).double()
    expected = [one.numpy().astype(np.float64) for one in step(x, v, p[0])]
    spike, (kept,) = evaluate(program, x.numpy(), [v.numpy()], [row[0].numpy() for row in rows.values()])
    for found, wanted in zip((spike, kept), expected, strict=True):
        np.testing.assert_allclose(found, np.broadcast_to(wanted, found.shape), rtol=1e-12, atol=1e-12)


def branches(x: Any, v: Any, p: Any) -> Any:
    if x > p:
        return x, v
    return v, v


REFUSED: list[tuple[Step, int, str]] = [
    (branches, 1, "control flow on values"),
    (lambda x, v, p: (sum(x), v), 0, "control flow on values"),
    (lambda x, v, p: (x * float(v), v), 0, "control flow on values"),
    (lambda x, v, p: (x / v, v), 0, "division by a state or a current"),
    (lambda x, v, p: (1 / v, v), 0, "division by a state or a current"),
    (lambda x, v, p: (torch.exp(x), v), 0, "exp is not an operation of a neuron's program"),
    (lambda x, v, p: (x**3, v), 0, "a power other than 2"),
    (lambda x, v, p: (x.add_(v), v), 0, "add_ changes a value in place"),
    (lambda x, v, p: (x - v.mean(), v), 0, "mean is not an operation"),
    (lambda x, v, p: (x * torch.ones(3), v), 0, "a Tensor of shape [3] is neither a number"),
    (lambda x, v, p: (torch.heaviside(x, torch.tensor(1.0)), v), 0, "use hdlif.functional.heaviside"),
    (lambda x, v, p: (torch.where(x > 0, "1", v), v), 0, "TypeError: where() received an invalid combination"),
]
"""Steps, at which line after their first one they are refused, and why."""


def test_what_has_no_program_is_refused_with_its_line() -> None:
    for step, after, words in REFUSED:
        line = step.__code__.co_firstlineno + after
        with pytest.raises(EquationError, match=rf"^test_tracing\.py:{line}: .*{re.escape(words)}"):
            program_of_step(step)


@every(
    "step",
    "words",
    of=[
        (lambda x, v, p: x, "returns 1 values; it must return 2: spike, v"),
        (lambda x, v, p: (x, v, v), "returns 3 values"),
        (lambda x, v, p: (x, None), "the step returns NoneType for v; it must return a value for each neuron"),
        (lambda x, v, p: (x * math.inf, v), "not a finite float32"),
        (lambda x, v, p: (x.grad, v), "the step returns function for spike"),
    ],
)
def test_what_a_step_returns_is_checked(step: Step, words: str) -> None:
    with pytest.raises(EquationError, match=re.escape(words)):
        program_of_step(step)


def test_a_step_that_never_ends_is_refused() -> None:
    def step(x: Any, v: Any, p: Any) -> Any:
        for _ in range(300):
            x = x * p + v
        return x, v

    with pytest.raises(EquationError, match=r"takes 600 operations; a program has at most 256"):
        program_of_step(step)


def test_a_step_that_remembers_is_refused() -> None:
    kept: list[Any] = []

    def step(x: Any, v: Any, p: Any) -> Any:
        kept.append(v)
        return x + kept[0], v

    program_of_step(step)
    with pytest.raises(EquationError, match="another call of the step"):
        program_of_step(step)


def test_programs_and_instructions_are_checked() -> None:
    program = program_of_step(lambda x, v, p: (x + v, v * p))
    changes = [
        ({"spike": 99}, "returns register 99"),
        ({"after": ()}, "returns 0 states; it has 1"),
        ({"rows": ("v",)}, "they must be unique"),
    ]
    for change, words in changes:
        with pytest.raises(EquationError, match=words):
            replace(program, **change)
    instructions: list[tuple[str, tuple[int, ...], str]] = [
        ("power", (0, 1), "operation 'power' is unknown"),
        ("add", (0,), "add has 1 operands; it takes 2"),
        ("add", (0, 3), "a register must be written before it is read"),
        ("add", (0, -1), "a register must be written before it is read"),
    ]
    for operation, operands, words in instructions:
        with pytest.raises(EquationError, match=words):
            Program(("v",), ("p",), (Instruction(operation, operands),), 0, (1,))


def test_what_a_register_holds_is_found_in_time_linear_in_the_program() -> None:
    doubled = [Instruction("step", (0,)), *(Instruction("multiply", (i, i)) for i in range(1, 200))]
    program = Program((), (), tuple(doubled), 200, ())
    assert program.is_binary(200)
    assert counts(program).multiplications == 0


def test_constants_are_float32() -> None:
    assert Instruction("constant", (), 1 - 1e-9).value == 1.0
    assert Instruction("constant", (), 1e-50).value == 0.0


def node(**changed: Any) -> Node:
    return Node("program", "act", ("input",), {"kind": "HDLIF", **to_attributes(HDLIF(2).program()), **changed})


@every(neuron=[HDLIF(2), GLIF(2), AdaptiveHDLIF(2)])
def test_a_program_is_read_as_it_was_written(neuron: HDLIF | GLIF | AdaptiveHDLIF) -> None:
    written = to_attributes(neuron.program())
    read = from_attributes(written)
    assert read.text() == neuron.program().text()
    # Out of a file tuples are lists.
    assert from_attributes(json.loads(json.dumps(written))) == read


def test_a_node_that_has_changed_is_another_program() -> None:
    one = node()
    before = program_of(one)
    # A node is parsed once.
    assert program_of(one) is before is program_of(node())
    (name, *operands), *others = one.attributes["operations"]
    other = replace(one, attributes={**one.attributes, "operations": ((("add", *operands)), *others)})
    assert name == "multiply"
    assert program_of(other).instructions[0].operation == "add"
    assert program_of(one) is before
    # In place too, which nobody should do.
    attributes = dict(one.attributes)
    changed = replace(one, attributes=attributes)
    assert program_of(changed) is before
    attributes["spike"] = 0
    assert program_of(changed).spike == 0


@every(spike=[True, 1.0, "1"])
def test_what_is_equal_to_a_register_is_none(spike: object) -> None:
    assert program_of(node(spike=1)).spike == 1
    with pytest.raises(ArtefactError, match="register"):
        program_of(node(spike=spike))


def test_zeros_of_both_signs_are_two_constants() -> None:
    def constant(value: float) -> Program:
        return program_of(node(rows=(), operations=(("constant", value),), spike=2, after=(2,)))

    assert [str(constant(value).instructions[0].value) for value in (0.0, -0.0)] == ["0.0", "-0.0"]
    for value in (True, float("nan"), 10**400, 10**5000):
        with pytest.raises(ArtefactError):
            constant(value)


def test_what_no_file_holds_is_refused_by_name() -> None:
    with pytest.raises(EquationError, match="spike contains"):
        from_attributes({**to_attributes(HDLIF(2).program()), "spike": object()})
