"""Chunks by the compiled kernels against the same by PyTorch's operations, and what they refuse.

`tests/kernels/test_chunk.py` compares both with the steps under autograd.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from chunks import Results, as_written, assert_bits, assert_close, drawn, everything, given_to, written_of
from hdlif import _native
from hdlif.equations import trace_written
from hdlif.equations.chunk_program import OPERATIONS
from hdlif.functional import ATan, Rectangle, Sigmoid, Triangle, lif_step
from hdlif.kernels.chunk import FusedStep, native
from hdlif.nn import GLIF, HDLIF, LIF, AdaptiveHDLIF, Dspike, ResonateHDLIF, SteppedNeuron
from random_programs import random_program

T = 5


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What tells each run of a compiled program, forward or backward, from others."""
    found: list[object] = []
    layout = native._Plan.layout

    def counted(plan: Any, key: object, *others: Any) -> Any:
        found.append(key)
        return layout(plan, key, *others)

    monkeypatch.setattr(native._Plan, "layout", counted)
    return found


NEURONS: dict[str, Callable[..., SteppedNeuron]] = {
    "hdlif": HDLIF,
    "lif": partial(LIF, learned=True),
    "glif": GLIF,
    "adaptive": AdaptiveHDLIF,
    "resonate": ResonateHDLIF,
}
every_neuron = pytest.mark.parametrize("make", NEURONS.values(), ids=NEURONS)


def compared(neuron: SteppedNeuron, given: Sequence[Any], steps: int) -> tuple[Results, Results]:
    written, states = written_of(neuron), len(neuron.states)
    found = everything(FusedStep(written), given, steps, states=states)
    return found, everything(FusedStep(written, kernels=None), given, steps, states=states)


@every_neuron
@pytest.mark.parametrize("shape", [(3, 5), (2, 4, 3, 3), (1, 300), (4, 8, 9)], ids=str)
def test_a_chunk_is_what_operations_make_of_it(
    make: Callable[..., SteppedNeuron], shape: tuple[int, ...], runs: list[object]
) -> None:
    for given in ({}, {"channels": shape[1]}, {"channels": shape[1], "per_step": False}):
        neuron = make(time_steps=T, **given)
        for steps, shares in ((T, "per_step" in given), (1, False)):
            of = given, steps
            assert_close(*compared(neuron, given_to(neuron, drawn(steps, *shape), steps, shares=shares), steps), of=of)
            assert_close(*compared(neuron, given_to(neuron, drawn(1, *shape), steps, shares=shares), steps), of=of)
    assert len(runs) == 2 * 3 * 4


@every_neuron
def test_channels_last_stay_so_and_rows_find_their_channels(
    make: Callable[..., SteppedNeuron], runs: list[object]
) -> None:
    neuron = make(time_steps=T, channels=3)
    x = drawn(T, 2, 3, 4, 5)
    last = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (T, 2))
    given = given_to(neuron, last, T)
    found, expected = compared(neuron, given, T)
    assert_close(found, expected)
    assert found[0][0][0].is_contiguous(memory_format=torch.channels_last)
    assert not found[0][0][0].is_contiguous()
    assert_close(found, compared(neuron, [x.requires_grad_(), *given[1:]], T)[0])
    assert len(runs) == 4


def test_memory_that_is_no_chunk_is_read_as_it_is_seen(runs: list[object]) -> None:
    neuron = HDLIF(T, channels=6)
    plain = given_to(neuron, drawn(T, 3, 6), T)
    turned = plain[0].detach().transpose(0, 2).contiguous().transpose(0, 2).requires_grad_()
    assert not turned.is_contiguous()
    assert_close(compared(neuron, [turned, *plain[1:]], T)[0], compared(neuron, plain, T)[1])
    # Gradients that have no memory of their own, as those of a sum.
    spikes, (after,) = FusedStep(written_of(neuron))(plain[0], plain[1:2], plain[2:], steps=T)
    (gradient,) = torch.autograd.grad(spikes.sum() + after.sum(), plain[0])
    spikes, (after,) = FusedStep(written_of(neuron), kernels=None)(plain[0], plain[1:2], plain[2:], steps=T)
    torch.testing.assert_close(gradient, torch.autograd.grad(spikes.sum() + after.sum(), plain[0])[0])
    assert len(runs) == 6


@pytest.mark.parametrize("threads", [2, 3])
def test_the_bits_do_not_depend_on_the_number_of_threads(threads: int, runs: list[object]) -> None:
    for shape in ((40, 128, 8), (37, 131, 7)):
        neuron = HDLIF(3, channels=shape[1])
        given = given_to(neuron, drawn(3, *shape), 3)
        step = FusedStep(written_of(neuron))
        torch.set_num_threads(threads)
        found = everything(step, given, 3, states=1)
        torch.set_num_threads(1)
        assert_bits(found, everything(step, given, 3, states=1))
    assert len(runs) == 8


