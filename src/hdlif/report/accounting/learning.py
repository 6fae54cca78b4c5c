"""Compute the memory, operations and energy of a deployed network that continues to learn.

A learning step adds a backward pass to an inference step (`hdlif.graph.learning`). The following counts include the
zero entries in gradients:

    gradient of a layer's inputs     an addition per pair of a gradient and a weight if the weight has at most 2 bits,
                                     otherwise a multiply-accumulate
    gradient of a layer's weights    a multiply-accumulate per pair of a gradient and an input
    other ops                        a multiply-accumulate per entry if the gradient is passed on, and one more if the
                                     op has trained parameters; nothing for ops that only move numbers

For each trained parameter, an update takes one multiply-accumulate to average the gradient and one to change the value.
Low-bit weights take another multiply-accumulate to compute a root mean square, and momentum adds one more. Learning
uses float32. The energy of its operations is computed as in `hdlif.report.accounting.operations`.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hdlif.graph.learning import Level, Place, path, trained
from hdlif.graph.op import ADD, MAC, NOTHING, Work, moved
from hdlif.graph.ops import OPS
from hdlif.graph.weights import ADDING_ENCODINGS
from hdlif.report.accounting.activity import Activity
from hdlif.report.accounting.operations import MJ_PER_PJ, energy_pj, priced
from hdlif.report.accounting.outline import dense_macs


@dataclass(frozen=True)
class LearningCost:
    """The memory and energy that learning and inference take.

    See `learning_cost` for an example.

    Attributes:
        level: the level, which determines the trained tensors.
        weights: number of trained weights, scales, shifts, leaks and thresholds.
        latents: number of low-bit weights among them, each with a latent of 16 bits.
        learned_bytes: bytes of the values and latents; a low-bit weight takes one byte.
        gradient_bytes: bytes of the sums of gradients, in float32.
        momentum_bytes: bytes of the velocities, in float32; 0 without momentum.
        step_mj: mean energy (all operations) of a time step that only predicts, in mJ.
        learning_step_mj: mean energy of a time step that learns, in mJ.
        update_mj: energy of an update, in mJ.
    """

    level: Level
    weights: int
    latents: int
    learned_bytes: int
    gradient_bytes: int
    momentum_bytes: int
    step_mj: float
    learning_step_mj: float
    update_mj: float

    def as_dict(self) -> dict[str, Any]:
        """Return the "learning" entry in the output of `hdlif profile --learn LEVEL --json`."""
        return asdict(self)


def learning_cost(seen: Activity, level: Level, *, momentum: bool = False) -> LearningCost:
    """Compute the cost of learning from the counts that `activity` returns.

    >>> import torch
    >>> from hdlif.graph.artefact import load
    >>> from hdlif.report.accounting import activity, learning_cost
    >>> from hdlif.zoo import network_file
    >>> graph = load(network_file("digits_hdlif_w1p5_s4"))
    >>> cost = learning_cost(activity(graph, torch.rand(1, 2, 1, 8, 8)), "classifier")
    >>> cost.weights, cost.gradient_bytes, cost.step_mj < cost.learning_step_mj
    (660, 2640, True)

    Args:
        seen: counts from `activity`.
        level: the level, which determines the trained tensors.
        momentum: whether updates have momentum.
    Raises:
        HdlifError: the level is unknown, or the network does not support it.
    """
    graph = seen.graph
    places = trained(graph, level)
    nodes = {node.name: node for node in graph.nodes}
    tensors = [nodes[place.node].tensors[place.role] for place in places]
    weights = sum(tensor.size for tensor in tensors)
    latents = sum(tensor.size for tensor in tensors if tensor.dtype == np.int8)
    step = priced(seen, "honest").energy_mj / graph.time_steps
    return LearningCost(
        level=level,
        weights=weights,
        latents=latents,
        learned_bytes=4 * (weights - latents) + 3 * latents,
        gradient_bytes=4 * weights,
        momentum_bytes=4 * weights * momentum,
        step_mj=step,
        learning_step_mj=step + energy_pj(_backward(seen, places)) * MJ_PER_PJ,
        update_mj=energy_pj(MAC * ((2 + momentum) * weights + latents)) * MJ_PER_PJ,
    )


def _backward(seen: Activity, places: Sequence[Place]) -> Work:
    """Return the operations in the backward pass of one learning step."""
    graph = seen.graph
    needed, own, pairs = path(graph, places), {place.node for place in places}, dense_macs(graph, padding=False)
    found = NOTHING
    for node in graph.nodes:
        if node.name not in needed:
            continue
        passes_on = not needed.isdisjoint(node.inputs)
        if OPS[node.op].is_synapse:
            by_weight = ADD if node.attributes["encoding"] in ADDING_ENCODINGS else MAC
            found += MAC * (pairs[node.name] * (node.name in own)) + by_weight * (pairs[node.name] * passes_on)
        elif OPS[node.op].price is not moved:
            found += MAC * (math.prod(seen.types[node.name].shape) * (passes_on + (node.name in own)))
    return found
