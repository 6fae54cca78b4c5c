"""Lower container modules and reversible blocks to graph operations."""

from typing import cast

from torch import nn

from hdlif.deploy.lowering import Lowerer, Wire, lowers
from hdlif.errors import LoweringError
from hdlif.models import Grid, Network, OwnNetwork, ReversibleBlock, ReversibleSequential
from hdlif.nn import Sequential
from hdlif.nn.state import inside

COARSEST_GRID = 2.0**-13
"""Coarsest grid that export may omit: half a grid step is below 1e-4, the tolerance between export and torch."""


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
    """Lower consecutive reversible blocks, and return the two streams concatenated along the channels.

    The inputs and branches of all blocks share one rounding grid, which `_grid` omits.
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
    """Omit the rounding grid, because a deployed network never computes the inverse of a block.

    Each omitted rounding changes a current by at most half a step, which is 7.6e-6 at the default step of 2^-16.
    """
    if module.step > COARSEST_GRID:
        raise LoweringError(
            f"{path}: a grid of {module.step} is too coarse to omit in deployment; train with a grid of at most "
            f"{COARSEST_GRID}"
        )
    return wire


@lowers(nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
def _left_out(lowerer: Lowerer, module: nn.Module, wire: Wire, path: str) -> Wire:
    """Lower modules that are the identity in eval mode, by returning their input unchanged."""
    return wire
