"""Dense multiply-accumulates: what a network would cost if no input and no weight were zero."""

import math

from hdlif.graph.ops import Graph, infer_values
from hdlif.graph.ops.conv2d import dilation_of
from hdlif.graph.ops.work import taps_on_map


def dense_macs(graph: Graph, *, padding: bool = True) -> dict[str, int]:
    """Multiply-accumulates of each convolution and linear layer, by name, per image and time step.

    out · in · kh · kw at each place of the output map, with the input channels of a group where there are groups;
    out · in for a linear layer.

    An example is at `count_parameters_mb`.

    Args:
        padding: False leaves out the taps that lie on the padding, as SOPs do: SOPs / (T · these) is the density of
            spikes times that of weights.
        graph: as of `deploy.lower`.
    """
    values = infer_values(graph)
    found = {}
    for node in graph.nodes:
        if node.op == "conv2d":
            out, channels, *kernel = node.tensors["weight"].shape
            axes = zip(
                values[node.inputs[0]].shape[1:],
                values[node.name].shape[1:],
                kernel,
                node.attributes["stride"],
                node.attributes["padding"],
                dilation_of(node),
                strict=True,
            )
            taps = [
                places * kernel if padding else taps_on_map(size, places, kernel, *geometry)
                for size, places, kernel, *geometry in axes
            ]
            found[node.name] = out * channels * math.prod(taps)
        elif node.op == "linear":
            found[node.name] = node.tensors["weight"].size
    return found
