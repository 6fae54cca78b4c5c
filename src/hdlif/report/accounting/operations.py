"""Compute the number of parameters, the synaptic and neuron operations, and the energy of a network from its graph.

Operations and energy can be counted in two ways.

The option "paper" counts operations as in the paper's tables. SOPs are the products of non-zero inputs and non-zero
weights in the body's convolutions, summed over time. The operations of 1x1 shortcuts count as SOPs, although shortcuts
have dense real inputs. The stem and the classifier are included only if the recipe also quantises their weights
(`weights.quantise`). `artefact.roles` assigns layers to the stem, body or classifier by their position in the graph.
The energy is SOPs·0.9 pJ. For quantised spikes, this value is multiplied by bits/32. In this formula, LIF's one-bit
spikes count as 32-bit spikes. Nothing else costs energy. A neuron takes 3 operations per step; neurons without
accumulation take 1, and GLIF neurons 5. A "1-bit" weight counts as 2 bits, and a "1.5-bit" weight as 3 bits. Parameters
of batch norm and neurons are not counted.

The option "honest" counts every operation of the deployed network. The product of an input and a weight counts as an
addition if the input is a binary spike (0 or 1) or the weight has at most 2 bits. Every other product counts as a
multiply-accumulate. The energies in pJ per operation are:

    weights                   spikes of 0 or 1    integer codes    real inputs
    fp32                                   0.9              4.6            4.6
    ternary, binary, int2                  0.1              0.1            0.9
    int4, int8                             0.1              0.3            4.6

Real inputs are graded fp32 spikes and the inputs of the stem, shortcuts and classifier. With "honest", only operations
on spikes count as SOPs. The energy of an op without weights is computed from its multiplications and additions.
`hdlif.graph.op` defines which ops take no energy. Time-constant nodes are counted once. Memory traffic is not counted.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch import Tensor, nn

from hdlif.graph.artefact import Graph, Node
from hdlif.graph.artefact.io import dumps, tensor_bytes
from hdlif.graph.op import Work
from hdlif.graph.ops import OPS
from hdlif.graph.ops.program import neuron_step
from hdlif.report.accounting.activity import Activity, activity

# At 45 nm (Horowitz, ISSCC 2014).
FLOAT_ADD_PJ = 0.9
FLOAT_MULTIPLY_PJ = 3.7
FLOAT_MAC_PJ = FLOAT_ADD_PJ + FLOAT_MULTIPLY_PJ
INT32_ADD_PJ = 0.1
INT8_MULTIPLY_PJ = 0.2
MJ_PER_PJ = 1e-9


def energy_pj(work: Work) -> float:
    """Return the energy of arithmetic operations in pJ."""
    of_floats = work.multiplications * FLOAT_MULTIPLY_PJ + work.additions * FLOAT_ADD_PJ
    return of_floats + work.integer_multiplications * INT8_MULTIPLY_PJ + work.integer_additions * INT32_ADD_PJ


def published_energy_pj(sops: float, *, spike_bits: int = 32) -> float:
    """Return the energy in pJ as in the paper: SOPs·0.9, or SOPs·0.9·bits/32 for quantised spikes."""
    return sops * FLOAT_ADD_PJ * spike_bits / 32


Counting = Literal["paper", "honest"]

PUBLISHED_BITS = {"float32": 32, "ternary": 3, "binary": 2, "int2": 2, "int4": 4, "int8": 8}
"""Bits per weight in the paper's convention. For integer weights, which are not in the paper, the stored bits count."""
PACKED_BITS = PUBLISHED_BITS | {"ternary": 1.6, "binary": 1}
"""Bits per weight in a file; five ternary weights share a byte."""
HONEST_NOTE = (
    "a spike quantiser counts as one multiplication and one addition (3.7 + 0.9 pJ per entry), even if its step is a "
    "power of two, which fixed-point hardware would apply as a shift"
)


