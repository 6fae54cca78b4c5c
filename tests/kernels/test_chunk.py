"""Chunks in one function (`path="fused"`) against the plain scan, for all neurons that ship and programs at random."""

import copy
import itertools
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import own_neurons
from chunks import CASES
from hdlif.accounting import bytes_a_step, chunk_bytes, watching_saved
from hdlif.equations import Needs, Program, Saving, WrittenStep, trace_written
from hdlif.functional import Rectangle, heaviside
from hdlif.kernels.chunk import FusedStep
from hdlif.nn import GLIF, HDLIF, LIF, EquationNeuron, Parameter, SpikeQuantizer, SteppedNeuron, detach
from hdlif.nn.stepped import Step
from random_programs import random_program

EXACT: Any = {"atol": 1e-10, "rtol": 0.0}
T = 5


@pytest.fixture(autouse=True, params=["kernels", pytest.param("operations", marks=pytest.mark.slow)])
def runner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs a chunk: the compiled kernels, or PyTorch's operations; test_native_chunks.py compares the two."""
    if request.param == "operations":
        monkeypatch.setattr("hdlif.kernels.chunk.native.serves", lambda *given: False)


every_neuron = pytest.mark.parametrize("make", CASES.values(), ids=CASES)


def pair(make: Callable[..., SteppedNeuron], **given: Any) -> tuple[SteppedNeuron, SteppedNeuron]:
    """A neuron that takes its steps one by one, and the same fused, with parameters that differ from each other."""
    torch.manual_seed(0)
    plain = make(time_steps=T, path="steps", **given).double()
    for parameter in plain.parameters():
        nn.init.normal_(parameter, std=0.7)
    fused = make(time_steps=T, path="fused", **given).double()
    fused.load_state_dict(plain.state_dict())
    return plain, fused


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return 1.5 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def everything(neuron: SteppedNeuron, x: Tensor, *, start: dict[str, Tensor] | None = None, steps: int = T) -> Any:
    """Spikes, states, and the gradients of current, states before and parameters; of a fixed weighting of all."""
    x = x.clone().requires_grad_()
    given = {name: value.clone().requires_grad_() for name, value in (start or {}).items()}
    y, state = neuron(x, given or None, range(steps))
    results = [y, *(state or {}).values()]
    loss = sum((one * drawn(*one.shape, seed=seed, dtype=one.dtype)).sum() for seed, one in enumerate(results, 1))
    asked = [x, *given.values(), *neuron.parameters()]
    gradients = torch.autograd.grad(loss, asked, allow_unused=True)
    zeros = [torch.zeros_like(one) if grad is None else grad for one, grad in zip(asked, gradients, strict=True)]
    return [one.detach() for one in results], zeros


def assert_same(plain: Any, fused: Any) -> None:
    for value, its in zip(plain[0], fused[0], strict=True):
        assert torch.equal(value, its)
    for gradient, its in zip(plain[1], fused[1], strict=True):
        torch.testing.assert_close(its, gradient, **EXACT)


@every_neuron
def test_values_bit_for_bit_and_every_gradient_are_those_of_the_steps(make: Callable[..., SteppedNeuron]) -> None:
    for given, x in (({}, drawn(T, 3, 5)), ({"channels": 3, "per_step": False}, drawn(T, 2, 3, 7))):
        plain, fused = pair(make, **given)
        start = {name: drawn(*x.shape[1:], seed=9) for name in plain.states}
        assert_same(everything(plain, x), everything(fused, x))
        assert_same(everything(plain, x, start=start), everything(fused, x, start=start))


@every_neuron
def test_a_chunk_is_its_steps_one_by_one(make: Callable[..., SteppedNeuron]) -> None:
    _, fused = pair(make)
    x, weight = drawn(T, 3, 5), drawn(T, 3, 5, seed=1)
    found = []
    for size in (T, 1, 2):
        given, state, spikes = x.clone().requires_grad_(), None, []
        for t in range(0, T, size):
            y, state = fused(given[t : t + size], state, range(t, min(t + size, T)))
            spikes.append(y)
        y = torch.cat(spikes)
        found.append(
            [y, *(state or {}).values(), *torch.autograd.grad((y * weight).sum(), [given, *fused.parameters()])]
        )
    for other in found[1:]:
        for one, its in zip(found[0], other, strict=True):
            torch.testing.assert_close(its, one, **EXACT)


