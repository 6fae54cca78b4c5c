"""Remove channels between the convolutions of residual blocks, starting with the smallest batch-norm scales."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from hdlif.models import AttentionBlockII, PreActBlock

GROUP, MOST_OPTIONS = 16, 8
"""Minimum number of channels that are removed as a group, and maximum number of options of a block."""


def blocks_to_narrow(network: nn.Module) -> dict[str, PreActBlock]:
    """Return the residual blocks that can have fewer inner channels."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, PreActBlock) and not isinstance(module, AttentionBlockII)
    }


def fewer_channels(block: PreActBlock) -> list[int]:
    """Return the numbers of inner channels to try for a block, all smaller than its current number."""
    now = inner_channels(block)
    group = GROUP * -(-now // (GROUP * MOST_OPTIONS))
    return list(range(group, now, group))


def inner_channels(block: PreActBlock) -> int:
    """Return the number of channels between the two convolutions of a block."""
    return int(block.get_parameter("conv1.weight").shape[0])


def kept_channels(tensors: Mapping[str, Tensor], block: str, count: int) -> Tensor:
    """Return the sorted indices of the `count` inner channels with the largest batch-norm scales.

    If the norm has no scale per channel, select the channels with the largest weights in the first convolution.
    """
    weight = tensors[f"{block}.conv1.weight"].detach()
    scale = tensors.get(f"{block}.bn1.weight")
    has_scale = scale is not None and scale.shape == weight.shape[:1]
    sizes = scale.detach().abs() if scale is not None and has_scale else weight.flatten(1).square().sum(1)
    return sizes.argsort(descending=True, stable=True)[:count].sort().values


def narrowed(
    tensors: Mapping[str, Tensor], network: nn.Module, name_of: Callable[[str], str] = str, under: str = ""
) -> dict[str, Tensor]:
    """Return a wider network's tensors, reduced to the inner channels that a narrower network keeps.

    Args:
        tensors: tensors of a network with at least as many inner channels, and other tensors of the same shapes.
        network: the narrower network.
        name_of: function that returns the name of a tensor in the network.
        under: prefix of the names of the wider network's own tensors.
    """
    own = network.state_dict()
    wider = {name.removeprefix(under): one for name, one in tensors.items() if name.startswith(under)}
    found = dict(tensors)
    for block, module in blocks_to_narrow(network).items():
        before, after = len(wider.get(f"{block}.conv1.weight", ())), inner_channels(module)
        if before <= after:
            continue
        channels = kept_channels(wider, block, after)
        for key, one in tensors.items():
            name = name_of(key)
            if name.startswith(f"{block}.") and name in own:
                sizes = list(zip(one.shape, own[name].shape, strict=False))
                # Tensors with other shapes, such as a kernel over channels, do not belong to single channels.
                axes = [axis for axis, size in enumerate(sizes) if size == (before, after)]
                if one.dim() == own[name].dim() and len(axes) == 1:
                    found[key] = one.index_select(axes[0], channels)
    return found
