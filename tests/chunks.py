"""Chunks of neurons' steps, run in one way and compared with another: what tests of several kernels share."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

import own_neurons
from hdlif.equations import Program, WrittenStep, trace_written
from hdlif.functional import ATan, DetachedReset, HardReset, Rectangle, Sigmoid, Triangle, lif_step
from hdlif.kernels.chunk import FusedStep
from hdlif.nn import GLIF, HDLIF, LIF, Dspike, SteppedNeuron
from hdlif.recipe.builders import CLASSES
from random_programs import random_program

Results = tuple[list[Tensor], list[Tensor]]
CASES: dict[str, Callable[..., SteppedNeuron]] = {
    **{kind: place.get() for kind, place in CLASSES.items()},
    "learned lif": partial(LIF, learned=True, surrogate=Rectangle()),
    "hard lif": partial(LIF, learned=True, reset=HardReset(0.1)),
    "detached lif": partial(LIF, learned=True, reset=DetachedReset(HardReset(0.1))),
    "fixed hdlif": partial(HDLIF, learned=False),
    "shared glif": partial(GLIF, per_step=False),
    "glif by step": partial(GLIF, per_step=True),
    "own adaptive": own_neurons.AdaptiveHDLIF,
    "own delayed": partial(own_neurons.Delayed, delay=3),
    "own lif": own_neurons.LIF,
}


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return 1.5 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def everything(step: FusedStep, given: Sequence[Any], steps: int, *, states: int) -> Results:
    """Spikes and states, and the gradients of all that is asked for, of a fixed weighting of them."""
    given = [one.detach().requires_grad_(one.requires_grad) if isinstance(one, Tensor) else one for one in given]
    spikes, after = step(given[0], given[1 : 1 + states], given[1 + states :], steps=steps)
    results = [spikes, *after]
    leaves = [one for one in given if isinstance(one, Tensor) and one.requires_grad]
    weighted = [
        (one * drawn(*one.shape, seed=seed, dtype=one.dtype).to(one.device)).sum()
        for seed, one in enumerate(results, 1)
        if one.requires_grad
    ]
    if not weighted:
        return [one.detach() for one in results], []
    gradients = torch.autograd.grad(sum(weighted[1:], weighted[0]), leaves, allow_unused=True)
    return [one.detach() for one in results], [
        torch.zeros_like(leaf) if one is None else one for leaf, one in zip(leaves, gradients, strict=True)
    ]


def assert_close(found: Results, expected: Results, *, of: object = "") -> None:
    """The same bits of values, and gradients equal but for the order of sums."""
    for value, its in zip(expected[0], found[0], strict=True):
        assert torch.equal(value, its), of
    for gradient, its in zip(expected[1], found[1], strict=True):
        torch.testing.assert_close(
            its, gradient, rtol=1e-4, atol=1e-4, equal_nan=True, msg=lambda text: f"{of}: {text}"
        )


def assert_bits(found: Results, expected: Results, *, of: object = "") -> None:
    for value, its in zip((*expected[0], *expected[1]), (*found[0], *found[1]), strict=True):
        assert torch.equal(value.view(torch.int32), its.contiguous().view(torch.int32)), of


def written_of(neuron: SteppedNeuron) -> WrittenStep:
    return trace_written(neuron.equation(), states=neuron.states, rows=neuron.row_values())


def given_to(neuron: SteppedNeuron, x: Tensor, steps: int, *, shares: bool = False) -> list[Any]:
    """Current, states and rows of a neuron's step, all of which are asked for."""
    with torch.no_grad():
        rows = neuron.rows_at(range(steps), x.expand(steps, *x.shape[1:]))
        rows = written_of(neuron).rows([row[:1] if shares else row for row in rows])
    states = [drawn(*x.shape[1:], seed=9 + i) for i in range(len(neuron.states))]
    return [one.detach().requires_grad_() if isinstance(one, Tensor) else one for one in (x, *states, *rows)]


def compared(neuron: SteppedNeuron, given: Sequence[Any], steps: int, *, kernels: str = "") -> tuple[Results, Results]:
    """By kernels, and by PyTorch's operations."""
    written, states = written_of(neuron), len(neuron.states)
    found = everything(FusedStep(written, kernels=kernels), given, steps, states=states)
    return found, everything(FusedStep(written, kernels=None), given, steps, states=states)


def assert_passes_on(neuron: SteppedNeuron, x: Tensor, steps: int, *, kernels: str = "") -> None:
    """That kernels make of currents, some of which are no numbers, what PyTorch's operations make of them."""
    given = given_to(neuron, x, steps)
    count = 1 + len(neuron.states)
    found, expected = (
        FusedStep(written_of(neuron), kernels=one)(given[0], given[1:count], given[count:], steps=steps)
        for one in (kernels, None)
    )
    for value, its in zip((expected[0], *expected[1]), (found[0], *found[1]), strict=True):
        torch.testing.assert_close(its, value, rtol=0.0, atol=0.0, equal_nan=True)


SURROGATES = (Triangle(0.7), Rectangle(1.3), Sigmoid(3.0), ATan(2.5), Dspike(2.0))
"""Programs, and others."""


def fires_twice(current: Any, potential: Any, a: Any) -> Any:
    """A step of one state and row, one of whose surrogates is no program and has an argument that is not saved."""
    spike, after = lif_step(current, potential, a, a, surrogate=Sigmoid())
    return lif_step(spike, potential, a, a, surrogate=Sigmoid())[0], after


def as_written(program: Program) -> WrittenStep:
    instructions = tuple(
        replace(one, surrogate="f" if one.operation == "step" else None) for one in program.instructions
    )
    return WrittenStep(replace(program, instructions=instructions), (), (), {"f": Rectangle(2.0)})


def random_given(seed: int) -> Any:
    """A program at random and what it is given; some of the currents are infinite, none, or the same at all steps."""
    rng = np.random.default_rng(seed)
    program, steps = random_program(rng), int(rng.integers(1, 5))
    shape = (2, 4, int(rng.choice([1, 4, 9])))
    current = drawn(1 if seed % 5 == 0 else steps, *shape, seed=seed)
    # On a grid of halves ties are frequent.
    current = torch.round(2 * current) / 2 if seed % 2 else current
    given = [current, *(drawn(*shape, seed=i) for i in range(len(program.states)))]
    given += [
        drawn(steps if rng.random() < 0.7 else 1, 1, 4 if rng.random() < 0.5 else 1, 1, seed=20 + i)
        for i in range(len(program.rows))
    ]
    return program, steps, [one.requires_grad_(bool(rng.random() < 0.7)) for one in given]