@pytest.mark.parametrize(
    "seeds", [range(40), pytest.param(range(40, 1000), marks=pytest.mark.slow)], ids=["some", "many"]
)
def test_every_instruction_set_gives_the_bits_of_the_scalar_kernels(seeds: range) -> None:
    """Of programs at random, also where numbers are infinite or none."""
    others = [name for name in _native.instruction_sets() if name != "scalar"]
    for seed in seeds:
        rng = np.random.default_rng(seed)
        program, steps = random_program(rng), int(rng.integers(1, 4))
        shape = (2, 3, int(rng.choice([1, 5, 50])))
        current = drawn(steps, *shape, seed=seed)
        if seed % 4 == 0:
            current.view(-1)[::7] = float(rng.choice([np.inf, -np.inf, np.nan]))
        given = [current, *(drawn(*shape, seed=i) for i in range(len(program.states)))]
        given += [drawn(steps, 1, 3, 1, seed=20 + i) for i in range(len(program.rows))]
        given = [one.requires_grad_(bool(rng.random() < 0.7)) for one in given]
        found = [
            everything(FusedStep(as_written(program), kernels=name), given, steps, states=len(program.states))
            for name in ("scalar", *others)
        ]
        for name, other in zip(others, found[1:], strict=True):
            for value, its in zip((*found[0][0], *found[0][1]), (*other[0], *other[1]), strict=True):
                assert torch.equal(value.nan_to_num(7.0), its.nan_to_num(7.0)), (seed, name)


@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan])
@every_neuron
def test_what_is_no_number_is_passed_on(make: Callable[..., SteppedNeuron], number: float, runs: list[object]) -> None:
    neuron = make(time_steps=T)
    x = drawn(T, 3, 5)
    x[1, 1] = number
    given = given_to(neuron, x, T)
    written = written_of(neuron)
    states, rows = given[1 : 1 + len(neuron.states)], given[1 + len(neuron.states) :]
    found, expected = (FusedStep(written, kernels=kernels)(x, states, rows, steps=T) for kernels in ("", None))
    for value, its in zip((expected[0], *expected[1]), (found[0], *found[1]), strict=True):
        torch.testing.assert_close(its, value, rtol=0.0, atol=0.0, equal_nan=True)
    assert len(runs) == 1


@pytest.mark.parametrize("surrogate", [Triangle(0.7), Rectangle(1.3), Sigmoid(3.0), ATan(2.5), Dspike(2.0)], ids=str)
def test_surrogates_that_are_programs_and_others(surrogate: Any, runs: list[object]) -> None:
    neuron = LIF(T, learned=True, surrogate=surrogate)
    assert_close(*compared(neuron, given_to(neuron, drawn(T, 3, 5), T), T))
    assert len(runs) == 2


def test_a_surrogate_without_a_program_whose_argument_is_not_saved_is_left_to_operations(runs: list[object]) -> None:
    def step(current: Any, potential: Any, a: Any) -> Any:
        spike, after = lif_step(current, potential, a, a, surrogate=Sigmoid())
        return lif_step(spike, potential, a, a, surrogate=Sigmoid())[0], after

    written = trace_written(step, states=("potential",), rows={"a": torch.tensor([0.5])})
    given = [drawn(T, 3, 5).requires_grad_(), drawn(3, 5), torch.tensor([[[0.5]]]).requires_grad_()]
    found, expected = (everything(FusedStep(written, kernels=kernels), given, T, states=1) for kernels in ("", None))
    assert_close(found, expected)
    assert not runs


def test_programs_that_are_too_long_are_left_to_operations(runs: list[object]) -> None:
    """Of 201 operations, fewer than a step may have; backwards they are more than 1024 registers."""

    def step(current: Any, potential: Any) -> Any:
        x = current
        for _ in range(50):
            x = torch.minimum(x * potential, torch.maximum(potential, x + 1.0))
        return x, x

    written = trace_written(step, states=("potential",), rows={})
    given = [drawn(T, 3, 5).requires_grad_(), drawn(3, 5).requires_grad_()]
    found, expected = (everything(FusedStep(written, kernels=kernels), given, T, states=1) for kernels in ("", None))
    assert_close(found, expected)
    assert not runs


def test_rows_that_are_no_columns_are_left_to_operations(runs: list[object]) -> None:
    neuron = HDLIF(T)
    written = written_of(neuron)
    x = drawn(T, 2, 3, 4, 5)
    state = drawn(2, 3, 4, 5)
    served = {(T, 1, 3, 4, 5): True, (T, 1, 1, 1, 5): True, (T, 2, 1, 1, 1): True, (T, 1, 3, 1, 5): False}
    for shape, is_served in served.items():
        given = [x.requires_grad_(), state, *(drawn(*shape, seed=i).requires_grad_() for i in range(2))]
        runs.clear()
        found, expected = (everything(FusedStep(written, kernels=one), given, T, states=1) for one in ("", None))
        assert_close(found, expected, of=shape)
        assert bool(runs) == is_served, shape


