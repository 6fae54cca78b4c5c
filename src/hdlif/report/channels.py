"""Remove channels between the convolutions of residual blocks, beginning with the smallest scales of the norm."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from hdlif.models import AttentionBlockII, PreActBlock

GROUP, MOST_OPTIONS = 16, 8
"""Channels are removed in groups of at least this many, so that a block has at most so many options."""


def blocks_to_narrow(network: nn.Module) -> dict[str, PreActBlock]:
    """Return the residual blocks whose inner channels can be fewer."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, PreActBlock) and not isinstance(module, AttentionBlockII)
    }


def fewer_channels(block: PreActBlock) -> list[int]:
    """Return candidate numbers of inner channels for a block, in multiples of a group."""
    now = inner_channels(block)
    group = GROUP * -(-now // (GROUP * MOST_OPTIONS))
    return list(range(group, now, group))


def inner_channels(block: PreActBlock) -> int:
    """Return the number of channels between the convolutions of a block."""
    return int(block.get_parameter("conv1.weight").shape[0])


def kept_channels(tensors: Mapping[str, Tensor], block: str, count: int) -> Tensor:
    """Return the `count` inner channels of a block with the largest scales of its norm, in order.

    Without a scale, the largest weights of the first convolution decide.
    """
    scale = tensors.get(f"{block}.bn1.weight", tensors[f"{block}.conv1.weight"]).detach()
    sizes = scale.flatten(1).square().sum(1) if scale.dim() > 1 else scale.abs()
    return sizes.argsort(descending=True, stable=True)[:count].sort().values


def narrowed(
    tensors: Mapping[str, Tensor], network: nn.Module, name_of: Callable[[str], str] = str, under: str = ""
) -> dict[str, Tensor]:
    """Return tensors without the inner channels that the blocks of a network do not have.

    Args:
        tensors: those of a network with as many inner channels or more, and others of their shapes.
        network: the network.
        name_of: returns the name in the network of a tensor.
        under: what the names of the wider network's own tensors begin with.
    """
    own = network.state_dict()
    wider = {name.removeprefix(under): one for name, one in tensors.items() if name.startswith(under)}
    kept = {
        name: kept_channels(wider, name, inner_channels(block))
        for name, block in blocks_to_narrow(network).items()
        if f"{name}.conv1.weight" in wider and len(wider[f"{name}.conv1.weight"]) > inner_channels(block)
    }
    found = dict(tensors)
    for block, channels in kept.items():
        for key, one in tensors.items():
            name = name_of(key)
            if name.startswith(f"{block}.") and name in own and own[name].dim() == one.dim():
                for axis in range(one.dim()):
                    if one.shape[axis] != own[name].shape[axis]:
                        found[key] = one.index_select(axis, channels)
    return found