@every_neuron
def test_a_current_that_is_constant_in_time_is_the_repeated_one(make: Callable[..., SteppedNeuron]) -> None:
    plain, fused = pair(make)
    x = drawn(1, 3, 5)
    assert_same(everything(plain, x), everything(fused, x))


@every_neuron
def test_float32_values_are_the_same_bits(make: Callable[..., SteppedNeuron]) -> None:
    plain, fused = (neuron.float() for neuron in pair(make))
    x = drawn(T, 4, 33, dtype=torch.float32)
    for value, its in zip(everything(plain, x)[0], everything(fused, x)[0], strict=True):
        assert torch.equal(value, its)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_states_are_float32_under_lower_precision(dtype: torch.dtype) -> None:
    plain, fused = (neuron.float() for neuron in pair(CASES["adaptive_hdlif"], quantizer=SpikeQuantizer(learned=True)))
    x = drawn(T, 2, 5).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = [everything(neuron, x) for neuron in (plain, fused)]
    assert found[1][0][0].dtype == dtype
    assert {value.dtype for value in found[1][0][1:]} == {torch.float32}
    for value, its in itertools.chain(
        zip(found[0][0], found[1][0], strict=True), zip(found[0][1], found[1][1], strict=True)
    ):
        torch.testing.assert_close(its.float(), value.float(), atol=1e-2, rtol=1e-2)


@every_neuron
def test_cut_in_time_the_gradient_is_that_of_the_steps(make: Callable[..., SteppedNeuron]) -> None:
    x, found = drawn(T, 3, 5), []
    for neuron in pair(make):
        given, state, emitted = x.clone().requires_grad_(), None, []
        for t in range(T):
            y, state = neuron(given[t : t + 1], detach(state), range(t, t + 1))
            emitted.append(y)
        y = torch.cat(emitted)
        asked = [given, *neuron.parameters()]
        found.append(torch.autograd.grad((y * drawn(*y.shape, seed=1)).sum(), asked, allow_unused=True))
    for gradient, its in zip(*found, strict=True):
        its, gradient = (torch.zeros(()) if one is None else one for one in (its, gradient))
        torch.testing.assert_close(its, gradient.expand_as(its), check_dtype=False, **EXACT)


def rows_of(neuron: SteppedNeuron, x: Tensor, steps: int) -> tuple[WrittenStep, list[Any]]:
    """The step as it is written, and its rows as leaves."""
    written = trace_written(neuron.equation(), states=neuron.states, rows=neuron.row_values())
    rows = written.rows(neuron.rows_at(range(steps), x.expand(steps, *x.shape[1:])))
    return written, [row.detach().requires_grad_(row.requires_grad) if isinstance(row, Tensor) else row for row in rows]


def bytes_held(written: WrittenStep, x: Tensor, states: list[Tensor], rows: list[Any], steps: int) -> int:
    apart = [row for row in rows if isinstance(row, Tensor)]
    with watching_saved(apart) as saved:
        held = FusedStep(written)(x, states, rows, steps=steps)
    assert held is not None
    return saved.peak


@every_neuron
@pytest.mark.parametrize("steps", [1, T])
@pytest.mark.parametrize("is_constant", [False, True])
def test_bytes_are_stated_as_autograd_holds_them(
    make: Callable[..., SteppedNeuron], steps: int, is_constant: bool
) -> None:
    for shape, dtype in (((3, 7), torch.float32), ((2, 3, 8), torch.float64)):
        neuron = make(time_steps=T).to(dtype)
        x = drawn(1 if is_constant else steps, *shape, dtype=dtype).requires_grad_()
        written, rows = rows_of(neuron, x, steps)
        for is_carried in (False, True):
            states = [drawn(*shape, dtype=dtype).requires_grad_(is_carried) for _ in neuron.states]
            stated = chunk_bytes(
                neuron, shape, steps=steps, dtype=dtype, is_constant=is_constant, is_carried=is_carried
            )
            assert bytes_held(written, x, states, rows, steps) == stated


