"""Trace selected neurons of trained networks on one test sample."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdlif import run_folder
from hdlif.data.manifest import read_manifest
from hdlif.data.split import files_of, shares_of
from hdlif.deploy import GraphModule, lower
from hdlif.errors import InputError, cut, did_you_mean
from hdlif.graph.artefact import Graph, Node
from hdlif.graph.ops import OPS
from hdlif.recipe import Recipe, builders
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.report.traces import Traces, of_channels, trace_of
from hdlif.runtime.at_work import LayerAtWork, layers_at_work

Neurons = Sequence[tuple[str, int]]
"""(layer, index) of each neuron; the neurons of a layer are numbered in the order [C, H, W]."""

LIVELIEST = 4
"""Number of neurons per layer that are drawn by default."""


def parsed(text: str) -> Neurons:
    """Parse a list of neurons such as `layer:index,layer:index`.

    >>> parsed("stage1.0.act1:7,stage1.0.act2:0")
    [('stage1.0.act1', 7), ('stage1.0.act2', 0)]
    """
    chosen = []
    for one in text.split(","):
        layer, _, index = one.strip().rpartition(":")
        if not layer or not index.isdecimal():
            raise InputError(f'--neurons "{one}": is not a neuron; write LAYER:INDEX, for example stage1.0.act1:7')
        chosen.append((layer, int(index)))
    return chosen


def traces_of(
    folders: Mapping[str, Path], *, neurons: Neurons | None, image: int, data_root: Path | None = None
) -> Traces:
    """Return neuron traces of several networks, each on one sample from the network's test set.

    Args:
        neurons: neurons to draw, in networks that have them. By default, these are neurons in different channels of the
            first network's first, middle and last layer. Over all networks together, they change most often between
            firing and silence; of neurons that change equally often, those with more spikes are drawn.
    Raises:
        InputError: the sample does not exist, or no network has the neuron.
        DataError, CheckpointError: a data set or a network cannot be read.
    """
    found, inputs, samples = {}, {}, []
    for name, folder in folders.items():
        found[name], inputs[name], sample = _traced(folder, image, data_root)
        samples.append(sample)
    if neurons is None:
        neurons = _liveliest(list(found.values()))
    for layer, index in neurons:
        _check(layer, index, list(found.values()))
    networks = {
        name: {
            f"{layer}:{index}": trace_of(layers[layer], index, layers[layer].states)
            for layer, index in neurons
            if layer in layers and index < layers[layer].spike.shape[1]
        }
        for name, layers in found.items()
    }
    return Traces(" and ".join(dict.fromkeys(samples)), networks, inputs)


def _traced(
    folder: Path, image: int, data_root: Path | None
) -> tuple[dict[str, LayerAtWork], NDArray[np.float32], str]:
    """Return the activity of a network's neuron layers on a sample, the input, and a description of the sample."""
    trained = load_trained(folder)
    recipe = trained.recipe
    labels = builders.data_kind(recipe).labels
    test = builders.build_data(recipe, data_root).test
    if not 0 <= image < len(test):
        of = f" of {recipe.data.kind}" if recipe.data.kind in builders.DATA else ""
        raise InputError(f"--image {image}: the test set{of} has samples 0..{len(test) - 1}")
    x, target = test.sequence(torch.tensor([image]))
    graph = lower(trained.network, **builders.graph_record(recipe))
    shown = ""
    if recipe.task.kind == "classify":
        # Targets of time series with unequal lengths include the number of steps.
        label, *own = target[0].reshape(-1).tolist()
        x, shown = x[: own[0]] if own else x, f" (class “{labels[label]}”)"
    sample = f"test sample {image}{_whence(recipe, folder, image, len(test))}{shown}"
    return neuron_traces(graph, x), x[:, 0].float().numpy(), sample


def neuron_traces(graph: Graph, x: Tensor) -> dict[str, LayerAtWork]:
    """Run a deployed network in PyTorch on one sample, and return the traces of each neuron layer by name.

    Mem-BN is folded into the membrane potential and the threshold.
    """
    steps: list[dict[str, NDArray[np.float32]]] = []

    def observe(node: Node, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if OPS[node.op].is_neuron(node):
            steps[-1] |= {node.inputs[0]: inputs[0].numpy(), node.name: output.numpy()}

    module, state = GraphModule(graph, observer=observe), None
    with torch.no_grad():
        for t in range(len(x) if len(x) > 1 else graph.time_steps):
            steps.append({})
            _, state = module(x[t : t + 1] if len(x) > 1 else x, state, steps=range(t, t + 1))
    return layers_at_work(graph, {name: np.concatenate([step[name] for step in steps]) for name in steps[0]})


def _whence(recipe: Recipe, folder: Path, image: int, count: int) -> str:
    """Return a phrase that names a test sample's data set or file, or "" if the source is not recorded."""
    if recipe.data.kind in builders.DATA:
        return f" of {recipe.data.kind}"
    if not (folder / run_folder.DATA_FILES).exists():
        return ""
    split: Any = recipe.data.arguments.get("split") or {}
    files = files_of(read_manifest(folder / run_folder.DATA_FILES), "test", shares_of(split).seed)
    return f", {cut(files[image])}" if len(files) == count else ""


def _liveliest(networks: Sequence[Mapping[str, LayerAtWork]]) -> Neurons:
    layers = list(networks[0])
    chosen = []
    for layer in dict.fromkeys(layers[place] for place in (0, len(layers) // 2, -1)):
        of_layer = [network[layer].spike for network in networks if layer in network]
        fired = [(spike > 0).astype(int) for spike in of_layer if spike.shape[1] == of_layer[0].shape[1]]
        spikes = np.sum([one.sum(0) for one in fired], axis=0)
        changes = np.sum([np.abs(np.diff(one, axis=0)).sum(0) for one in fired], axis=0)
        order = np.argsort(-(changes * (spikes.max() + 1) + spikes), kind="stable")
        chosen += [(layer, index) for index in of_channels(order.tolist(), networks[0][layer].shape, LIVELIEST)]
    return chosen


def _check(layer: str, index: int, networks: Sequence[Mapping[str, LayerAtWork]]) -> None:
    sizes = [network[layer].spike.shape[1] for network in networks if layer in network]
    if not sizes:
        known = {name for network in networks for name in network}
        raise InputError(
            f"--neurons {layer}:{index}: no network has such a layer of neurons; {did_you_mean(layer, known)}"
        )
    if index >= max(sizes):
        raise InputError(f"--neurons {layer}:{index}: {layer} has neurons 0..{max(sizes) - 1}")
