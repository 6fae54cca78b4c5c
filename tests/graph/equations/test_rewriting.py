"""What saves operations: each rule by the program it gives, and that the program is the equation all the same."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from cases import every
from hdlif.functional import HardReset, Triangle, heaviside, lif_step
from hdlif.graph.equations import counts, evaluate, trace
from hdlif.nn import GLIF, LIF


def step_of_two(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A step whose spike is `rule` of membrane, spike and two parameters."""

    def step(x: Any, v: Any, p: Any, q: Any) -> Any:
        m = p * v + x
        return rule(m, heaviside(m - q, Triangle()), p, q), m

    return step


@every(
    "rule",
    "line",
    of=[
        (lambda m, h, p, q: m - torch.relu(m - q), "min(q, {m})"),
        (lambda m, h, p, q: torch.where(m > q, q, m), "min(q, {m})"),
        (lambda m, h, p, q: torch.where(m < q, m, q), "min(q, {m})"),
        (lambda m, h, p, q: torch.where(m >= q, m, q), "max(q, {m})"),
        (lambda m, h, p, q: 1 - p * h, "{h} ? (1 - p) : 1"),
        (lambda m, h, p, q: q * (1 - p * h), "{h} ? (q * (1 - p)) : q"),
        (lambda m, h, p, q: 1 - h, "{h} ? 0 : 1"),
        (lambda m, h, p, q: m * (1 - h), "{h} ? 0 : {m}"),
        (lambda m, h, p, q: m * (1 - h) + 0.5 * h, "{h} ? 0.5 : {m}"),
        (lambda m, h, p, q: p + q * h, "{h} ? (p + q) : p"),
        (lambda m, h, p, q: m - q * h, "{h} ? {d} : {m}"),
    ],
)
def test_each_rule_gives_one_operation_for_the_same_number(rule: Callable[..., Any], line: str) -> None:
    step = step_of_two(rule)
    rows = {"p": torch.tensor([[0.3]]).double(), "q": torch.tensor([[0.7]]).double()}
    program, values = trace(step, states=("v",), rows=rows)
    text = dict(one.split(" = ", 1) for one in program.text().splitlines())
    names = {right: left for left, right in text.items()}
    membrane = names[f"{names['p * v']} + current"]
    assert text[text["spike"]] == line.format(
        m=membrane, h=names.get("H(" + names.get(f"{membrane} - q", "") + ")"), d=names.get(f"{membrane} - q")
    )
    x, v = torch.randn(2, 500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected, _ = step(x, v, rows["p"][0], rows["q"][0])
    spike, _ = evaluate(program, x.numpy(), [v.numpy()], [row[0].numpy() for row in values.values()])
    np.testing.assert_allclose(spike, expected.numpy(), atol=1e-15)


def test_a_hard_reset_is_a_choice() -> None:
    """v = m·(1 - h) + r·h is h ? r : m: no multiplication but that by the leak."""
    program = LIF(2, reset=HardReset(-0.25)).program()
    assert program.text().splitlines()[-3:] == ["r10 = r7 ? -0.25 : r5", "spike = r8", "potential = r10"]
    found = counts(program)
    assert (found.multiplications, found.additions, found.comparisons) == (1, 2, 0)


def test_the_gates_of_glif_are_multiplied_out() -> None:
    """leak·v and gain·x, their sum, + shift, and - threshold; leak and shift are chosen by the last spike."""
    program, rows = GLIF(3).traced()
    found = counts(program)
    assert (found.multiplications, found.additions, found.comparisons, found.state_words) == (2, 3, 0, 2)
    assert program.binary_states == {"fired"}
    assert len(rows) == 6


def test_a_state_that_was_compared_is_taken_for_1_or_0_and_another_is_not() -> None:
    def step(x: Any, v: Any, fired: Any, p: Any) -> Any:
        return 1 - p * fired + x, x, (x > p).float()

    def other(x: Any, v: Any, fired: Any, p: Any) -> Any:
        return 1 - p * fired + x, x, x

    rows = {"p": torch.tensor([[0.3]])}
    assert "(1 - p)" in trace(step, states=("v", "fired"), rows=rows)[0].rows
    assert "(1 - p)" not in trace(other, states=("v", "fired"), rows=rows)[0].rows


def test_a_spike_times_its_size_times_a_parameter_is_a_spike_and_its_size() -> None:
    def step(x: Any, v: Any, p: Any) -> Any:
        return p * heaviside(x - p, Triangle()) * 2, v

    program, rows = trace(step, states=("v",), rows={"p": torch.tensor([[0.3]]).double()})
    assert program.emits_steps
    assert program.without_size()[1] == "(p * 2)"
    assert float(rows["(p * 2)"]) == pytest.approx(0.6)


def test_nothing_is_chosen_by_a_constant() -> None:
    program, _ = trace(lambda x, v, p: (x + 0 * v, v), states=("v",), rows={"p": torch.tensor([[0.3]])})
    assert [one.operation for one in program.instructions] == ["constant", "multiply", "add"]


def test_lif_traces_under_any_reset_that_has_a_program() -> None:
    def half(m: Any, h: Any, threshold: Any) -> Any:
        return m - 0.5 * threshold * h

    neuron = LIF(2, reset=half)
    program, rows = neuron.traced()
    x = np.linspace(-1, 3, 9)
    spike, (after,) = evaluate(program, x, [np.zeros(9)], [row[0].numpy() for row in rows.values()])
    expected = lif_step(torch.tensor(x), torch.zeros(9), torch.tensor(0.5), torch.tensor(1.0), reset=half)
    np.testing.assert_allclose(spike, expected[0])
    np.testing.assert_allclose(after, expected[1])
