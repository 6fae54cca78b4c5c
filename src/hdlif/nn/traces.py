"""Presynaptic traces: a synapse whose weight gradient uses a leaky sum of its past inputs.

A rule that cuts the temporal gradient of the membrane can put back what the membrane remembers of past inputs: with
a_t = λ·a_{t-1} + x_t and d_t = dL/dm_t, the gradient of a weight becomes Σ_t d_t ⊗ a_t in place of Σ_t d_t ⊗ x_t
(OTTT, Xiao et al., NeurIPS 2022). Values and the gradient of the input stay as they are. The trace is part of the
synapse's state, {"trace": a [B, ...]}.

A dynamic trace has a factor of its own for each presynaptic neuron and step in place of λ, which follows how that
neuron's potential moves: with u̇_t = I_t - (1 - λ)·v_t, a_t = r_t·a_{t-1} + s_t, r_t = clip(u̇_t/u̇_{t-1}, -1, 1), and
r_t = λ where u̇_{t-1} is about 0. Only a synapse that directly follows a neuron with a potential has it.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.errors import ShapeError, StateError
from hdlif.nn.layout import input_of
from hdlif.nn.synapses import QuantConv2d, QuantLinear

_RULE = "_trace_rule"
STILL = 1e-6
"""A potential that moves less than this in a step is still: its ratio has no meaning."""


@dataclass(frozen=True)
class TraceRule:
    """How a trace decays: by `leak`, or as its neuron moves where that is known and `dynamic` is set."""

    leak: float
    dynamic: bool = False


Synapse = nn.Conv2d | QuantLinear
"""What a membrane integrates: convolutions and quantisable linear layers."""


@contextmanager
def traced(synapses: Iterable[Synapse], rule: TraceRule) -> Iterator[None]:
    """Let these synapses keep a trace, inside the context."""
    synapses = list(synapses)
    for synapse in synapses:
        setattr(synapse, _RULE, rule)
    try:
        yield
    finally:
        for synapse in synapses:
            delattr(synapse, _RULE)


def trace_rule(module: nn.Module) -> TraceRule | None:
    """How the module's trace decays; None where it keeps none."""
    return getattr(module, _RULE, None)


def drift(current: Tensor, potential: Tensor, leak: float) -> Tensor:
    """u̇ = I - (1 - λ)·v: how a neuron's potential moves after a step, [B, ...], without graph."""
    return (current - (1 - leak) * potential).detach()


def decay(now: Tensor, before: Tensor | None, leak: float) -> Tensor | float:
    """r = clip(u̇_t/u̇_{t-1}, -1, 1), and λ where there is no step before or the potential was still."""
    if before is None:
        return leak
    still = before.abs() < STILL
    return torch.where(still, leak, (now / before.masked_fill(still, 1)).clamp(-1, 1))


def run_traced(
    module: nn.Module,
    x: Tensor,
    state: Mapping[str, Any] | None,
    steps: range,
    rule: TraceRule,
    moved: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """A chunk [K or 1, B, ...] through a synapse with a trace: y [K, B, ...], and its state after the chunk.

    Args:
        moved: u̇ of the neurons that emitted x, after the chunk, which is then one step; for a dynamic trace.
    Raises:
        ShapeError: the trace has another shape than a step of x.
        StateError: the state is not {"trace": a}, or with u̇ {"trace": a, "drift": u̇}.
    """
    assert isinstance(module, Synapse), "traced marks no other module"
    names = {"trace"} if moved is None else {"trace", "drift"}
    if state is not None and (set(state) != names or not all(isinstance(v, Tensor) for v in state.values())):
        expected = "one tensor, 'trace'" if moved is None else "two tensors, 'trace' and 'drift'"
        raise StateError(f"state of a traced synapse has {sorted(state)}; it must be {expected}")
    trace: Tensor | None = None if state is None else state["trace"]
    leak: Tensor | float = rule.leak
    if moved is not None:
        if len(steps) != 1:
            raise StateError(f"steps = {steps}; dynamic traces are run one time step at a time")
        leak = decay(moved, None if state is None else state["drift"], rule.leak)
    if trace is not None and trace.shape != x.shape[1:]:
        raise ShapeError(
            f"trace has shape {list(trace.shape)}, the input of this step {list(x.shape[1:])}; "
            "a new batch starts with state=None"
        )
    weight = module.weight_q() if isinstance(module, QuantConv2d | QuantLinear) else module.weight
    bias = None if module.bias is None else module.bias.view(-1, *[1] * (x.ndim - 3))
    outputs = []
    # Past the layer's own call, and so past its hooks.
    x = input_of(module, x)
    for t, step in zip(steps, x.expand(len(steps), *x.shape[1:]), strict=True):
        trace = step.detach() if trace is None else leak * trace + step.detach()
        y = _TracedSynapse.apply(step, weight, trace, module)  # type: ignore[no-untyped-call]
        if bias is not None:
            # A bias is a weight of the input 1, whose trace after step t is 1 + λ + ... + λ^t.
            of_one = sum(rule.leak**i for i in range(t + 1))
            y = y + (bias - bias * of_one).detach() + bias * of_one
        outputs.append(y)
    assert trace is not None
    return outputs[0][None] if len(outputs) == 1 else torch.stack(outputs), (
        {"trace": trace} if moved is None else {"trace": trace, "drift": moved}
    )


class _TracedSynapse(torch.autograd.Function):
    """y = synapse(x, W), with dL/dx as ever and dL/dW from the trace in place of x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, trace: Tensor, module: Synapse) -> Tensor:
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        x, weight, trace = x.to(dtype), weight.to(dtype), trace.to(dtype)
        ctx.save_for_backward(weight, trace)
        ctx.module = module
        with torch.autocast(device, enabled=False):
            if isinstance(module, nn.Linear):
                return F.linear(x, weight)
            return F.conv2d(x, weight, None, module.stride, module.padding, module.dilation, module.groups)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (grad,), (weight, trace), module = grads, ctx.saved_tensors, ctx.module
        wanted = ctx.needs_input_grad[:2]
        if isinstance(module, nn.Linear):
            to_x = grad @ weight if wanted[0] else None
            to_weight = grad.flatten(0, -2).T @ trace.flatten(0, -2) if wanted[1] else None
            return to_x, to_weight, None, None
        # The gradient of the input needs no more of it than its shape, which is the trace's.
        to_x, to_weight, _ = torch.ops.aten.convolution_backward(
            grad,
            trace,
            weight,
            None,
            module.stride,
            module.padding,
            module.dilation,
            False,
            [0, 0],
            module.groups,
            [*wanted, False],
        )
        return to_x, to_weight, None, None
