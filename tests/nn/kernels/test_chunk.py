"""Chunks in one function (`path="fused"`) against the steps one by one: values, gradients, states and saved bytes."""

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cases import sampled
from chunks import CASES, T, as_written, assert_same, channels_last, drawn, everything, pair, plain_step
from hdlif.functional import ATan, Rectangle, Sigmoid, Triangle
from hdlif.graph.equations import Needs, Saving, WrittenStep, trace_written
from hdlif.nn import GLIF, HDLIF, LIF, Dspike, EquationNeuron, Parameter, SpikeQuantizer
from hdlif.nn.kernels.chunk import FusedStep
from hdlif.report.accounting import bytes_a_step, chunk_bytes, watching_saved
from random_programs import random_program


def inputs(*shape: int, laid: bool = False, steps: int = T, **given: Any) -> tuple[dict[str, Any], Tensor, int]:
    """What a neuron is made with, and its current and steps."""
    current = drawn(*shape)
    return given, channels_last(current) if laid else current, steps


@sampled(
    len(CASES),
    name=list(CASES),
    of=[
        inputs(T, 3, 5),
        inputs(1, 3, 5),
        inputs(1, 1, 300, steps=1),
        inputs(T, 2, 3, 7, channels=3, per_step=False),
        inputs(T, 2, 3, 4, 5, channels=3),
        inputs(T, 2, 3, 4, 5, channels=3, laid=True),
    ],
    has_start=[False, True],
)
def test_values_bit_for_bit_and_every_gradient_are_those_of_the_steps(
    name: str, of: tuple[dict[str, Any], Tensor, int], has_start: bool
) -> None:
    given, current, steps = of
    plain, fused = pair(CASES[name], **given)
    start = {name: drawn(*current.shape[1:], seed=9) for name in plain.states} if has_start else None
    expected, found = (everything(one, current, start=start, steps=steps) for one in (plain, fused))
    assert_same(expected, found)
    if not current.is_contiguous():
        assert found[0][0][0].is_contiguous(memory_format=torch.channels_last)


@sampled(len(CASES), name=list(CASES), number=[0.0, np.inf, -np.inf, np.nan])
def test_float32_values_are_the_same_bits_and_what_is_no_number_is_passed_on(name: str, number: float) -> None:
    x = drawn(T, 4, 33, dtype=torch.float32)
    x[1, 1] = number
    plain, fused = (neuron.float()(x, None, range(T)) for neuron in pair(CASES[name]))
    values = [[one.detach() for one in (y, *(state or {}).values())] for y, state in (plain, fused)]
    assert_same((values[0], []), (values[1], []))


def test_surrogates_that_are_programs_and_others() -> None:
    for surrogate in (
        *(Triangle(0.7), Rectangle(1.3), Sigmoid(3.0), ATan(2.5), Dspike(2.0)),
        # Truth values, another dtype, one number, and one for each channel.
        lambda x: torch.exp(-x.abs()) > 0.5,
        lambda x: torch.exp(-x.abs().float()),
        lambda x: torch.exp(torch.zeros(())),
        lambda x: torch.exp(-torch.arange(1.0, 4.0).view(3, 1, 1) * x.abs()),
    ):
        plain, fused = pair(LIF, learned=True, surrogate=surrogate)
        x = drawn(T, 2, 3, 3, 3)
        for current in (x, channels_last(x)):
            # A surrogate in float32.
            assert_same(everything(plain, current), everything(fused, current), of=surrogate, off=1e-6)


def test_states_are_float32_under_lower_precision() -> None:
    plain, fused = (neuron.float() for neuron in pair(CASES["adaptive_hdlif"], quantizer=SpikeQuantizer(learned=True)))
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            expected, found = (everything(neuron, drawn(T, 2, 5).to(dtype)) for neuron in (plain, fused))
        for spikes, *states in (expected[0], found[0]):
            assert spikes.dtype == dtype
            assert {value.dtype for value in states} == {torch.float32}
        for one, its in zip((*expected[0], *expected[1]), (*found[0], *found[1]), strict=True):
            torch.testing.assert_close(its.float(), one.float(), atol=1e-2, rtol=1e-2)


