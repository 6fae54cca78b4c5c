"""HD-LIF over a whole chunk of steps: exact STBP in time from one bit per neuron and step.

Forward, the step map v -> min(λv + I, θ) is iterated, or composed as an associative scan. Backward, with
χ_t = 1[m_t > θ_t] and G_t = dL/ds_t, the gradient of the membrane obeys

    g_t = χ_t·G_t + (1 - χ_t)·λ_{t+1}·g_{t+1},

so the membranes need not be kept. Saved: χ, one bit each, and, only where λ is learned, v_{t-1}.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from hdlif.errors import ParameterError
from hdlif.functional.neurons import hd_lif_step
from hdlif.functional.once import once_differentiable

TimePath = Literal["loop", "scan"]


def hd_lif_sequence(
    current: Tensor, potential: Tensor, leak: Tensor, threshold: Tensor, *, path: TimePath = "loop"
) -> tuple[Tensor, Tensor]:
    """K steps of `hd_lif_step`, with their exact gradients from one bit per neuron and step.

    >>> import torch
    >>> from hdlif.functional import hd_lif_sequence
    >>> current = torch.tensor([0.25, 1.0, 0.0]).view(3, 1, 1)
    >>> leak, threshold = torch.tensor([[[0.5]]]), torch.tensor([[[0.5]]])
    >>> spikes, potential = hd_lif_sequence(current, torch.zeros(1, 1), leak, threshold)
    >>> spikes.flatten().tolist(), potential.item()
    ([0.0, 0.625, 0.0], 0.25)

    Args:
        current: I, [K, B, ...].
        potential: v before the first of them, [B, ...].
        leak, threshold: λ and θ, broadcastable to `current`, with K rows or one.
        path: "loop" takes K dependent steps, under any λ; "scan" composes them in ⌈log2 K⌉ rounds over the whole
            chunk, equal but for rounding, and takes λ in [0, 1]: below 0 steps do not compose, above 1 their products
            have no bound.
    Returns:
        spikes [K, B, ...] and the potential after the last step, [B, ...].
    Raises:
        ParameterError: "scan" is given a λ outside [0, 1].
        ShapeError: `potential` and a step of `current` differ in shape.
        ValueError: `path` is another.
    """
    if path not in _PATHS:
        raise ValueError(f"path = {path!r}; choose one of loop, scan")
    if path == "scan":
        _check_scannable(leak)
    inputs = (current, potential, leak, threshold)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs):
        spikes, after = _HDLIFSequence.apply(*inputs, path)  # type: ignore[no-untyped-call]
        return spikes, after
    spikes, potentials = _PATHS[path](*inputs)
    return spikes, potentials[-1]


def _check_scannable(leak: Tensor) -> None:
    """Raise `ParameterError` unless all of λ is in [0, 1]; on an accelerator this waits for it."""
    if leak.is_meta:
        return
    outside = leak.detach()[~((leak >= 0) & (leak <= 1))]
    if outside.numel():
        raise ParameterError(
            f'leak = {outside[0].item():g}; a scan takes one in 0..1; take the steps one by one (path = "loop")'
        )


def hd_lif_potentials(current: Tensor, potential: Tensor, leak: Tensor, threshold: Tensor) -> Tensor:
    """v_t after every step by an associative scan, [K, B, ...].

    A step maps v to min(a·v + b, c) with a = λ_t in [0, 1], b = I_t, c = θ_t. First (a1, b1, c1), then (a2, b2, c2) is
    again such a map: (a1·a2, a2·b1 + b2, min(a2·c1 + b2, c2)).
    """
    a, b, c = leak.expand_as(current), current, threshold.expand_as(current)
    reach = 1
    while reach < len(current):
        earlier = slice(None, -reach)
        a_later, b_later, c_later = a[reach:], b[reach:], c[reach:]
        b, c = (
            torch.cat([b[:reach], a_later * b[earlier] + b_later]),
            torch.cat([c[:reach], torch.minimum(a_later * c[earlier] + b_later, c_later)]),
        )
        a = torch.cat([a[:reach], a_later * a[earlier]])
        reach *= 2
    return torch.minimum(a * potential + b, c)


def _by_loop(current: Tensor, potential: Tensor, leak: Tensor, threshold: Tensor) -> tuple[Tensor, list[Tensor]]:
    spikes, potentials = [], []
    leak, threshold = leak.expand(len(current), *leak.shape[1:]), threshold.expand(len(current), *threshold.shape[1:])
    for k in range(len(current)):
        spike, potential = hd_lif_step(current[k], potential, leak[k], threshold[k])
        spikes.append(spike)
        potentials.append(potential)
    return spikes[0][None] if len(spikes) == 1 else torch.stack(spikes), potentials


def _by_scan(current: Tensor, potential: Tensor, leak: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    after = hd_lif_potentials(current, potential, leak, threshold)
    before = torch.cat([potential[None], after[:-1]])
    return torch.relu(leak * before + current - threshold), after


_PATHS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Any]]] = {
    "loop": _by_loop,
    "scan": _by_scan,
}


class _HDLIFSequence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, current: Tensor, potential: Tensor, leak: Tensor, threshold: Tensor, path: str
    ) -> tuple[Tensor, Tensor]:
        spikes, potentials = _PATHS[path](current, potential, leak, threshold)
        kept = [pack_bits(spikes > 0), leak]
        if ctx.needs_input_grad[2]:
            kept += [potential, *potentials[:-1]]
        ctx.save_for_backward(*kept)
        ctx.threshold_shape, ctx.path, ctx.shape = threshold.shape, path, spikes.shape
        ctx.set_materialize_grads(False)
        return spikes, potentials[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        spikes, after = grads
        bits, leak, *before = ctx.saved_tensors
        if spikes is None:
            spikes = torch.zeros(ctx.shape, dtype=leak.dtype, device=leak.device)
        fired = unpack_bits(bits, ctx.shape)
        rows = leak.expand(len(spikes), *leak.shape[1:])
        # g_t, and what arrives at v_t from the steps after it (None for nothing).
        membrane, arriving = _BACKWARDS[ctx.path](spikes, after, rows, fired)
        _, needs_potential, needs_leak, needs_threshold, _ = ctx.needs_input_grad
        return (
            membrane,
            rows[0] * membrane[0] if needs_potential else None,
            _summed_product(membrane, before, leak.shape) if needs_leak else None,
            # χ·(arriving - G), without reading χ: where silent, g_t is what arrives.
            (-membrane if arriving is None else arriving - membrane).sum_to_size(ctx.threshold_shape)
            if needs_threshold
            else None,
            None,
        )


def _summed_product(x: Tensor, y: list[Tensor], shape: torch.Size) -> Tensor:
    """Σ x·y over all axes that `shape` does not have; y is given step by step."""
    if shape.numel() == shape[0] == len(x):
        return torch.stack([torch.dot(a.flatten(), b.flatten()) for a, b in zip(x, y, strict=True)]).view(shape)
    return (x * torch.stack(y)).sum_to_size(shape)


def _back_by_loop(spikes: Tensor, after: Tensor | None, leak: Tensor, fired: Tensor) -> tuple[Tensor, Tensor | None]:
    if len(spikes) == 1:
        if after is None:
            return spikes * fired, None
        return torch.where(fired, spikes, after), after[None]
    arriving = torch.zeros_like(spikes) if after is None else torch.empty_like(spikes)
    membrane = torch.empty_like(spikes)
    for k in reversed(range(len(spikes))):
        if after is not None:
            arriving[k] = after
        torch.where(fired[k], spikes[k], arriving[k], out=membrane[k])
        after = leak[k] * membrane[k]
    return membrane, arriving


def _back_by_scan(spikes: Tensor, after: Tensor | None, leak: Tensor, fired: Tensor) -> tuple[Tensor, Tensor]:
    # g_t = p_t + q_t·g_{t+1} with p = χ·G and q = (1 - χ)·λ_{t+1}; beyond the last step g·λ is `after`.
    if after is None:
        after = torch.zeros_like(spikes[0])
    following = torch.cat([leak[1:].expand_as(spikes[1:]), torch.ones_like(spikes[:1])])
    p, q = torch.where(fired, spikes, 0), torch.where(fired, 0, following)
    reach = 1
    while reach < len(spikes):
        p, q = (
            torch.cat([p[:-reach] + q[:-reach] * p[reach:], p[-reach:]]),
            torch.cat([q[:-reach] * q[reach:], q[-reach:]]),
        )
        reach *= 2
    membrane = p + q * after
    return membrane, torch.cat([leak[1:] * membrane[1:], after[None]])


_BACKWARDS = {"loop": _back_by_loop, "scan": _back_by_scan}


# Entry j of eight bytes b_0, ..., b_7 of 0 or 1, read as one number Σ b_j·2^(8j), times 2^(56 - 7j) is b_j·2^(56 + j):
# the highest byte of the product with the sum of these factors is Σ b_j·2^j. No carry reaches it, as all powers differ.
_TO_HIGHEST_BYTE = sum(2 ** (56 - 7 * j) for j in range(8))


def pack_bits(values: Tensor) -> Tensor:
    """Booleans, no part of a larger tensor, as bytes of eight, uint8 [⌈n/8⌉]: bit j of byte i is entry 8i + j."""
    flat = values.flatten()
    if short := -flat.numel() % 8:
        flat = torch.nn.functional.pad(flat, (0, short))
    products: Tensor = flat.view(torch.int64) * _TO_HIGHEST_BYTE
    return products.bitwise_right_shift_(56).to(torch.uint8)


def unpack_bits(packed: Tensor, shape: torch.Size) -> Tensor:
    """The booleans of `pack_bits`, in `shape`."""
    numbers = torch.arange(256, dtype=torch.uint8, device=packed.device)
    places = torch.arange(8, dtype=torch.uint8, device=packed.device)
    # Of every byte, its eight booleans as one number of 64 bits.
    eights = numbers[:, None].bitwise_right_shift(places).bitwise_and_(1).view(torch.int64).flatten()
    return eights.index_select(0, packed.int()).view(torch.bool)[: shape.numel()].view(shape)
