"""Whether the networks of bench_training.py are the same: small ones with the same weights give the same logits."""

import re

import torch
from torch import Tensor, nn

from hdlif.models import PreActBlock
from hdlif.nn import BatchNorm2d
from hdlif.recipe import builders
from training_peers import PEERS, Neurons, Peer, copy_weights, parameter_counts, weighted_layers
from training_rows import NAIVE, ROWS, SMALL, SMALL_STEPS, Cell, Row, recipe_of, shape_of

TOLERANCE = 1e-6


def network_of_ours(row: Row, cell: Cell) -> nn.Module:
    """Small, in float64, with batch norms that keep membranes below 2θ (as snnTorch needs them) and many above θ."""
    network = builders.build_model(recipe_of(row, cell, SMALL)).double()
    norms = weighted_layers(network)["batch norms"]
    # What is added to another value, of a U-Net to what skips a level, too.
    added = [block.bn2 for block in network.modules() if isinstance(block, PreActBlock)]
    added += [norm for name, norm in network.named_modules() if re.fullmatch(r".*\bacross\d+\.bn", name)]
    for norm in norms:
        nn.init.constant_(norm.get_parameter("weight"), 0.08)
        nn.init.constant_(norm.get_parameter("bias"), 0.0 if norm in added else 0.92)
    return network


def differences(name: str, kind: str, neurons: Neurons | None = None) -> list[str]:
    """How a peer's network differs from ours with the same weights, a line each.

    Args:
        name: of `PEERS`.
        neurons: the peer's, where they are not its own.
    """
    cell = Cell(kind, 4, SMALL_STEPS)
    row = ROWS["HD-LIF STBP" if name == NAIVE else "LIF STBP"]
    recipe = recipe_of(row, cell, SMALL)
    torch.manual_seed(recipe.seed)
    ours = network_of_ours(row, cell)
    given = {} if neurons is None else {"neurons": neurons}
    peer = PEERS[name](shape_of(recipe, kind, SMALL), SMALL_STEPS, **given)
    counts, theirs = parameter_counts(ours), parameter_counts(peer.network)
    if counts != theirs:
        return [f"{name}, {kind}: its parameters are {theirs}, ours {counts}"]
    x, _ = builders.random_batch(recipe, torch.Generator().manual_seed(recipe.seed))
    x, steps = x.double(), range(SMALL_STEPS)
    frames = x.expand(len(steps), *x.shape[1:])
    peer.network.double()
    for layers in weighted_layers(peer.network).values():
        for layer in layers:
            # snnTorch's spikes are float32, whatever the current is.
            layer.register_forward_pre_hook(lambda _, arguments: (arguments[0].double(),))
    copy_weights(ours, peer.network)
    lines = []
    with torch.no_grad():
        # Step by step, since all at once share the batch's statistics among the steps.
        if not peer.at_once:
            off = _largest_difference(ours.train()(x, None, steps=steps)[0], peer, frames, training=True)
            lines += [] if off <= TOLERANCE else [f"{name}, {kind}: logits in training differ from ours by {off:.3g}"]
        _keep_last_statistics(ours, x, steps)
        copy_weights(ours, peer.network)
        off = _largest_difference(ours.eval()(x, None, steps=steps)[0], peer, frames, training=False)
        lines += [] if off <= TOLERANCE else [f"{name}, {kind}: logits in evaluation differ from ours by {off:.3g}"]
    return lines


def _largest_difference(logits: Tensor, peer: Peer, x: Tensor, *, training: bool) -> float:
    peer.network.train(training)
    off = (logits - peer.logits(x)).abs().max()
    peer.forget()
    return float(off)


def _keep_last_statistics(network: nn.Module, x: Tensor, steps: range) -> None:
    """Make running statistics those of the last step."""
    for norm in weighted_layers(network)["batch norms"]:
        assert isinstance(norm, BatchNorm2d)
        norm.momentum = 1.0
    network.train()(x, None, steps=steps)