def test_a_batch_of_none_is_one_of_none() -> None:
    neuron = HDLIF(T, path="fused")
    x = torch.zeros(T, 0, 3, requires_grad=True)
    y, state = neuron(x, None, range(T))
    assert y.shape == (T, 0, 3)
    assert state["potential"].shape == (0, 3)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.shape == x.shape
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in neuron.parameters())


def test_a_second_derivative_is_refused() -> None:
    neuron = HDLIF(T, path="fused")
    x = drawn(T, 2, 3).requires_grad_()
    (gradient,) = torch.autograd.grad(neuron(x, None, range(T))[0].square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


CHUNK: dict[str, Any] = {
    "streams": [0],
    "after": [1],
    "rows": 0,
    "instructions": [(OPERATIONS.index("add"), 0, 1, 0, 0.0)],
    "results": [(2, 0)],
    "summed": [],
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"streams": [3]}, "streams: unknown lying"),
        ({"rows": 2000}, "rows: too many"),
        ({"rows": -1}, "rows: too many"),
        ({"instructions": [(0, 0, 0, 0, 0.0)] * 1024}, "registers: too many"),
        ({"instructions": [(99, 0, 0, 0, 0.0)]}, "unknown operation"),
        ({"instructions": [(1, 0, 2, 0, 0.0)]}, "a register is read after it is written"),
        ({"instructions": [(1, -1, 0, 0, 0.0)]}, "a register is read after it is written"),
        ({"after": [3]}, "after: unknown register"),
        ({"results": [(3, 0)]}, "results: unknown register"),
        ({"results": [(0, 5)]}, "results: unknown register or lying"),
        ({"summed": [-1]}, "summed: unknown register"),
    ],
)
def test_a_program_that_breaks_the_form_is_refused(change: dict[str, Any], message: str) -> None:
    _native.Chunk(**CHUNK)
    with pytest.raises(ValueError, match=message):
        _native.Chunk(**{**CHUNK, **change})


def test_addresses_of_another_number_are_refused() -> None:
    none, one, address = np.zeros(0, np.int64), np.zeros(1, np.int64), np.array([0, 1, 0])
    tables = dict.fromkeys(("streams", "results", "before", "after"), address)
    tables |= dict.fromkeys(("rows", "sums", "row_columns", "sum_columns", "sum_rows", "sum_counts"), none)
    chunk = _native.Chunk(**CHUNK)
    given: dict[str, Any] = {"is_double": False, "steps": 1, "entries": 0, **tables}
    layout = _native.ChunkLayout(chunk, **given)
    layout.run([0], 1)
    for tensors, threads in (([], 1), ([0], 0)):
        with pytest.raises(ValueError, match="tensors: too few"):
            layout.run(tensors, threads)
    for name in tables:
        with pytest.raises(ValueError, match="an array has another size"):
            _native.ChunkLayout(chunk, **{**given, name: np.zeros(2, np.int64)})
    with pytest.raises(ValueError, match="steps: at least 1"):
        _native.ChunkLayout(chunk, **{**given, "steps": 0, "streams": none, "results": none})
    with pytest.raises(ValueError, match="this machine has none of that name"):
        _native.ChunkLayout(chunk, **given, instruction_set="mmx")
    summing = _native.Chunk(**{**CHUNK, "summed": [2]})
    sums: dict[str, Any] = {**given, "sums": address, "sum_columns": np.ones(2, np.int64), "sum_counts": one + 1}
    _native.ChunkLayout(summing, **{**sums, "sum_rows": one})
    with pytest.raises(ValueError, match="sum_rows: no such row"):
        _native.ChunkLayout(summing, **{**sums, "sum_rows": one + 1})
    with pytest.raises(ValueError, match="columns: at least 1"):
        _native.ChunkLayout(summing, **{**sums, "sum_rows": one, "sum_columns": np.zeros(2, np.int64)})


def test_layouts_are_made_once_and_not_kept_for_ever() -> None:
    neuron = HDLIF(100, path="fused")
    for steps in (*range(1, 100), 5, 99, 99):
        neuron(torch.zeros(steps, 2, 3), None, range(steps))
    assert neuron._fusing._made is not None
    compiled = neuron._fusing._made[1]._native
    assert compiled is not None
    plans = [plan for plan in compiled._plans.values() if plan is not None]
    assert all(len(plan.layouts) <= native.MOST_LAYOUTS for plan in plans)
    assert sum(len(plan.layouts) for plan in plans) >= native.MOST_LAYOUTS
