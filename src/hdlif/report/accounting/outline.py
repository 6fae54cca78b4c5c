"""Count the layers, parameters, dense multiply-accumulates and activity of a network without lowering it."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from hdlif.deploy.lowering import encoding_of
from hdlif.graph.equations import counts
from hdlif.graph.graph import Graph
from hdlif.graph.inference import infer_values
from hdlif.graph.op import taps_on_map
from hdlif.graph.ops.conv2d import dilation_of
from hdlif.nn import SECA, Neuron, QuantLayer, SteppedNeuron, StepValue, Temporal, evaluation_mode
from hdlif.report.accounting.operations import PACKED_BITS, PUBLISHED_BITS


@dataclass(frozen=True)
class OutlineLayer:
    """The counts for one layer; figures that require the deployed graph are None.

    See `outline` for an example.

    Attributes:
        name: name of the module.
        kind: conv2d, linear, seca, or the name of a neuron's class.
        params_mb: as published, without neuron parameters.
        packed_mb: the same size with low-bit weights at the 1 or 1.6 bits that they take in a file.
        shape: shape of the layer's output, without batch.
        density: fraction of non-zero entries in a synapse's input or a neuron's output.
        nops: neuron operations; None for a neuron whose equation is unknown.
        neuron: whether it is a layer of neurons.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    params_mb: float
    packed_mb: float
    density: float | None
    nops: float | None
    neuron: bool


@dataclass(frozen=True)
class Outline:
    """The layers of a network in the order in which they run.

    See `outline` for an example.

    Attributes:
        layers: the rows.
    """

    layers: tuple[OutlineLayer, ...]

    @property
    def params_mb(self) -> float:
        return sum(layer.params_mb for layer in self.layers)

    @property
    def packed_mb(self) -> float:
        return sum(layer.packed_mb for layer in self.layers)

    @property
    def nops(self) -> float | None:
        known = [layer.nops for layer in self.layers if layer.nops is not None]
        return sum(known) if len(known) == len(self.layers) else None

    def as_dict(self) -> dict[str, Any]:
        """Return a dict with the keys of `Profile.as_dict()`. Figures that require the graph are None."""
        unknown = dict.fromkeys(("stored_mb", "sops", "energy_mj"))
        layers = []
        for layer in self.layers:
            row = asdict(layer) | {"shape": list(layer.shape), **unknown, "spikes_in": None}
            layers.append({key: value for key, value in row.items() if key not in ("packed_mb", "neuron")})
        totals = {"params_mb": self.params_mb, "packed_mb": self.packed_mb, "nops": self.nops}
        return {"layers": layers, **totals, **unknown}


def outline(network: nn.Module, x: Tensor | Iterable[Tensor], *, time_steps: int | None = None) -> Outline:
    """Run a network on images and return the counts for its convolutions, linear layers, attention layers and neurons.

    >>> import torch
    >>> from hdlif.report.accounting import outline
    >>> from hdlif.models import resnet
    >>> from hdlif.nn import HDLIF
    >>> network = resnet(neuron=lambda place: HDLIF(4), blocks=[1], width=4, classes=3, in_channels=1)
    >>> [(layer.kind, layer.shape) for layer in outline(network, torch.rand(1, 2, 1, 8, 8)).layers][:2]
    [('conv2d', (4, 8, 8)), ('HDLIF', (4, 8, 8))]

    Args:
        network: any module with the call signature of `hdlif` networks; its modes do not change.
        x: normalised images [T, B, C, H, W] or [1, B, C, H, W] (constant in time), or batches of them.
        time_steps: T; by default the T for which the network's neurons were built.
    """
    batches = [x] if isinstance(x, Tensor) else list(x)
    built_for = [module.time_steps for module in network.modules() if isinstance(module, StepValue)]
    steps = range(time_steps or max(built_for, default=1))
    shapes: dict[str, tuple[int, ...]] = {}
    nonzero: dict[str, int] = defaultdict(int)
    entries: dict[str, int] = defaultdict(int)

    def see(name: str, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        y = output[0] if isinstance(output, tuple) else output
        seen = y if isinstance(module, Neuron) else args[0]
        shapes[name] = _shape_of(module, y)
        nonzero[name] += int(torch.count_nonzero(seen))
        entries[name] += seen.numel()

    kinds = nn.Conv1d | nn.Conv2d | nn.Linear | SECA | Neuron
    layers = {name: m for name, m in network.named_modules() if isinstance(m, kinds) and getattr(m, "fires", True)}
    hooks = [module.register_forward_hook(partial(see, name)) for name, module in layers.items()]
    try:
        with evaluation_mode(network), torch.no_grad():
            for batch in batches:
                network(batch, steps=steps)
    finally:
        for hook in hooks:
            hook.remove()
    return Outline(
        tuple(
            _row(name, layers[name], shape, nonzero[name] / max(entries[name], 1), len(steps))
            for name, shape in shapes.items()
        )
    )


def _shape_of(module: nn.Module, y: Tensor) -> tuple[int, ...]:
    """Return an output's shape without time and batch dimensions. For a sequence [C, L], return [C, 1, L]."""
    if isinstance(module, nn.Linear):
        return tuple(y.shape[-1:])
    # Plain layers get time folded into the batch.
    shape = tuple(y.shape[2:] if isinstance(module, Temporal) else y.shape[1:])
    return (shape[0], 1, shape[1]) if len(shape) == 2 else shape


def _row(name: str, module: nn.Module, shape: tuple[int, ...], density: float, time_steps: int) -> OutlineLayer:
    if isinstance(module, Neuron):
        each = _operations(module)
        nops = None if each is None else float(each * time_steps * math.prod(shape))
        return OutlineLayer(name, type(module).__name__, shape, 0.0, 0.0, density, nops, neuron=True)
    count = sum(parameter.numel() for parameter in module.parameters())
    if isinstance(module, SECA):
        return OutlineLayer(name, "seca", shape, 4e-6 * count, 4e-6 * count, None, 0.0, neuron=False)
    assert isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear)
    quantizer = module.quantizer if isinstance(module, QuantLayer) else None
    encoding = "float32" if quantizer is None else encoding_of(quantizer)
    weights = module.weight.numel()
    published, packed = (
        1e-6 * (weights * bits[encoding] / 8 + 4 * (count - weights)) for bits in (PUBLISHED_BITS, PACKED_BITS)
    )
    kind = "linear" if isinstance(module, nn.Linear) else "conv2d"
    return OutlineLayer(name, kind, shape, published, packed, density, 0.0, neuron=False)


def _operations(neuron: Neuron) -> int | None:
    """Return the number of operations per neuron and step, or None if the equation is unknown."""
    if not isinstance(neuron, SteppedNeuron) or not neuron.runs_its_equation():
        return None
    return counts(neuron.program()).operations


def dense_macs(graph: Graph, *, padding: bool = True) -> dict[str, int]:
    """Return the number of multiply-accumulates per image and time step for each convolution and linear layer.

    A convolution takes out · in · kh · kw multiply-accumulates per output position. In this product, `in` is the number
    of input channels per group. A linear layer takes out · in multiply-accumulates.

    See `count_parameters_mb` for an example.

    Args:
        padding: False omits taps on the padding, as in SOPs. SOPs divided by T times this count is then the density
            of spikes times the density of weights.
        graph: graph of the network, from `deploy.lower`.
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