def test_bytes_a_neuron_and_step_are_these() -> None:
    """HD-LIF: a bit for χ, and v where λ is learned; LIF: m - θ for its surrogate; GLIF: u, I and h."""
    assert bytes_a_step(HDLIF(T)) == 4.125
    assert bytes_a_step(HDLIF(T, learned=False)) == 0.125
    assert bytes_a_step(LIF(T)) == 4
    assert bytes_a_step(GLIF(T, channels=3)) == 8.125
    assert bytes_a_step(CASES["parallel_hdlif"](time_steps=T)) == 0.125


def test_a_layer_saves_what_is_stated_and_its_rows() -> None:
    neuron, x = HDLIF(T, path="fused", learned=False), drawn(T, 3, 5, dtype=torch.float32).requires_grad_()
    with watching_saved([*neuron.parameters(), *neuron.buffers()]) as saved:
        y, _ = neuron(x, None, range(T))
    assert y.grad_fn is not None
    assert saved.peak == chunk_bytes(neuron, (3, 5), steps=T) == -(-T * 15 // 8)


# Programs at random, whose derivatives are PyTorch's own.


def plain_step(program: Program, dtype: torch.dtype) -> Step:
    """A program as a step under autograd."""

    def number(value: Any) -> Tensor:
        return value.to(dtype) if isinstance(value, Tensor) else torch.tensor(value, dtype=dtype)

    functions: dict[str, Callable[..., Tensor]] = {
        "add": torch.add,
        "subtract": torch.subtract,
        "multiply": torch.multiply,
        "negative": torch.negative,
        "absolute": torch.abs,
        "floor": torch.floor,
        "minimum": torch.minimum,
        "maximum": torch.maximum,
        "greater": torch.gt,
        "greater_equal": torch.ge,
        "step": lambda x: heaviside(x, Rectangle(2.0)),
        "select": lambda chosen, a, b: torch.where(chosen != 0, a, b),
    }

    def step(*given: Tensor) -> tuple[Tensor, ...]:
        registers = list(given)
        for one in program.instructions:
            operands = [registers[operand] for operand in one.operands]
            value = one.value if one.operation == "constant" else functions[one.operation](*operands)
            registers.append(number(value))
        results = (registers[register] for register in (program.spike, *program.after))
        return tuple(result.expand_as(given[0]) for result in results)

    return step


def as_written(program: Program) -> WrittenStep:
    instructions = tuple(
        replace(one, surrogate="f") if one.operation == "step" else one for one in program.instructions
    )
    return WrittenStep(replace(program, instructions=instructions), (), (), {"f": Rectangle(2.0)})


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
    "seeds", [range(60), pytest.param(range(60, 1500), marks=pytest.mark.slow)], ids=["some", "many"]
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
            emitted, after = FusedStep(written)(given[0], states, rows, steps=steps)
        fused = [emitted, *after]
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


# How a step is written.


def ties(current: Any, potential: Any, a: Any) -> Any:
    low = torch.minimum(current, potential) + 2 * torch.fmin(current, potential) + torch.relu(current - potential)
    high = torch.maximum(current, potential) + 2 * torch.fmax(current, potential) + current.clamp(-1.0, 1.0).abs()
    return low + torch.clamp(potential, min=0.5), torch.where(current >= potential, high, current * a.detach())


def written(current: Any, potential: Any, a: Any) -> Any:
    return current / (a + 1) + 0.1 * potential, (potential.detach() * current / 3 - potential**2 / 7).clamp(-2, 2)


def of_parameters(current: Any, potential: Any, a: Any) -> Any:
    inverse = 1 - a
    spike = torch.cos(a) * current * inverse - torch.clamp(a, min=0.4) * potential + torch.clamp(a, min=0.2)
    return spike, (0.5 * potential + inverse * current).detach()


@pytest.mark.parametrize("step", [ties, written, of_parameters])
def test_a_step_is_run_back_as_it_is_written(step: Any) -> None:
    """Ties, gradients that are stopped, divisions, numbers in float64, and functions of parameters."""
    cls = type("Mine", (EquationNeuron,), {"a": Parameter(0.3), "step": staticmethod(step)})
    plain, fused = pair(cls)
    # On a grid of halves every third pair is equal.
    x = torch.randint(-2, 3, (T, 4, 50), generator=torch.Generator().manual_seed(0)).double() / 2
    start = {"potential": x[0].flip(0).clone()}
    assert_same(everything(plain, x, start=start), everything(fused, x, start=start))


def test_the_equation_is_read_again_where_it_is_another_and_numbers_as_they_are_now() -> None:
    class Gained(EquationNeuron):
        def __init__(self, time_steps: int, **given: Any) -> None:
            self.gain, self.bias = 2.0, torch.tensor(0.25)
            super().__init__(time_steps, **given)

        def step(self, current: Any, potential: Any) -> Any:
            return self.gain * current + self.bias, potential

    neuron, x = Gained(T, path="fused"), drawn(T, 2, 3, dtype=torch.float32)
    for gain, bias in ((2.0, 0.25), (3.0, 0.25), (3.0, 0.5)):
        neuron.gain = gain
        neuron.bias.fill_(bias)
        assert torch.equal(neuron(x, None, range(T))[0], gain * x + bias)


def test_a_neuron_that_has_run_is_copied_and_pickled() -> None:
    neuron, x = HDLIF(T, path="fused"), drawn(T, 2, 3, dtype=torch.float32)
    y, _ = neuron(x, None, range(T))
    for other in (copy.deepcopy(neuron), pickle.loads(pickle.dumps(neuron))):
        assert torch.equal(other(x, None, range(T))[0], y)


def test_no_graph_is_kept_where_none_is_wanted() -> None:
    neuron = HDLIF(T, path="fused")
    with torch.no_grad():
        y, state = neuron(drawn(T, 2, 3, dtype=torch.float32), None, range(T))
    assert not y.requires_grad
    assert not state["potential"].requires_grad


def test_a_scan_of_ones_own_is_not_fused() -> None:
    class Mine(HDLIF):
        def stepped(self, t: int, steps: range, *given: Tensor) -> Any:
            return super().stepped(t, steps, *given)

    assert Mine(T).fused_step(torch.device("cpu"), T, 10**6) is None
    with pytest.raises(ValueError, match="path = 'fused' runs the equation alone, and Mine has a scan of its own"):
        Mine(T, path="fused")


def test_wider_parameters_are_taken_step_by_step() -> None:
    plain, fused = pair(CASES["lif"])
    x = drawn(T, 2, 3, dtype=torch.float32)
    assert_same(everything(plain, x), everything(fused, x))
    assert fused._fusing._made is None


@pytest.mark.parametrize("kind", ["lif", "hdlif", "adaptive_hdlif", "glif"])
def test_a_current_may_be_wider_than_the_parameters(kind: str) -> None:
    plain, fused = (neuron.float() for neuron in pair(CASES[kind]))
    (values, gradients), (found, others) = (everything(neuron, drawn(T, 2, 3)) for neuron in (plain, fused))
    assert fused._fusing._made is not None
    for value, its in zip(values, found, strict=True):
        assert torch.equal(value, its)
    for gradient, its in zip(gradients, others, strict=True):
        assert gradient.dtype == its.dtype
        torch.testing.assert_close(its, gradient)


@every_neuron
def test_a_network_without_storage_may_be_fused(make: Callable[..., SteppedNeuron]) -> None:
    with torch.device("meta"):
        neuron, x = make(time_steps=T, path="fused"), torch.zeros(T, 2, 3)
        assert neuron(x, None, range(T))[0].shape == (T, 2, 3)


@pytest.mark.parametrize("make", [LIF, GLIF, HDLIF, own_neurons.AdaptiveHDLIF])
def test_other_paths_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="path = 'fuse'; choose one of"):
        make(T, path="fuse")
