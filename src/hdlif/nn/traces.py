"""Presynaptic traces: a synapse whose weight gradient uses a leaky sum of its past inputs.

A rule that cuts the temporal gradient of the membrane can put back what the membrane remembers of past inputs: with
a_t = λ·a_{t-1} + x_t and d_t = dL/dm_t, the gradient of a weight becomes Σ_t d_t ⊗ a_t in place of Σ_t d_t ⊗ x_t
(OTTT, Xiao et al., NeurIPS 2022). Values and the gradient of the input stay as they are. The trace is part of the
synapse's state, {"trace": a [B, ...]}.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.errors import ShapeError, StateError
from hdlif.nn.synapses import QuantConv2d, QuantLinear

_LEAK = "_trace_leak"


Synapse = nn.Conv2d | QuantLinear
"""What a membrane integrates: convolutions and quantisable linear layers; a plain `nn.Linear` is the read-out."""


@contextmanager
def traced(model: nn.Module, *, leak: float) -> Iterator[None]:
    """Let every synapse in front of a membrane keep a trace with this leak, inside the context.

    The read-out, a plain `nn.Linear`, has no membrane behind it and learns from its input itself.
    """
    synapses = [module for module in model.modules() if isinstance(module, Synapse)]
    for synapse in synapses:
        setattr(synapse, _LEAK, leak)
    try:
        yield
    finally:
        for synapse in synapses:
            delattr(synapse, _LEAK)


def trace_leak(module: nn.Module) -> float | None:
    """The leak of the module's trace; None where it keeps none."""
    return getattr(module, _LEAK, None)


def run_traced(
    module: nn.Module, x: Tensor, state: Mapping[str, Any] | None, steps: range, leak: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """A chunk [K or 1, B, ...] through a synapse with a trace: y [K, B, ...], and its state after the chunk.

    Raises:
        ShapeError: the trace has another shape than a step of x.
        StateError: the state is not {"trace": a}.
    """
    assert isinstance(module, Synapse), "traced marks no other module"
    trace: Tensor | None = None if state is None else state.get("trace")
    if state is not None and (len(state) != 1 or not isinstance(trace, Tensor)):
        raise StateError(f"state of a traced synapse has {sorted(state)}; it must be one tensor, 'trace'")
    if trace is not None and trace.shape != x.shape[1:]:
        raise ShapeError(
            f"trace has shape {list(trace.shape)}, the input of this step {list(x.shape[1:])}; "
            "a new batch starts with state=None"
        )
    weight = module.weight_q() if isinstance(module, QuantConv2d | QuantLinear) else module.weight
    bias = None if module.bias is None else module.bias.view(-1, *[1] * (x.ndim - 3))
    outputs = []
    for t, step in zip(steps, x.expand(len(steps), *x.shape[1:]), strict=True):
        trace = step.detach() if trace is None else leak * trace + step.detach()
        y = _TracedSynapse.apply(step, weight, trace, module)  # type: ignore[no-untyped-call]
        if bias is not None:
            # A bias is a weight of the input 1, whose trace after step t is 1 + λ + ... + λ^t.
            of_one = sum(leak**i for i in range(t + 1))
            y = y + (bias - bias * of_one).detach() + bias * of_one
        outputs.append(y)
    assert trace is not None
    return outputs[0][None] if len(outputs) == 1 else torch.stack(outputs), {"trace": trace}


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
