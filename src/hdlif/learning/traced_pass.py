"""Run synapses that compute ordinary outputs, but take weight gradients from traces (`hdlif.learning.traces`)."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from hdlif.errors import StateError
from hdlif.functional.once import once_differentiable
from hdlif.nn.layout import has_hooks, is_product
from hdlif.nn.state import check_entry
from hdlif.nn.steps import carried
from hdlif.nn.synapses import QuantLayer

Synapse = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear
"""Supported synapses: convolutions and linear layers, quantised or not."""
STILL = 1e-6
"""Smallest change of a potential in a step for which a ratio of changes is meaningful."""


@dataclass(frozen=True)
class TraceRule:
    """The decay of traces, which is `leak` or, if `dynamic` is set, the ratio of a neuron's potential changes."""

    leak: float
    dynamic: bool = False


def drift(current: Tensor, potential: Tensor, leak: float) -> Tensor:
    """Return u̇ = I - (1 - λ)·v, the change of a neuron's potential after a step, [B, ...], without a graph."""
    return (current - (1 - leak) * potential).detach()


def decay(now: Tensor, before: Tensor | None, leak: float) -> Tensor | float:
    """Return r = clip(u̇_t/u̇_{t-1}, -1, 1), or λ at the first step and for potentials that did not change."""
    if before is None:
        return leak
    still = before.abs() < STILL
    return torch.where(still, leak, (now / before.masked_fill(still, 1)).clamp(-1, 1))