@dataclass(frozen=True)
class Layer:
    """The parameters, operations and energy of one layer per image, summed over time.

    See `profile` for an example.

    Attributes:
        name: name of the node in the graph.
        kind: op of the node.
        shape: shape of the output, without batch.
        params_mb: size as published; 0 for layers that the published counts omit.
        stored_mb: size of its tensors in the model file; a neuron's row includes the quantiser of its spikes.
        sops, nops: synaptic and neuron operations.
        energy_mj: energy in mJ; a neuron's row includes the quantiser of its spikes.
        density: fraction of non-zero entries in a synapse's input or a neuron's output.
        spikes_in: whether a synapse's input is spikes; False for images, currents and means.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    params_mb: float
    stored_mb: float
    sops: float
    nops: float
    energy_mj: float
    density: float | None
    spikes_in: bool | None


@dataclass(frozen=True)
class Profile:
    """The parameters, operations and energy of a network, per layer and in total.

    See `profile` for an example.

    Attributes:
        layers: the rows, in the order of the graph; `params_mb`, `sops`, `nops` and `energy_mj` are their sums.
        counting: "paper" or "honest".
        stored_mb: size of the entire model file, including its header.
        packed_mb: published size with low-bit weights at the 1 or 1.6 bits that they take in the file.
        notes: remarks about the figures.
    """

    layers: tuple[Layer, ...]
    counting: Counting
    stored_mb: float
    packed_mb: float
    notes: tuple[str, ...] = ()

    @property
    def params_mb(self) -> float:
        return sum(layer.params_mb for layer in self.layers)

    @property
    def sops(self) -> float:
        return sum(layer.sops for layer in self.layers)

    @property
    def nops(self) -> float:
        return sum(layer.nops for layer in self.layers)

    @property
    def energy_mj(self) -> float:
        return sum(layer.energy_mj for layer in self.layers)

    def as_dict(self) -> dict[str, Any]:
        """Return the result as a dict in the format of `hdlif profile --json`."""
        totals = {
            key: getattr(self, key) for key in ("params_mb", "packed_mb", "stored_mb", "sops", "nops", "energy_mj")
        }
        layers = [{**asdict(layer), "shape": list(layer.shape)} for layer in self.layers]
        return {"layers": layers, **totals, "counting": self.counting, "notes": list(self.notes)}


def profile(
    network: nn.Module | Graph,
    x: Tensor | Iterable[Tensor],
    *,
    counting: Counting = "paper",
    time_steps: int | None = None,
) -> Profile:
    """Count the parameters, SOPs, NOPs and energy of a network on images.

    >>> import torch
    >>> from hdlif.report.accounting import profile
    >>> from hdlif.models import resnet
    >>> from hdlif.nn import HDLIF
    >>> network = resnet(neuron=lambda place: HDLIF(4), blocks=[1], width=4, classes=3, in_channels=1)
    >>> found = profile(network, torch.rand(1, 2, 1, 8, 8))
    >>> [layer.name for layer in found.layers][:2], found.sops > 0, found.energy_mj > 0
    (['stem.conv', 'stem.bn'], True, True)

    Args:
        network: module with a deployed form, or its graph.
        x: normalised images [T, B, C, H, W] or [1, B, C, H, W] (constant in time), or batches of them.
        counting: "paper" counts as in the paper's tables; "honest" counts every operation of the deployed network.
        time_steps: T of a module; by default the T for which its neurons were built.
    """
    return priced(activity(network, x, time_steps=time_steps), counting)


def priced(seen: Activity, counting: Counting) -> Profile:
    """Compute a network's profile from the counts that `activity` returns.

    >>> import torch
    >>> from hdlif.report.accounting import activity, priced
    >>> from hdlif.models import resnet
    >>> from hdlif.nn import HDLIF
    >>> network = resnet(neuron=lambda place: HDLIF(4), blocks=[1], width=4, classes=3, in_channels=1)
    >>> seen = activity(network, torch.rand(1, 2, 1, 8, 8))
    >>> priced(seen, "honest").energy_mj > priced(seen, "paper").energy_mj
    True

    Args:
        seen: counts from `activity`.
        counting: as in `profile`.
    Raises:
        ValueError: `counting` is unknown.
    """
    if counting not in ("paper", "honest"):
        raise ValueError(f"counting = {counting!r}; choose one of honest, paper")
    layers = [_layer(node, seen, counting) for node in seen.graph.nodes]
    return Profile(
        tuple(layer for layer in layers if layer is not None),
        counting,
        stored_mb=len(dumps(seen.graph)) / 1e6,
        packed_mb=count_parameters_mb(seen.graph, packed=True),
        notes=(HONEST_NOTE,) if counting == "honest" and _spike_bits(seen.graph) < 32 else (),
    )


def count_parameters_mb(graph: Graph, *, packed: bool = False) -> float:
    """Return the size of the parameters in MB, in the paper's convention.

    Each parameter of an fp32 layer takes 4 bytes, each low-bit weight takes 2 or 3 bits, and norms are omitted.

    >>> from functools import partial
    >>> from hdlif.report.accounting import count_parameters_mb, dense_macs
    >>> from hdlif.graph.artefact import InputRecord
    >>> from hdlif.deploy import lower
    >>> from hdlif.models import resnet
    >>> from hdlif.nn import HDLIF, QuantConv2d, Ternary
    >>> conv, neuron = partial(QuantConv2d, quantizer=Ternary()), lambda place: HDLIF(4)
    >>> network = resnet(neuron=neuron, blocks=[1], width=4, classes=3, in_channels=1, conv=conv).eval()
    >>> graph = lower(network, input=InputRecord((1, 8, 8), (0.5,), (0.25,)), labels=("a", "b", "c"), time_steps=4)
    >>> count_parameters_mb(graph, packed=True) < count_parameters_mb(graph)
    True
    >>> list(dense_macs(graph).items())[0]
    ('stem.conv', 2304)

    Args:
        packed: count low-bit weights at the 1 or 1.6 bits that they take in a file. The file itself (`stored_mb`) also
            contains batch norm, scales and neuron constants.
        graph: graph of the network, from `deploy.lower`.
    """
    return sum(_published_bytes(node, graph, PACKED_BITS if packed else PUBLISHED_BITS) for node in graph.nodes) / 1e6


def _layer(node: Node, seen: Activity, counting: Counting) -> Layer | None:
    """Return the counts of a node, or None if the node has no counted parameters or operations."""
    graph = seen.graph
    shape = seen.types[node.name].shape
    synapse, neuron = OPS[node.op].is_synapse, OPS[node.op].is_neuron(node)
    if _joins_its_neuron(node, graph) or (not synapse and not neuron and not node.tensors and counting == "paper"):
        return None
    quantisers = [n for n in graph.nodes if n.inputs == (node.name,) and _joins_its_neuron(n, graph)]
    sops = nops = 0.0
    density = spikes_in = None
    if synapse:
        spikes_in = seen.spikes[node.inputs[0]]
        density = seen.density(f"{node.name}<")
        if seen.roles[node.name] == "body" and (counting == "paper" or spikes_in):
            sops = seen.per_image(node, seen.pairs[node.name], once=counting == "honest")
    if neuron:
        nops = float(neuron_step(node).count * graph.time_steps * math.prod(shape))
        density = seen.density(quantisers[0].name if quantisers else node.name)
    if counting == "paper":
        energy = published_energy_pj(sops, spike_bits=_spike_bits(graph))
    else:
        energy = sum(energy_pj(OPS[n.op].price(n, seen)) for n in (node, *quantisers))
    return Layer(
        name=node.name,
        kind=str(node.attributes["kind"]) if node.op == "program" else node.op,
        shape=shape,
        params_mb=_published_bytes(node, graph) / 1e6,
        stored_mb=sum(map(tensor_bytes, (node, *quantisers))) / 1e6,
        sops=sops,
        nops=nops,
        energy_mj=energy * MJ_PER_PJ,
        density=density,
        spikes_in=spikes_in,
    )


def _joins_its_neuron(node: Node, graph: Graph) -> bool:
    """Return whether a node quantises a neuron's spikes, so that its counts are added to the neuron's."""
    return node.op == "quantise" and any(n.name == node.inputs[0] and OPS[n.op].is_neuron(n) for n in graph.nodes)


def _spike_bits(graph: Graph) -> int:
    """Return the number of bits per quantised spike, or 32 if no spikes are quantised."""
    return max((node.attributes["bits"] for node in graph.nodes if node.op == "quantise"), default=32)


def _published_bytes(node: Node, graph: Graph, weight_bits: Mapping[str, float] = PUBLISHED_BITS) -> float:
    if node.op == "seca":
        return 4.0 * sum(tensor.size for tensor in node.tensors.values())
    if not OPS[node.op].is_synapse:
        return 0.0
    biased = any(n.name == f"{node.name}.bias" for n in graph.nodes)
    bits = weight_bits[node.attributes["encoding"]]
    return node.tensors["weight"].size * bits / 8 + (4 * node.tensors["weight"].shape[0] if biased else 0)