def test_a_current_may_be_wider_than_the_parameters_and_if_narrower_runs_step_by_step() -> None:
    for kind in ("lif", "hdlif", "adaptive_hdlif", "glif"):
        for dtype, is_fused in ((torch.float64, True), (torch.float32, False)):
            plain, fused = (one.float() if is_fused else one for one in pair(CASES[kind]))
            x = drawn(T, 2, 3, dtype=dtype)
            assert_same(everything(plain, x), everything(fused, x), of=(kind, dtype), off=1e-5)
            assert (fused._fusing._made is not None) == is_fused


@sampled(
    len(CASES),
    name=list(CASES),
    steps=[1, T],
    is_constant=[False, True],
    of=[((3, 7), torch.float32), ((2, 3, 8), torch.float64)],
    is_carried=[False, True],
)
def test_bytes_are_stated_as_autograd_holds_them(
    name: str, steps: int, is_constant: bool, of: tuple[tuple[int, ...], torch.dtype], is_carried: bool
) -> None:
    shape, dtype = of
    neuron = CASES[name](time_steps=T).to(dtype)
    x = drawn(1 if is_constant else steps, *shape, dtype=dtype).requires_grad_()
    written = trace_written(neuron.equation(), states=neuron.states, rows=neuron.row_values())
    rows = written.rows(neuron.rows_at(range(steps), x.expand(steps, *shape)))
    rows = [one.detach().requires_grad_(one.requires_grad) if isinstance(one, Tensor) else one for one in rows]
    states = [drawn(*shape, dtype=dtype).requires_grad_(is_carried) for _ in neuron.states]
    with watching_saved([row for row in rows if isinstance(row, Tensor)]) as saved:
        held = FusedStep(written)(x, states, rows, steps=steps)
    assert held is not None
    stated = chunk_bytes(neuron, shape, steps=steps, dtype=dtype, is_constant=is_constant, is_carried=is_carried)
    assert saved.peak == stated


def test_bytes_a_neuron_and_step_are_these() -> None:
    """HD-LIF: a bit for χ, and v where λ is learned; LIF: m - θ for its surrogate; GLIF: u, I and h."""
    assert bytes_a_step(HDLIF(T)) == 4.125
    assert bytes_a_step(HDLIF(T, learned=False)) == 0.125
    assert bytes_a_step(LIF(T)) == 4
    assert bytes_a_step(GLIF(T, channels=3)) == 8.125
    assert bytes_a_step(CASES["parallel_hdlif"](time_steps=T)) == 0.125


def random_case(seed: int) -> Iterator[Any]:
    """A program, its inputs on a grid of few values, so that ties are frequent, and which of them are asked."""
    rng = np.random.default_rng(seed)
    program = random_program(rng)
    generator = torch.Generator().manual_seed(seed)
    steps = int(rng.integers(1, 5))

    def grid(*shape: int) -> Tensor:
        return torch.randint(-4, 5, shape, generator=generator).double() / 2

    shapes = [(steps, 2, 3, 5), *[(2, 3, 5)] * len(program.states)]
    shapes += [(steps, 1, 3 if rng.random() < 0.5 else 1, 1) for _ in program.rows]
    asked = [bool(rng.random() < 0.6) for _ in shapes]
    return program, steps, [grid(*shape).requires_grad_(one) for shape, one in zip(shapes, asked, strict=True)], asked