def run_traced(
    synapse: nn.Module,
    x: Tensor,
    state: Mapping[str, Any] | None,
    steps: range,
    rule: TraceRule,
    moved: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Run x [K or 1, B, ...] through a synapse with a trace, and return y [K, B, ...] and the state after the chunk.

    Args:
        moved: u̇ of the neurons that emitted x, after the chunk, for a dynamic trace; the chunk is then one step.
    Raises:
        ShapeError: the trace and a step of x differ in shape.
        StateError: the state is not {"trace": a}, or with u̇ {"trace": a, "drift": u̇}.
    """
    assert isinstance(synapse, Synapse), "Traces has looked"
    names = {"trace"} if moved is None else {"trace", "drift"}
    if state is not None and (set(state) != names or not all(isinstance(v, Tensor) for v in state.values())):
        expected = "one tensor, 'trace'" if moved is None else "two tensors, 'trace' and 'drift'"
        seen = ", ".join(sorted(map(repr, state)))
        raise StateError(f"state of a traced synapse has {seen}; it must be {expected}")
    for name, value in (state or {}).items():
        check_entry(name, value, x)
    trace: Tensor | None = None if state is None else state["trace"]
    leak: Tensor | float = rule.leak
    if moved is not None:
        if len(steps) != 1:
            raise StateError(f"steps = {steps}; dynamic traces are run one time step at a time")
        leak = decay(moved, None if state is None else state["drift"], rule.leak)
    inputs = x.expand(len(steps), *x.shape[1:])
    # A bias is the weight of a constant input 1, whose trace after step t is 1 + λ + ... + λ^t.
    of_one = [t + 1 if rule.leak == 1 else (1 - rule.leak ** (t + 1)) / (1 - rule.leak) for t in steps]
    folded, weight = inputs.flatten(0, 1), carried(steps).weights.get(synapse)
    y, trace = _pass(synapse, folded, weight, trace, leak, of_one)
    if (measure := carried(steps).measures.get(synapse)) is not None:
        measure.take(folded, y)
    after = {"trace": trace} if moved is None else {"trace": trace, "drift": moved}
    return y.reshape(*inputs.shape[:2], *y.shape[1:]), after


def _traces(inputs: Sequence[Tensor], before: Tensor | None, leak: Tensor | float) -> list[Tensor]:
    """Return the trace after each step of a chunk."""
    traces: list[Tensor] = []
    for x in inputs:
        before = x if before is None else leak * before + x
        traces.append(before)
    return traces


def _pass(
    synapse: Synapse,
    x: Tensor,
    weight: Tensor | None,
    before: Tensor | None,
    leak: Tensor | float,
    of_one: Sequence[float],
) -> tuple[Tensor, Tensor]:
    """Return the outputs y [K·B, ...] for the folded inputs of K steps, and the trace after the last step."""
    if weight is None:
        weight = synapse.weight_q() if isinstance(synapse, QuantLayer) else synapse.weight
    last: list[Tensor] = []

    def forward(x: Tensor) -> Tensor:
        # Traces use the input as changed by the hooks.
        traces = _traces(x.detach().chunk(len(of_one)), before, leak)
        last.append(traces[-1])
        trace = traces[0] if len(traces) == 1 else torch.cat(traces)
        if isinstance(synapse, nn.Linear):
            return _TracedLinear.apply(x, weight, synapse.bias, trace, of_one)  # type: ignore[no-any-return, no-untyped-call]
        if is_product(synapse, x):
            flat = x.flatten(1), weight.flatten(1), synapse.bias, trace.flatten(1)
            return _TracedLinear.apply(*flat, of_one)[:, :, None, None]  # type: ignore[no-any-return, no-untyped-call]
        window = _Window(synapse)
        x, trace = window.padded(x), window.padded(trace)
        return _TracedConv.apply(x, weight, synapse.bias, trace, of_one, window)  # type: ignore[no-any-return, no-untyped-call]

    return _with_hooks(synapse, forward, x), last[0]


def _to_bias(by_output: Tensor, of_one: Sequence[float]) -> Tensor:
    """Return a bias's gradient, given the output gradient [K·n, C] of K steps and the traces of a constant input 1."""
    if len(of_one) == 1:
        return by_output.sum(0) * of_one[0]
    of_steps = by_output.reshape(len(of_one), -1, by_output.shape[-1]).sum(1)
    return by_output.new_tensor(of_one) @ of_steps


def _with_hooks(module: nn.Module, forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Run `forward` with the module's hooks, on a copy of the module that shares the module's parameters."""
    if not has_hooks(module):
        return forward(x)
    twin = copy.copy(module)
    vars(twin)["forward"] = forward
    y: Tensor = twin(x)
    return y


class _Window:
    """The stride, dilation, groups and padding of a convolution."""

    def __init__(self, conv: _ConvNd) -> None:
        self.stride, self.dilation, self.groups = conv.stride, conv.dilation, conv.groups
        self._mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
        reach = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        if conv.padding == "same":
            sides = [(r // 2, r - r // 2) for r in reach]
        elif conv.padding == "valid":
            sides = [(0, 0)] * len(reach)
        else:
            sides = [(int(p), int(p)) for p in conv.padding]
        apart = self._mode != "constant" or any(before != after for before, after in sides)
        self.padding = [0] * len(sides) if apart else [before for before, _ in sides]
        # The last axis comes first, as in `F.pad`.
        self._margins = [side for pair in reversed(sides) for side in pair] if apart else []

    def padded(self, x: Tensor) -> Tensor:
        """Return x, padded by the margins that the convolution's own `padding` does not add.

        Padding is linear, so it commutes with traces.
        """
        return F.pad(x, self._margins, self._mode) if any(self._margins) else x


def _autocast_device(x: Tensor) -> str:
    """Return the device type of x, or "cpu" for types without autocast, such as "meta"."""
    return x.device.type if torch.amp.is_autocast_available(x.device.type) else "cpu"


def _in_autocast(x: Tensor, weight: Tensor, bias: Tensor | None, trace: Tensor) -> list[Any]:
    """Return the arguments in the precision that the layer would use without a trace."""
    device = _autocast_device(x)
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    return [None if value is None else value.to(dtype) for value in (x, weight, bias, trace)]


class _TracedLinear(torch.autograd.Function):
    """The linear map y = Wx + b with the usual dL/dx, but with dL/dW from the trace instead of x."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, trace: Tensor, of_one: Sequence[float]
    ) -> Tensor:
        x, weight, bias, trace = _in_autocast(x, weight, bias, trace)
        ctx.save_for_backward(weight, trace)
        ctx.of_one = of_one
        with torch.autocast(_autocast_device(x), enabled=False):
            return F.linear(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,), (weight, trace) = grads, ctx.saved_tensors
        wanted = ctx.needs_input_grad
        by_output = grad.flatten(0, -2)
        return (
            grad @ weight if wanted[0] else None,
            by_output.T @ trace.flatten(0, -2) if wanted[1] else None,
            _to_bias(by_output, ctx.of_one) if wanted[2] else None,
            None,
            None,
        )


class _TracedConv(torch.autograd.Function):
    """The convolution y = W * x + b with the usual dL/dx, but with dL/dW from the trace instead of x."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        trace: Tensor,
        of_one: Sequence[float],
        window: _Window,
    ) -> Tensor:
        x, weight, bias, trace = _in_autocast(x, weight, bias, trace)
        ctx.save_for_backward(weight, trace)
        ctx.of_one, ctx.window = of_one, window
        with torch.autocast(_autocast_device(x), enabled=False):
            # For maps with 1, 2 or 3 axes.
            convolve: Callable[..., Tensor] = (F.conv1d, F.conv2d, F.conv3d)[weight.ndim - 3]
            return convolve(x, weight, bias, window.stride, window.padding, window.dilation, window.groups)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,), (weight, trace), window = grads, ctx.saved_tensors, ctx.window
        wanted = ctx.needs_input_grad
        # The gradient of the input needs only its shape, which is the trace's.
        to_x, to_weight, _ = torch.ops.aten.convolution_backward(
            grad,
            trace,
            weight,
            None,
            window.stride,
            window.padding,
            window.dilation,
            False,
            [0] * len(window.padding),
            window.groups,
            [*wanted[:2], False],
        )
        to_bias = _to_bias(grad.flatten(2).sum(2), ctx.of_one) if wanted[2] else None
        return to_x, to_weight, to_bias, None, None, None
