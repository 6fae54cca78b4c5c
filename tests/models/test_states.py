"""Every shipped network refuses a state that is not its own, wherever in it the fault is."""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cases import sampled
from hdlif import deploy
from hdlif.errors import StateError
from hdlif.graph.artefact import InputRecord
from hdlif.nn import State
from hdlif.recipe import builders
from hostile import one_printable_line
from small_recipes import built

LAYERS = ("flat", "first", "fire1", "middle", "fire2", "last")
IMPORTED = {
    "input": [1, 8, 8],
    "outputs": 10,
    "output": "last",
    "children": {
        "flat": {"kind": "flatten"},
        "first": {"kind": "linear", "in_features": 64, "out_features": 6},
        "fire1": {"kind": "lif", "channels": 6, "reset": 0.0},
        "middle": {"kind": "linear", "in_features": 6, "out_features": 6},
        "fire2": {"kind": "lif", "channels": None, "reset": "soft"},
        "last": {"kind": "linear", "in_features": 6, "out_features": 10},
    },
    "lines": [[name, "child", [read]] for read, name in itertools.pairwise(("", *LAYERS))],
}
OPTIONS = {
    "imported": f"structure: '{json.dumps(IMPORTED)}'",
    "resnet": "blocks: [1, 1]",
    "vgg_snn": "plan: [4, P, 6], final_size: null",
    "reversible_resnet": "blocks: [2, 2]",
    "qk_former": "blocks: [1, 1], heads: 2",
    "resnet34": "stem: cifar",
    "spiking": "of: 'torch_networks:Residual'",
}
OF_SERIES = ("dense", "recurrent", "conv1d")
"""Take no pictures; tests/nn/test_series_layers.py has what is theirs alone."""
OF_MAPS = ("unet", "detector")
MODELS = {
    kind: f"{{kind: {kind}, {OPTIONS.get(kind, '')}}}" for kind in builders.MODELS if kind not in OF_SERIES + OF_MAPS
}
STEPS = 2


@cache
def network(kind: str, neuron: str) -> tuple[nn.Module, State | None]:
    """A network, and its state after one step."""
    if kind == "deployed":
        record = InputRecord((1, 8, 8), (0.0,), (1.0,))
        graph = deploy.lower(network("resnet", neuron)[0], input=record, labels=tuple("0123456789"), time_steps=STEPS)
        net: nn.Module = deploy.GraphModule(graph)
    else:
        width = [] if kind in ("vgg_snn", "spiking", "imported") else ["model.width=4"]
        net = built(f"model={MODELS[kind]}", *width, f"neuron={{kind: {neuron}}}", f"time_steps={STEPS}").eval()
    return net, net(images(), steps=range(1))[1]


def images() -> Tensor:
    return torch.randn(1, 2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def changed(state: Any, path: tuple[str, ...], change: Callable[[dict[str, Any], str], None]) -> Any:
    """A copy of the state in which the entry at `path` is changed."""
    copy = dict(state)
    if len(path) == 1:
        change(copy, path[0])
    else:
        copy[path[0]] = changed(state[path[0]], path[1:], change)
    return copy


def paths(state: Any, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every entry, at every level."""
    for name, value in state.items():
        yield (*prefix, name)
        if isinstance(value, Mapping):
            yield from paths(value, (*prefix, name))


def at_each_level(state: Any) -> list[tuple[str, ...]]:
    """The first and the last entry of each level."""
    found = list(paths(state))
    levels = [[path for path in found if len(path) == depth] for depth in sorted({len(path) for path in found})]
    return [path for level in levels for path in {level[0], level[-1]}]


def to(value: object) -> Callable[[dict[str, Any], str], None]:
    return lambda entries, name: entries.update({name: value})


FAULTS: dict[str, Callable[[dict[str, Any], str], None]] = {
    "missing": lambda entries, name: entries.pop(name),
    "renamed": lambda entries, name: entries.update({f"{name}_": entries.pop(name)}),
    "another": lambda entries, name: entries.update(more=entries[name]),
    "none": to(None),
    "empty": to({}),
    "list": to([1]),
    "text": to("potential"),
    "integers": to(torch.zeros(2, 4, 8, 8, dtype=torch.int64)),
    "another_module's": to({"9": {"potential": torch.zeros(2, 4, 8, 8)}}),
}


# With a graph, steps of a reversible network are run by another function.
@sampled(
    12,
    network_of=[*((kind, "hdlif") for kind in MODELS), ("resnet", "glif"), ("deployed", "hdlif")],
    fault=list(FAULTS),
    learns=[False, True],
)
def test_a_state_with_a_fault_at_any_level_is_refused(network_of: tuple[str, str], fault: str, learns: bool) -> None:
    net, state = network(*network_of)
    for path in at_each_level(state):
        with torch.set_grad_enabled(learns), pytest.raises(StateError) as caught:
            net(images(), changed(state, path, FAULTS[fault]), steps=range(1, 2))
        assert len(one_printable_line(caught.value)) < 300, path