@pytest.mark.parametrize(
    "seeds", [range(30), pytest.param(range(30, 1500), marks=pytest.mark.slow)], ids=["some", "many"]
)
def test_programs_at_random_have_the_values_gradients_and_bytes_of_their_operations(seeds: range) -> None:
    reached = 0
    for seed in seeds:
        program, steps, given, asked = random_case(seed)
        count = 1 + len(program.states)
        written, step = as_written(program), plain_step(program, torch.float64)
        states, rows = given[1:count], given[count:]
        kept, spikes = list(states), []
        for k in range(steps):
            spike, *kept = step(given[0][k], *kept, *(row[k] for row in rows))
            spikes.append(spike)
        plain = [torch.stack(spikes), *kept]
        if not any(asked):
            continue
        with watching_saved(rows) as saved:
            found = FusedStep(written)(given[0], states, rows, steps=steps)
        assert found is not None
        fused = [found[0], *found[1]]
        needs = Needs(asked[0], tuple(asked[1:count]), tuple(asked[count:]))
        assert saved.peak == Saving(written, needs, steps == 1).bytes(steps, 30, itemsize=8), seed
        for value, its in zip(plain, fused, strict=True):
            assert torch.equal(value, its), seed
            # A state may have none within few steps that has one within many.
            assert its.requires_grad or not value.requires_grad, seed
        graphs = [i for i, one in enumerate(plain) if one.requires_grad]
        if not graphs:
            continue
        leaves, gradients = [one for one in given if one.requires_grad], []
        for results in (plain, fused):
            loss = sum((results[i] * drawn(*results[i].shape, seed=i)).sum() for i in graphs)
            gradients.append(torch.autograd.grad(loss, leaves, allow_unused=True))
        for leaf, gradient, its in zip(leaves, *gradients, strict=True):
            one, other = (torch.zeros_like(leaf) if grad is None else grad for grad in (gradient, its))
            torch.testing.assert_close(other, one, atol=1e-10, rtol=1e-10, msg=f"seed {seed}")
        reached += 1
    assert reached > len(seeds) // 2


def ties(current: Any, potential: Any, a: Any) -> Any:
    low = torch.minimum(current, potential) + 2 * torch.fmin(current, potential) + torch.relu(current - potential)
    high = torch.maximum(current, potential) + 2 * torch.fmax(current, potential) + current.clamp(-1.0, 1.0).abs()
    return low + torch.clamp(potential, min=0.5), torch.where(current >= potential, high, current * a.detach())


def divisions(current: Any, potential: Any, a: Any) -> Any:
    return current / (a + 1) + 0.1 * potential, (potential.detach() * current / 3 - potential**2 / 7).clamp(-2, 2)


def of_parameters(current: Any, potential: Any, a: Any) -> Any:
    inverse = 1 - a
    spike = torch.cos(a) * current * inverse - torch.clamp(a, min=0.4) * potential + torch.clamp(a, min=0.2)
    return spike, (0.5 * potential + inverse * current).detach()


def own(step: Any) -> Any:
    """The class of a neuron with this step."""
    return type("Mine", (EquationNeuron,), {"a": Parameter(0.3), "step": staticmethod(step)})


def test_a_step_is_run_back_as_it_is_written() -> None:
    """Ties, gradients that are stopped, divisions, numbers in float64, and functions of parameters."""
    for step in (ties, divisions, of_parameters):
        plain, fused = pair(own(step))
        # On a grid of halves every third pair is equal.
        x = torch.randint(-2, 3, (T, 4, 50), generator=torch.Generator().manual_seed(0)).double() / 2
        start = {"potential": x[0].flip(0).clone()}
        assert_same(everything(plain, x, start=start), everything(fused, x, start=start), of=step.__name__)


def test_zeros_of_both_signs_are_two_constants() -> None:
    def step(current: Any, a: Any) -> Any:
        return torch.where(current > a, torch.zeros_like(current) * -1.0, torch.zeros_like(current) + 0.0)

    written: WrittenStep = trace_written(step, states=(), rows={"a": torch.tensor([0.5])})
    x = drawn(T, 2, 3)
    found = FusedStep(written)(x, [], [torch.tensor([[[0.5]]])], steps=T)
    assert found is not None
    assert torch.equal(found[0].signbit(), x > 0.5)


def test_a_neuron_that_has_run_is_copied_and_pickled() -> None:
    neuron, x = HDLIF(T, path="fused"), drawn(T, 2, 3, dtype=torch.float32)
    y, _ = neuron(x, None, range(T))
    for other in (copy.deepcopy(neuron), pickle.loads(pickle.dumps(neuron))):
        assert torch.equal(other(x, None, range(T))[0], y)


def test_paths_that_are_none_and_scans_of_ones_own_are_refused() -> None:
    class Mine(HDLIF):
        def stepped(self, t: int, steps: range, *given: Tensor) -> Any:
            return super().stepped(t, steps, *given)

    assert Mine(T).fused_step(torch.device("cpu"), T, 10**6) is None
    for make, path in ((Mine, "fused"), (LIF, "fuse"), (CASES["own adaptive"], "fuse")):
        with pytest.raises(ValueError, match="path"):
            make(T, path=path)
