"""The compiled kernels of a chunk: layouts, threads, instruction sets, what PyTorch may do with them, and refusals."""

import copy
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.fx.experimental.proxy_tensor
import torch.utils.checkpoint
from torch import Tensor

from cases import every
from chunks import CASES, Results, T, as_written, assert_same, channels_last, drawn, everything, pair
from hdlif import _native
from hdlif.functional import Sigmoid, Triangle, lif_step
from hdlif.graph.equations import WrittenStep, trace_written
from hdlif.graph.equations.chunk_program import OPERATIONS
from hdlif.nn import GLIF, HDLIF, LIF, AdaptiveHDLIF, EquationNeuron, Parameter, SteppedNeuron
from hdlif.nn.kernels.chunk import FusedStep, plan
from nn.test_chain import watch
from random_programs import random_program


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each run of a compiled program."""
    found: list[str] = []
    for way in ("run_forward", "run_backward"):
        watch(monkeypatch, plan.Plan, way, lambda *_, way=way: way, found)
    return found


def by_kernels(written: WrittenStep, given: list[Tensor], steps: int, instruction_set: str = "") -> Results:
    """Spikes and states, and the gradients of what is asked for, of their sums of squares."""
    count = 1 + len(written.program.states)
    found = FusedStep(written, instruction_set)(given[0], given[1:count], given[count:], steps=steps)
    assert found is not None
    values = [found[0], *found[1]]
    leaves = [one for one in given if one.requires_grad]
    loss = sum((one.square().sum() for one in values if one.requires_grad), torch.zeros(()))
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True) if loss.requires_grad else ()
    return [one.detach() for one in values], [one for one in gradients if one is not None]


def given_to(neuron: SteppedNeuron, x: Tensor) -> tuple[WrittenStep, list[Any]]:
    """The step of a neuron, and its current, states and rows as leaves."""
    written = trace_written(neuron.equation(), states=neuron.states, rows=neuron.row_values())
    with torch.no_grad():
        rows = written.rows(neuron.rows_at(range(T), x.expand(T, *x.shape[1:])))
    states = [drawn(*x.shape[1:], seed=9 + i, dtype=x.dtype) for i in range(len(neuron.states))]
    given = (x, *states, *rows)
    return written, [one.detach().requires_grad_() if isinstance(one, Tensor) else one for one in given]


def test_memory_that_is_no_chunk_is_read_as_it_is_seen(runs: list[str]) -> None:
    plain, fused = pair(HDLIF, channels=6)
    x = drawn(T, 3, 6)
    turned = x.transpose(0, 2).contiguous().transpose(0, 2)
    assert not turned.is_contiguous()
    for current in (turned, torch._neg_view(x)):
        assert_same(everything(plain, current), everything(fused, current))
    x.requires_grad_()
    (expected, _), (spikes, _) = (neuron(x, None, range(T)) for neuron in (plain, fused))
    # Gradients that have no memory of their own, as those of a sum.
    for towards in (
        torch._neg_view(drawn(T, 3, 6)),
        torch._efficientzerotensor((T, 3, 6), dtype=torch.float64),
        torch.ones((), dtype=torch.float64).expand(T, 3, 6),
    ):
        found = [torch.autograd.grad(one, x, towards, retain_graph=True)[0] for one in (spikes, expected)]
        torch.testing.assert_close(*found)
    with pytest.raises(RuntimeError, match="does not support batched gradients"):
        torch.autograd.grad(spikes, x, torch.ones(2, T, 3, 6), is_grads_batched=True)
    assert runs.count("run_forward") == 2


def test_the_bits_do_not_depend_on_the_number_of_threads(runs: list[str]) -> None:
    for dtype, shape in ((torch.float32, (40, 128, 8)), (torch.float64, (37, 131, 7))):
        written, given = given_to(HDLIF(T, channels=shape[1]), drawn(T, *shape, dtype=dtype))
        found = []
        for threads in (1, 2, 3, 16):
            torch.set_num_threads(threads)
            found.append(by_kernels(written, given, T))
        torch.set_num_threads(1)
        for other in found[1:]:
            assert_same(found[0], other, of=(dtype, shape), off=0.0)
    assert len(runs) == 2 * 4 * 2


@pytest.mark.parametrize(
    "seeds", [range(20), pytest.param(range(20, 1000), marks=pytest.mark.slow)], ids=["some", "many"]
)
def test_every_instruction_set_gives_the_bits_of_the_scalar_kernels(seeds: range) -> None:
    """Of programs at random, also where numbers are infinite or none."""
    for seed in seeds:
        rng = np.random.default_rng(seed)
        program, steps = random_program(rng), int(rng.integers(1, 4))
        shape = (2, 3, int(rng.choice([1, 5, 50])))
        current = drawn(steps, *shape, seed=seed, dtype=torch.float32)
        if seed % 4 == 0:
            current.view(-1)[::7] = float(rng.choice([np.inf, -np.inf, np.nan]))
        given = [current, *(drawn(*shape, seed=i, dtype=torch.float32) for i in range(len(program.states)))]
        given += [drawn(steps, 1, 3, 1, seed=20 + i, dtype=torch.float32) for i in range(len(program.rows))]
        given = [one.requires_grad_(bool(rng.random() < 0.7)) for one in given]
        right = by_kernels(as_written(program), given, steps, "scalar")
        for name in _native.instruction_sets():
            assert_same(right, by_kernels(as_written(program), given, steps, name), of=(seed, name), off=0.0)


def fires_twice(current: Any, potential: Any, a: Any) -> Any:
    """A step one of whose surrogates is no program and has an argument that is not saved."""
    spike, after = lif_step(current, potential, a, a, surrogate=Sigmoid())
    return lif_step(spike, potential, a, a, surrogate=Sigmoid())[0], after


def is_long(current: Any, potential: Any, a: Any) -> Any:
    """201 operations, fewer than a step may have; backwards they are more than 1024 registers."""
    x = current
    for _ in range(50):
        x = torch.minimum(x * potential, torch.maximum(potential, x + a))
    return x, x


def test_steps_that_are_no_kernels_run_one_by_one(runs: list[str]) -> None:
    for step in (fires_twice, is_long):
        plain, fused = pair(type("Mine", (EquationNeuron,), {"a": Parameter(0.5), "step": staticmethod(step)}))
        x, start = 0.5 * drawn(T, 3, 5), {"potential": 0.5 * drawn(3, 5, seed=1)}
        assert_same(everything(plain, x, start=start), everything(fused, x, start=start), of=step.__name__)
    assert not runs


def test_rows_that_are_no_columns_are_not_run(runs: list[str]) -> None:
    written, given = given_to(HDLIF(T), drawn(T, 2, 3, 4, 5))
    step = FusedStep(written)
    for shape, is_run in (
        ((T, 1, 3, 4, 5), True),
        ((T, 1, 1, 1, 5), True),
        ((T, 2, 1, 1, 1), True),
        ((T, 1, 3, 1, 5), False),
        # Its first axis may be that of the steps, or, as PyTorch aligns shapes, of the samples.
        ((T, 3, 1, 1), False),
    ):
        rows = [drawn(*shape, seed=i) for i in range(2)]
        assert (step(given[0], given[1:2], rows, steps=T) is not None) == is_run, shape
    assert step(given[0], given[1:2], [torch.tensor([0.5]), torch.tensor([0.5])], steps=T) is not None
    assert len(runs) == 4


def test_tangents_and_traces_run_step_by_step(runs: list[str]) -> None:
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


def test_chunks_of_no_neuron_and_without_storage() -> None:
    for surrogate, shape in itertools.product((Triangle(), Sigmoid()), ((2, 3, 0, 4), (2, 0, 3), (0, 3), (0, 3, 4, 4))):
        x = torch.zeros(T, *shape, requires_grad=True)
        y, state = LIF(T, learned=True, surrogate=surrogate, path="fused", channels=shape[1] or None)(x)
        assert (y.shape, state["potential"].shape) == (x.shape, shape)
        y.sum().backward()
        assert x.grad is not None
    for make in CASES.values():
        with torch.device("meta"):
            assert make(time_steps=T, path="fused")(torch.zeros(T, 2, 3))[0].shape == (T, 2, 3)


CHUNK: dict[str, Any] = {
    "streams": [0],
    "after": [1],
    "rows": 0,
    "instructions": [(OPERATIONS.index("add"), 0, 1, 0, 0.0)],
    "results": [(2, 0)],
    "summed": [],
}


@every(
    change=[
        {"streams": [3]},
        {"rows": 2000},
        {"rows": -1},
        {"instructions": [(0, 0, 0, 0, 0.0)] * 1024},
        {"instructions": [(99, 0, 0, 0, 0.0)]},
        {"instructions": [(1, 0, 2, 0, 0.0)]},
        {"instructions": [(1, -1, 0, 0, 0.0)]},
        {"after": [3]},
        {"results": [(3, 0)]},
        {"results": [(0, 5)]},
        {"summed": [-1]},
    ]
)
def test_a_program_that_breaks_the_form_is_refused(change: dict[str, Any]) -> None:
    _native.Chunk(**CHUNK)
    with pytest.raises(ValueError, match=next(iter(change)) if "instructions" not in change else "register|operation"):
        _native.Chunk(**{**CHUNK, **change})


def test_addresses_of_another_number_are_refused() -> None:
    none, one, address = np.zeros(0, np.int64), np.ones(1, np.int64), np.array([0, 1, 0])
    tables = dict.fromkeys(("streams", "results", "before", "after"), address)
    tables |= dict.fromkeys(("rows", "sums", "row_columns", "sum_columns", "sum_rows", "sum_counts"), none)
    chunk, summing = _native.Chunk(**CHUNK), _native.Chunk(**{**CHUNK, "summed": [2]})
    given: dict[str, Any] = {"is_double": False, "steps": 1, "entries": 0, **tables}
    layout = _native.ChunkLayout(chunk, **given)
    layout.run([0], 1)
    for tensors, threads in (([], 1), ([0], 0)):
        with pytest.raises(ValueError, match="tensors: too few"):
            layout.run(tensors, threads)
    sums = {**given, "sums": address, "sum_columns": np.ones(2, np.int64), "sum_counts": one, "sum_rows": one - 1}
    _native.ChunkLayout(summing, **sums)
    for program, changed in (
        *((chunk, {**given, name: np.zeros(2, np.int64)}) for name in tables),
        (chunk, {**given, "steps": 0, "streams": none, "results": none}),
        (chunk, {**given, "instruction_set": "mmx"}),
        (summing, {**sums, "sum_rows": one}),
        (summing, {**sums, "sum_columns": np.zeros(2, np.int64)}),
    ):
        with pytest.raises(ValueError, match=r"the wrong size|at least 1|does not support it|a row is out of range"):
            _native.ChunkLayout(program, **changed)


def test_one_step_is_called_in_every_way_in_turn(runs: list[str]) -> None:
    """What is the same in two calls is shared by them, and nothing else is."""
    plain, fused = (one.float() for one in pair(LIF, learned=True, channels=4, surrogate=Sigmoid()))
    ways = [
        (dtype, currents, has_start, learned)
        for dtype in (torch.float32, torch.float64)
        for currents in (T, 1)
        for has_start in (False, True)
        for learned in (False, True)
    ]
    for dtype, currents, has_start, learned in (*ways, *reversed(ways)):
        x = drawn(currents, 2, 4, 3, 3, dtype=dtype)
        start = {"potential": drawn(2, 4, 3, 3, seed=3, dtype=dtype)} if has_start else None
        for one in (plain, fused):
            one.requires_grad_(learned)
        of = dtype, currents, has_start, learned
        expected, found = (everything(one, x, start=start) for one in (plain, fused))
        assert_same(expected, found, of=of, off=1e-4)
        with torch.no_grad():
            spikes, after = fused(x, start, range(T))
        assert_same(expected, ([spikes, after["potential"]], expected[1]), of=of)
        # Of the spikes alone, by a gradient that is one number; and of the state alone.
        x.requires_grad_()
        for which in (lambda y, state: y, lambda y, state: state["potential"]):
            gradients = [torch.autograd.grad(which(*one(x, start, range(T))).sum(), x)[0] for one in (plain, fused)]
            torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)
    assert len(runs) == 2 * len(ways) * (3 * 2 + 1)


def test_checkpoints_and_hooks_see_each_saved_tensor_once_and_may_lay_it_otherwise(runs: list[str]) -> None:
    x = channels_last(drawn(T, 2, 3, 4, 5)).requires_grad_()
    for make in (AdaptiveHDLIF, GLIF, HDLIF):
        _, neuron = pair(make, channels=3)
        run: Callable[[Tensor], Tensor] = lambda x, neuron=neuron: neuron(x, None, range(T))[0]  # noqa: E731
        (expected,) = torch.autograd.grad(run(x).square().sum(), x)
        spikes = torch.utils.checkpoint.checkpoint(run, x, use_reentrant=False)
        assert torch.equal(torch.autograd.grad(spikes.square().sum(), x)[0], expected)
        packed, unpacked = list[Tensor](), list[int]()

        def pack(one: Tensor, packed: list[Tensor] = packed) -> int:
            packed.append(one)
            return len(packed) - 1

        def unpack(number: int, packed: list[Tensor] = packed, unpacked: list[int] = unpacked) -> Tensor:
            unpacked.append(number)
            return packed[number].clone(memory_format=torch.contiguous_format)

        with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
            torch.testing.assert_close(torch.autograd.grad(run(x).square().sum(), x)[0], expected)
        assert len(unpacked) == len(set(unpacked)) > 2
    # A checkpoint runs forward twice.
    assert len(runs) == 3 * (2 + 3 + 2)


def test_what_was_saved_and_then_written_to_is_found_out() -> None:
    for place in (1, 2):
        written, given = given_to(HDLIF(T), drawn(T, 3, 5))
        inner = [one * 1 for one in given]
        # A copy compiles its programs again.
        found = copy.deepcopy(FusedStep(written))(inner[0], inner[1:2], inner[2:], steps=T)
        assert found is not None
        inner[place].mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            found[0].sum().backward()
