"""Chunks by the compiled kernels against the same by PyTorch's operations, and what they refuse.

`tests/kernels/test_chunk.py` compares both with the steps under autograd.
"""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.fx.experimental.proxy_tensor
import torch.utils.checkpoint

from chunks import SURROGATES as SHIPPED_SURROGATES
from chunks import (
    as_written,
    assert_bits,
    assert_close,
    assert_passes_on,
    compared,
    drawn,
    everything,
    fires_twice,
    given_to,
    written_of,
)
from hdlif import _native
from hdlif.equations import trace_written
from hdlif.equations.chunk_program import OPERATIONS
from hdlif.functional import Sigmoid, Triangle
from hdlif.kernels.chunk import FusedStep, native
from hdlif.nn import GLIF, HDLIF, LIF, AdaptiveHDLIF, ResonateHDLIF, SteppedNeuron
from random_programs import random_program

T = 5


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each run of a compiled program."""
    found: list[str] = []

    def counting(way: str) -> None:
        run = getattr(native._Plan, way)
        monkeypatch.setattr(native._Plan, way, lambda *given: (found.append(way), run(*given))[1])

    counting("run_forward")
    counting("run_backward")
    return found


NEURONS: dict[str, Callable[..., SteppedNeuron]] = {
    "hdlif": HDLIF,
    "lif": partial(LIF, learned=True),
    "glif": GLIF,
    "adaptive": AdaptiveHDLIF,
    "resonate": ResonateHDLIF,
}
every_neuron = pytest.mark.parametrize("make", NEURONS.values(), ids=NEURONS)


@every_neuron
@pytest.mark.parametrize("shape", [(3, 5), (2, 4, 3, 3), (1, 300), (4, 8, 9)], ids=str)
def test_a_chunk_is_what_operations_make_of_it(
    make: Callable[..., SteppedNeuron], shape: tuple[int, ...], runs: list[str]
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
    make: Callable[..., SteppedNeuron], runs: list[str]
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


def test_memory_that_is_no_chunk_is_read_as_it_is_seen(runs: list[str]) -> None:
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
def test_the_bits_do_not_depend_on_the_number_of_threads(threads: int, runs: list[str]) -> None:
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
def test_what_is_no_number_is_passed_on(make: Callable[..., SteppedNeuron], number: float, runs: list[str]) -> None:
    x = drawn(T, 3, 5)
    x[1, 1] = number
    assert_passes_on(make(time_steps=T), x, T)
    assert len(runs) == 1


@pytest.mark.parametrize("surrogate", SHIPPED_SURROGATES, ids=str)
def test_surrogates_that_are_programs_and_others(surrogate: Any, runs: list[str]) -> None:
    neuron = LIF(T, learned=True, surrogate=surrogate)
    assert_close(*compared(neuron, given_to(neuron, drawn(T, 3, 5), T), T))
    assert len(runs) == 2


def test_a_surrogate_without_a_program_whose_argument_is_not_saved_is_left_to_operations(runs: list[str]) -> None:
    written = trace_written(fires_twice, states=("potential",), rows={"a": torch.tensor([0.5])})
    given = [drawn(T, 3, 5).requires_grad_(), drawn(3, 5), torch.tensor([[[0.5]]]).requires_grad_()]
    found, expected = (everything(FusedStep(written, kernels=kernels), given, T, states=1) for kernels in ("", None))
    assert_close(found, expected)
    assert not runs


def test_programs_that_are_too_long_are_left_to_operations(runs: list[str]) -> None:
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


def test_rows_that_are_no_columns_are_left_to_operations(runs: list[str]) -> None:
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
    with pytest.raises(RuntimeError, match="has no second derivative"):
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
        ({"streams": [3]}, "streams: unknown encoding"),
        ({"rows": 2000}, "rows: 0..1024"),
        ({"rows": -1}, "rows: 0..1024"),
        ({"instructions": [(0, 0, 0, 0, 0.0)] * 1024}, "registers: too many"),
        ({"instructions": [(99, 0, 0, 0, 0.0)]}, "unknown operation"),
        ({"instructions": [(1, 0, 2, 0, 0.0)]}, "a register is read before it is written"),
        ({"instructions": [(1, -1, 0, 0, 0.0)]}, "a register is read before it is written"),
        ({"after": [3]}, "after: unknown register"),
        ({"results": [(3, 0)]}, "results: unknown register"),
        ({"results": [(0, 5)]}, "results: unknown register or encoding"),
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


def plans_of(neuron: SteppedNeuron) -> list[Any]:
    assert neuron._fusing._made is not None
    compiled = neuron._fusing._made[1]._native
    assert compiled is not None
    return [plan for plan in compiled._plans.values() if plan is not None]


def test_layouts_are_made_once_and_not_kept_for_ever() -> None:
    neuron = HDLIF(100, path="fused")
    for steps in (*range(1, 100), 5, 99, 99):
        neuron(torch.zeros(steps, 2, 3), None, range(steps))
    kept = [(plan.layout.cache_info(), plan.slots.cache_info()) for plan in plans_of(neuron)]
    assert all(layouts.currsize <= native.MOST_LAYOUTS >= slots.currsize for layouts, slots in kept)
    assert sum(layouts.currsize for layouts, _ in kept) >= native.MOST_LAYOUTS
    assert sum(layouts.misses for layouts, _ in kept) == 100


def test_one_step_is_called_in_every_way_in_turn(runs: list[str]) -> None:
    """What is the same in two calls is shared by them, and nothing else is."""
    neuron = LIF(T, learned=True, channels=4, surrogate=Sigmoid())
    step, oracle = FusedStep(written_of(neuron)), FusedStep(written_of(neuron), kernels=None)
    calls = []
    for dtype in (torch.float32, torch.float64):
        for currents in (T, 1):
            for shares in (False, True):
                given = given_to(neuron, drawn(currents, 2, 4, 3, 3), T, shares=shares)
                given = [one.detach().to(dtype).requires_grad_() for one in given]
                asked = [given, [given[0], *(one.detach() for one in given[1:])]]
                asked.append([given[0].detach().requires_grad_(), given[1].detach(), *given[2:]])
                calls += asked
    assert len(calls) == 24
    for given in (*calls, *reversed(calls)):
        found, expected = (everything(one, given, T, states=1) for one in (step, oracle))
        assert_close(found, expected)
        with torch.no_grad():
            spikes, after = step(given[0], given[1:2], given[2:], steps=T)
        for value, its in zip(expected[0], (spikes, *after), strict=True):
            assert torch.equal(value, its)
        # Of the spikes alone, by a gradient that is one number; and of the state alone.
        for which in (0, 1):
            gradients = []
            for one in (step, oracle):
                spikes, after = one(given[0], given[1:2], given[2:], steps=T)
                gradients.append(torch.autograd.grad((spikes, *after)[which].sum(), given[0]))
            torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)
    assert len(runs) > 10 * len(calls)


# What PyTorch may do with a chunk.


def test_checkpoints_and_hooks_see_each_saved_tensor_once() -> None:
    neuron, x = LIF(T, learned=True, path="fused"), drawn(T, 3, 5).requires_grad_()
    (expected,) = torch.autograd.grad(neuron(x, None, range(T))[0].square().sum(), x)

    def run(x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = neuron(x, None, range(T))[0]
        return y

    spikes = torch.utils.checkpoint.checkpoint(run, x, use_reentrant=False)
    assert torch.equal(torch.autograd.grad(spikes.square().sum(), x)[0], expected)
    packed, unpacked = list[torch.Tensor](), list[int]()

    def pack(one: torch.Tensor) -> int:
        packed.append(one)
        return len(packed) - 1

    def unpack(number: int) -> torch.Tensor:
        unpacked.append(number)
        return packed[number]

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        spikes = run(x)
        assert torch.equal(torch.autograd.grad(spikes.square().sum(), x)[0], expected)
    assert len(unpacked) == len(set(unpacked)) > 2


def test_what_is_unpacked_may_lie_in_another_order(runs: list[str]) -> None:
    for neuron in (AdaptiveHDLIF(T, channels=3), GLIF(T, channels=3), HDLIF(T, channels=3)):
        x = drawn(T, 2, 3, 4, 5).flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (T, 2))
        given = given_to(neuron, x, T)
        found, expected = compared(neuron, given, T)
        with torch.autograd.graph.saved_tensors_hooks(
            lambda one: one, lambda one: one.clone(memory_format=torch.contiguous_format)
        ):
            assert_close(everything(FusedStep(written_of(neuron)), given, T, states=len(neuron.states)), expected)
        assert_close(found, expected)
    assert len(runs) == 3 * 4


SURROGATES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "truth values": lambda x: torch.exp(-x.abs()) > 0.5,
    "another dtype": lambda x: torch.exp(-x.abs().double()),
    "one number": lambda x: torch.exp(torch.zeros(())),
    "by channel": lambda x: torch.exp(-torch.arange(1.0, 4.0).view(3, 1, 1) * x.abs()),
}


@pytest.mark.parametrize("surrogate", SURROGATES.values(), ids=SURROGATES)
def test_a_surrogate_may_give_any_dtype_and_shape_that_fits(surrogate: Any, runs: list[str]) -> None:
    neuron = LIF(T, learned=True, surrogate=surrogate)
    x = drawn(T, 2, 3, 3, 3)
    for current in (x, x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (T, 2))):
        assert_close(*compared(neuron, given_to(neuron, current, T), T))
    assert len(runs) == 4


def test_tensors_that_are_not_what_lies_in_memory(runs: list[str]) -> None:
    neuron = HDLIF(T)
    given = given_to(neuron, drawn(T, 3, 5), T)
    step, oracle = FusedStep(written_of(neuron)), FusedStep(written_of(neuron), kernels=None)
    negated = [torch._neg_view(given[0].detach()).requires_grad_(), *given[1:]]
    assert_close(everything(step, negated, T, states=1), everything(oracle, negated, T, states=1))
    spikes, _ = step(given[0], given[1:2], given[2:], steps=T)
    expected, _ = oracle(given[0], given[1:2], given[2:], steps=T)
    for towards in (
        torch._neg_view(drawn(T, 3, 5)),
        torch._efficientzerotensor(T, 3, 5),
        torch.ones(()).expand(T, 3, 5),
    ):
        found = [torch.autograd.grad(one, given[0], towards, retain_graph=True)[0] for one in (spikes, expected)]
        torch.testing.assert_close(*found)
    with pytest.raises(RuntimeError, match="takes one gradient at a time"):
        torch.autograd.grad(spikes, given[0], torch.ones(2, T, 3, 5), is_grads_batched=True)


def test_tangents_and_traces_are_left_to_operations(runs: list[str]) -> None:
    neuron, x = HDLIF(T, learned=False, path="fused"), drawn(T, 3, 5)
    plain = HDLIF(T, learned=False, path="steps")
    run = lambda neuron, x: neuron(x, None, range(T))[0]  # noqa: E731
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        found, expected = (torch.autograd.forward_ad.unpack_dual(run(one, dual)).tangent for one in (neuron, plain))
        assert expected is not None
        assert torch.equal(found, expected)
    traced = torch.fx.experimental.proxy_tensor.make_fx(lambda x: run(neuron, x))(x)
    other = drawn(T, 3, 5, seed=3)
    assert torch.equal(traced(other), run(plain, other))
    assert not runs


@pytest.mark.parametrize("shape", [(2, 3, 0, 4), (2, 0, 3), (0, 3), (0, 3, 4, 4)], ids=str)
@pytest.mark.parametrize("surrogate", [Triangle(), Sigmoid()], ids=str)
def test_chunks_of_no_neuron(shape: tuple[int, ...], surrogate: Any) -> None:
    neuron = LIF(T, learned=True, surrogate=surrogate, path="fused", **({"channels": shape[1]} if shape[1] else {}))
    x = torch.zeros(T, *shape, requires_grad=True)
    y, state = neuron(x, None, range(T))
    assert y.shape == x.shape
    assert state["potential"].shape == shape
    y.sum().backward()
    assert x.grad is not None


def test_a_row_with_too_few_axes_is_left_to_operations(runs: list[str]) -> None:
    """Its first axis may be that of the steps, or, as PyTorch aligns shapes, of the samples."""
    neuron = HDLIF(T)
    given = [drawn(T, T, 3, 1, 1).requires_grad_(), drawn(T, 3, 1, 1), drawn(T, 3, 1, 1), torch.tensor([0.5])]
    step = FusedStep(written_of(neuron))
    with pytest.raises(RuntimeError):
        step(given[0], given[1:2], [drawn(T, 3, 1, 1), drawn(T, 4, 1, 1)], steps=T)
    step(given[0], given[1:2], [torch.tensor([0.5]), torch.tensor([0.5])], steps=T)
    assert runs == ["run_forward"]


def test_a_step_that_has_run_is_copied() -> None:
    neuron = HDLIF(T)
    given = given_to(neuron, drawn(T, 3, 5), T)
    step = FusedStep(written_of(neuron))
    expected = everything(step, given, T, states=1)
    assert_bits(everything(copy.deepcopy(step), given, T, states=1), expected)


def test_what_was_saved_and_then_written_to_is_found_out() -> None:
    neuron = HDLIF(T)
    for place in (0, 1, 2):
        given = [one.detach().clone().requires_grad_() for one in given_to(neuron, drawn(T, 3, 5), T)]
        inner = [one * 1 for one in given]
        spikes, _ = FusedStep(written_of(neuron))(inner[0], inner[1:2], inner[2:], steps=T)
        if place:  # HD-LIF reads no current
            inner[place].mul_(2)
            with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                spikes.sum().backward()


@pytest.mark.parametrize("threads", [2, 3, 16])
def test_float64_sums_do_not_depend_on_the_number_of_threads(threads: int, runs: list[str]) -> None:
    neuron = HDLIF(3, channels=128)
    given = [one.detach().double().requires_grad_() for one in given_to(neuron, drawn(3, 64, 128, 8), 3)]
    step = FusedStep(written_of(neuron))
    torch.set_num_threads(threads)
    found = everything(step, given, 3, states=1)
    torch.set_num_threads(1)
    for value, its in zip(found[1], everything(step, given, 3, states=1)[1], strict=True):
        assert torch.equal(value, its)
    assert len(runs) == 4


def test_zeros_of_both_signs_are_two_constants() -> None:
    def step(current: Any, a: Any) -> Any:
        return torch.where(current > a, torch.zeros_like(current) * -1.0, torch.zeros_like(current) + 0.0)

    written = trace_written(step, states=(), rows={"a": torch.tensor([0.5])})
    spikes, _ = FusedStep(written)(drawn(T, 2, 3), [], [torch.tensor([[[0.5]]])], steps=T)
    expected, _ = FusedStep(written, kernels=None)(drawn(T, 2, 3), [], [torch.tensor([[[0.5]]])], steps=T)
    assert torch.equal(spikes.signbit(), expected.signbit())
    assert spikes.signbit().any()
