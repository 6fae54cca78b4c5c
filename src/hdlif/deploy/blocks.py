"""Lowerings of what is made of other modules: containers and reversible blocks."""

from typing import cast

from torch import nn

from hdlif.deploy.lowering import Lowerer, Wire, lowers
from hdlif.errors import LoweringError
from hdlif.models import Grid, Network, OwnNetwork, ReversibleBlock, ReversibleSequential
from hdlif.nn import Sequential
from hdlif.nn.state import inside

COARSEST_GRID = 2.0**-13
"""Grid that may be left out: half of it is below 1e-4, to which a deployed network and torch agree in any case."""


@lowers(Network)
def _network(lowerer: Lowerer, module: Network, wire: Wire, path: str) -> Wire:
    for name in ("stem", "body", "head", "classifier"):
        wire = lowerer.lower(getattr(module, name), wire, name)
    return wire


@lowers(OwnNetwork)
def _own_network(lowerer: Lowerer, module: OwnNetwork, wire: Wire, path: str) -> Wire:
    return lowerer.lower(module.network, wire, inside(path, "network"))


@lowers(Sequential, nn.Sequential)
def _sequential(lowerer: Lowerer, module: nn.Module, wire: Wire, path: str) -> Wire:
    for name, child in module.named_children():
        wire = lowerer.lower(child, wire, inside(path, name))
    return wire


@lowers(ReversibleBlock)
def _reversible_block(lowerer: Lowerer, module: ReversibleBlock, wire: Wire, path: str) -> Wire:
    return _streams(lowerer, {path: module}, wire, path)


@lowers(ReversibleSequential)
def _reversible_chain(lowerer: Lowerer, module: ReversibleSequential, wire: Wire, path: str) -> Wire:
    blocks = {f"{path}.{name}": cast(ReversibleBlock, block) for name, block in module.named_children()}
    return _streams(lowerer, blocks, wire, path)


def _streams(lowerer: Lowerer, blocks: dict[str, ReversibleBlock], wire: Wire, path: str) -> Wire:
    """Blocks one after the other, by their paths: parted once in front of them all, and joined once after.

    The grid of a block's input is that of its branches, and left out with it: see `_grid`.
    """
    stream = lowerer.applied(wire)
    channels = lowerer.values[stream.name].shape[0]
    first = lowerer.emit("slice", f"{path}.x1", stream, begin=0, end=channels // 2)
    second = lowerer.emit("slice", f"{path}.x2", stream, begin=channels // 2, end=channels)
    for name, block in blocks.items():
        branch = lowerer.applied(lowerer.lower(block.f, second, f"{name}.f"))
        first = lowerer.emit("add", f"{name}.y1", first, branch)
        branch = lowerer.applied(lowerer.lower(block.g, first, f"{name}.g"))
        second = lowerer.emit("add", f"{name}.y2", second, branch)
    return lowerer.emit("concat", f"{path}.y", first, second)


@lowers(Grid)
def _grid(lowerer: Lowerer, module: Grid, wire: Wire, path: str) -> Wire:
    """Left out: the grid makes the way back exact, which a deployed network never goes.

    A current differs by up to half a step for each rounding left out, at the default of 2^-16 by 7.6e-6.
    """
    if module.step > COARSEST_GRID:
        raise LoweringError(
            f"{path}: a grid of {module.step} is too coarse to be left out; train with one of at most {COARSEST_GRID}"
        )
    return wire


@lowers(nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
def _left_out(lowerer: Lowerer, module: nn.Module, wire: Wire, path: str) -> Wire:
    """What gives its input in eval mode."""
    return wire
