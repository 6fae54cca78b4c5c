"""Neurons whose chunks run step by step and fused, and programs at random: shared by the tests of the kernels."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import own_neurons
from hdlif.functional import DetachedReset, HardReset, Rectangle, heaviside
from hdlif.graph.equations import Program, WrittenStep
from hdlif.nn import GLIF, HDLIF, LIF, SteppedNeuron
from hdlif.nn.step_neuron import Step
from hdlif.recipe.builders import CLASSES

T = 5
Results = tuple[list[Tensor], list[Tensor]]
CASES: dict[str, Callable[..., SteppedNeuron]] = {
    **{kind: place.get() for kind, place in CLASSES.items()},
    "learned lif": partial(LIF, learned=True, surrogate=Rectangle()),
    "hard lif": partial(LIF, learned=True, reset=HardReset(0.1)),
    "detached lif": partial(LIF, learned=True, reset=DetachedReset(HardReset(0.1))),
    "fixed hdlif": partial(HDLIF, learned=False),
    "hdlif of any leak": partial(HDLIF, learned=False, leak=-1.25, threshold=-0.5),
    "shared glif": partial(GLIF, per_step=False),
    "glif by step": partial(GLIF, per_step=True),
    "own adaptive": own_neurons.AdaptiveHDLIF,
    "own delayed": partial(own_neurons.Delayed, delay=3),
    "own lif": own_neurons.LIF,
}


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return 1.5 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def channels_last(x: Tensor) -> Tensor:
    return x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, x.shape[:2])


def pair(make: Callable[..., SteppedNeuron], **given: Any) -> tuple[SteppedNeuron, SteppedNeuron]:
    """A neuron that runs step by step, and the same fused, with parameters that differ from each other."""
    torch.manual_seed(0)
    plain = make(time_steps=T, path="steps", **given).double()
    for parameter in plain.parameters():
        nn.init.normal_(parameter, std=0.7)
    fused = make(time_steps=T, path="fused", **given).double()
    fused.load_state_dict(plain.state_dict())
    return plain, fused


def everything(
    neuron: nn.Module,
    x: Tensor,
    *,
    start: Mapping[str, Tensor] | None = None,
    steps: int = T,
    run: Callable[..., Any] | None = None,
) -> Results:
    """Spikes and states, and the gradients of current, states before and parameters of a fixed weighting of them.

    Args:
        run: called in place of the neuron.
    """
    x = x.detach().requires_grad_()
    given = {name: value.clone().requires_grad_() for name, value in (start or {}).items()}
    y, state = (neuron if run is None else run)(x, given or None, steps=range(steps))
    results = [y, *(state or {}).values()]
    loss = sum((one * drawn(*one.shape, seed=seed, dtype=one.dtype)).sum() for seed, one in enumerate(results, 1))
    asked = [x, *given.values(), *(one for one in neuron.parameters() if one.requires_grad)]
    gradients = torch.autograd.grad(loss, asked, allow_unused=True)
    zeros = [torch.zeros_like(one) if grad is None else grad for one, grad in zip(asked, gradients, strict=True)]
    return [one.detach() for one in results], zeros


def assert_same(plain: Results, fused: Results, *, of: object = "", off: float = 1e-10) -> None:
    """The same bits of values, and gradients equal up to `off`, by which sums in another order differ."""
    for value, its in zip(plain[0], fused[0], strict=True):
        torch.testing.assert_close(its, value, rtol=0.0, atol=0.0, equal_nan=True, msg=lambda text: f"{of}: {text}")
    for gradient, its in zip(plain[1], fused[1], strict=True):
        torch.testing.assert_close(
            its, gradient, rtol=off, atol=off, equal_nan=True, msg=lambda text: f"{of}, gradient: {text}"
        )


def plain_step(program: Program, dtype: torch.dtype) -> Step:
    """A program as a step under autograd, by PyTorch's operations."""

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
        replace(one, surrogate="f" if one.operation == "step" else None) for one in program.instructions
    )
    return WrittenStep(replace(program, instructions=instructions), (), (), {"f": Rectangle(2.0)})
