"""HD-LIF over a chunk of time steps, with exact STBP from one saved bit per neuron and step.

The forward pass iterates the step map v -> min(λv + I, θ), or composes the steps with an associative scan. In the
backward pass, with χ_t = 1[m_t > θ_t] and G_t = dL/ds_t, the gradient of the membrane is:

    g_t = χ_t·G_t + (1 - χ_t)·λ_{t+1}·g_{t+1}.

The backward pass therefore does not need the membrane potentials. The forward pass saves χ with one bit per neuron and
step, and v_{t-1} only if λ is learned.
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
    """Run K steps of `hd_lif_step` with exact gradients from one saved bit per neuron and step.

    >>> import torch
    >>> from hdlif.functional import hd_lif_sequence
    >>> current = torch.tensor([0.25, 1.0, 0.0]).view(3, 1, 1)
    >>> leak, threshold = torch.tensor([[[0.5]]]), torch.tensor([[[0.5]]])
    >>> spikes, potential = hd_lif_sequence(current, torch.zeros(1, 1), leak, threshold)
    >>> spikes.flatten().tolist(), potential.item()
    ([0.0, 0.625, 0.0], 0.25)

    Args:
        current: I, [K, B, ...].
        potential: v before the first step, [B, ...].
        leak, threshold: λ and θ, broadcastable to `current`, with K rows or one row.
        path: "loop" takes K dependent steps, for any λ; "scan" composes the steps in ⌈log2 K⌉ rounds over the whole
            chunk, with equal results up to rounding, for λ in [0, 1]. Steps with λ < 0 do not compose, and products of
            λ > 1 have no bound.
    Returns:
        spikes [K, B, ...] and the potential after the last step, [B, ...].
    Raises:
        ParameterError: `path` is "scan" and a λ is outside [0, 1].
        ShapeError: `potential` and a step of `current` differ in shape.
        ValueError: `path` is neither "loop" nor "scan".
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
    """Raise `ParameterError` unless every λ is in [0, 1]. On an accelerator, the check waits for the device."""
    if leak.is_meta:
        return
    outside = leak.detach()[~((leak >= 0) & (leak <= 1))]
    if outside.numel():
        raise ParameterError(
            f"leak = {outside[0].item():g}; a scan requires a leak in 0..1; compute the steps one by one (path = "
            '"loop")'
        )


def hd_lif_potentials(current: Tensor, potential: Tensor, leak: Tensor, threshold: Tensor) -> Tensor:
    """Return the potentials after every step, [K, B, ...], computed with an associative scan.

    A step maps v to min(a·v + b, c) with a = λ_t in [0, 1], b = I_t and c = θ_t. The map (a1, b1, c1) followed by the
    map (a2, b2, c2) is the map (a1·a2, a2·b1 + b2, min(a2·c1 + b2, c2)).
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
        # g_t, and the gradient that arrives at v_t from later steps (None if there is none).
        membrane, arriving = _BACKWARDS[ctx.path](spikes, after, rows, fired)
        _, needs_potential, needs_leak, needs_threshold, _ = ctx.needs_input_grad
        return (
            membrane,
            rows[0] * membrane[0] if needs_potential else None,
            _summed_product(membrane, before, leak.shape) if needs_leak else None,
            # χ·(arriving - G), without reading χ: for a silent neuron, g_t is the arriving gradient.
            (-membrane if arriving is None else arriving - membrane).sum_to_size(ctx.threshold_shape)
            if needs_threshold
            else None,
            None,
        )


def _summed_product(x: Tensor, y: list[Tensor], shape: torch.Size) -> Tensor:
    """Return Σ x·y, summed to the given shape, where y contains one tensor per step."""
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
    # g_t = p_t + q_t·g_{t+1} with p = χ·G and q = (1 - χ)·λ_{t+1}; after the last step, `after` replaces λ·g.
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


# Read eight bytes b_0, ..., b_7 of 0 or 1 as the number Σ b_j·2^(8j). Times 2^(56 - 7j), its entry j is b_j·2^(56 + j),
# so the highest byte of the product with the sum of these factors is Σ b_j·2^j. No carry reaches it: all powers differ.
_TO_HIGHEST_BYTE = sum(2 ** (56 - 7 * j) for j in range(8))


def pack_bits(values: Tensor) -> Tensor:
    """Pack booleans into uint8 [⌈n/8⌉], where bit j of byte i is entry 8i + j.

    The argument `values` must not be a slice of a tensor.
    """
    flat = values.flatten()
    if short := -flat.numel() % 8:
        flat = torch.nn.functional.pad(flat, (0, short))
    products: Tensor = flat.view(torch.int64) * _TO_HIGHEST_BYTE
    return products.bitwise_right_shift_(56).to(torch.uint8)


def unpack_bits(packed: Tensor, shape: torch.Size) -> Tensor:
    """Unpack booleans, packed by `pack_bits`, into a tensor of the given shape."""
    numbers = torch.arange(256, dtype=torch.uint8, device=packed.device)
    places = torch.arange(8, dtype=torch.uint8, device=packed.device)
    # The eight booleans of each possible byte, as one 64-bit number.
    eights = numbers[:, None].bitwise_right_shift(places).bitwise_and_(1).view(torch.int64).flatten()
    return eights.index_select(0, packed.int()).view(torch.bool)[: shape.numel()].view(shape)
