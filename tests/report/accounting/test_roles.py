"""What counts as stem, body and classifier follows from the place in the graph, not from the class of a layer."""

from collections.abc import Callable
from functools import partial

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cases import every
from deployed_graphs import Builder
from hdlif.deploy import lower
from hdlif.graph.artefact import INPUT, Graph, InputRecord, Node, dumps
from hdlif.graph.artefact.roles import roles
from hdlif.models import Network, conv1d, dense, qk_former, recurrent, resnet, resnet19, reversible_resnet, vgg_snn
from hdlif.nn import HDLIF, LIF, ParallelHDLIF, QuantConv2d, QuantLinear, Ternary
from hdlif.report.accounting.activity import spikes_of
from report.accounting.test_operations import graph_of

NETWORKS = {
    "resnet": partial(resnet, blocks=(1, 1), width=4),
    "resnet19": partial(resnet19, width=4, hidden=5),
    "reversible": partial(reversible_resnet, blocks=(1, 2), width=4, grid=None),
    "qk_former": partial(qk_former, blocks=(1, 1), width=4, heads=2),
    "vgg": partial(vgg_snn, plan=(4, 5, "P", 6), final_size=None),
}
NEURONS = {"hdlif": HDLIF, "lif": LIF, "parallel": ParallelHDLIF}
T = 2
SERIES = InputRecord((2, 1, 1), (0.0, 0.0), (1.0, 1.0), kind="series", resize="none", frames="rows")


def built(network: str, neuron: str = "hdlif", **options: object) -> Network:
    torch.manual_seed(0)
    made = NETWORKS[network](
        neuron=lambda place: NEURONS[neuron](T, threshold=0.1, learned=False), classes=3, in_channels=2, **options
    )
    return made.eval()


def twin(layer: nn.Module) -> nn.Module:
    """The same fp32 layer as its other class."""
    make: nn.Module
    if isinstance(layer, nn.Linear):
        kind = nn.Linear if isinstance(layer, QuantLinear) else partial(QuantLinear, quantizer=None)
        make = kind(layer.in_features, layer.out_features, bias=layer.bias is not None)
    else:
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is None
        plain = isinstance(layer, QuantConv2d)
        kind = partial(nn.Conv2d, bias=False) if plain else partial(QuantConv2d, quantizer=None)
        geometry = {"stride": layer.stride[0], "padding": int(layer.padding[0])}
        make = kind(layer.in_channels, layer.out_channels, layer.kernel_size[0], **geometry)
    make.load_state_dict(layer.state_dict())
    return make


@settings(max_examples=8, deadline=None)
@given(data=st.data(), network=st.sampled_from(sorted(NETWORKS)), neuron=st.sampled_from(sorted(NEURONS)))
def test_a_file_does_not_depend_on_the_python_class_of_a_layer(data: st.DataObject, network: str, neuron: str) -> None:
    model, other = built(network, neuron), built(network, neuron)
    layers = [name for name, module in other.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for name in data.draw(st.sets(st.sampled_from(layers), min_size=1)):
        parent, _, own = name.rpartition(".")
        setattr(other.get_submodule(parent), own, twin(other.get_submodule(name)))
    expected, found = (dumps(graph_of(m, (2, 6, 6), 3, T)) for m in (model, other))
    assert found == expected


def series_graph(network: Callable[..., Network], **options: object) -> Graph:
    torch.manual_seed(0)
    model = network(neuron=lambda place: HDLIF(T), classes=3, in_channels=2, widths=(5, 4, 3), **options).eval()
    return lower(model, time_steps=T, input=SERIES, labels=("a", "b", "c"))


def test_roles_of_our_networks_go_by_their_parts_and_stand_in_their_files() -> None:
    graphs = {network: graph_of(built(network), (2, 6, 6), 3, T) for network in NETWORKS}
    graphs |= {"conv1d": series_graph(conv1d, kernel=3), "dense": series_graph(dense)}
    graphs |= {"recurrent": series_graph(recurrent)}
    for name, graph in graphs.items():
        stated = {node.name: node.attributes["role"] for node in graph.nodes if "role" in node.attributes}
        parts = {layer: "body" if layer.startswith("head.") else layer.split(".")[0] for layer in stated}
        assert roles(graph) == stated == parts, name
    # A low-bit layer is of the body at any place.
    low_bit = built("vgg", first_conv=partial(QuantConv2d, quantizer=Ternary()))
    assert roles(graph_of(low_bit, (2, 6, 6), 3, T))["stem.conv1"] == "body"


def test_a_delay_gives_spikes_where_what_it_delays_is_spikes() -> None:
    graph = series_graph(conv1d, kernel=2)
    # One of the input, and one after the neurons of each of two layers.
    assert [spikes_of(graph)[node.name] for node in graph.nodes if node.op == "delay"] == [False, True, True]
    led_back = series_graph(recurrent)
    assert all(spikes_of(led_back)[node.name] for node in led_back.nodes if node.op == "delay")
    # A current that is computed further on.
    b = Builder((2, 1, 1), T, 0)
    first = conv(b, INPUT)
    b.nodes.append(Node("delay", "before", (first,), {"max_code": 0, "source": "later"}))
    rows = {"scale": b.rows(1, 2, -1, 1), "shift": b.rows(1, 2, -1, 1)}
    b.nodes.append(Node("affine", "later", (b.add("add", first, "before"),), {}, rows))
    assert not spikes_of(b.graph(b.hd_lif("later")))["before"]


def conv(b: Builder, x: str) -> str:
    """An fp32 convolution to 2 channels."""
    return b.conv(x, 2, kernel=(1, 1), padding=(0, 0), encoding="float32")


def deep_stem(b: Builder) -> str:
    deep = b.affine(conv(b, b.affine(conv(b, INPUT))))
    return conv(b, b.hd_lif(b.add("max_pool", deep, kernel=(2, 2), stride=(2, 2), padding=(0, 0))))


def two_branches_of_the_input(b: Builder) -> str:
    return b.hd_lif(b.concat(conv(b, INPUT), conv(b, b.affine(INPUT))))


def shortcut_of_the_stem(b: Builder) -> str:
    stream = conv(b, INPUT)
    return b.add("add", conv(b, b.hd_lif(stream)), conv(b, stream))


def shortcut_of_the_input(b: Builder) -> str:
    return b.add("add", conv(b, b.hd_lif(conv(b, INPUT))), conv(b, INPUT))


def spikes_as_input(b: Builder) -> str:
    return conv(b, b.quantise(INPUT))


def layer_after_a_delay(b: Builder, *, of_input: bool = False) -> str:
    source = conv(b, b.hd_lif(conv(b, INPUT)))
    before = b.delay(INPUT if of_input else source)
    b.lead_back(before, source)
    return before


def delay_past_a_stem(b: Builder) -> str:
    """The second layer is on every way from the input, whatever comes back next to it."""
    before = b.delay(INPUT)
    back = conv(b, before)
    second = conv(b, conv(b, INPUT))
    return b.lead_back(before, b.parallel(b.add("add", second, back)))


@every(
    "build",
    "expected",
    of=[
        (deep_stem, "stem stem body classifier"),
        (two_branches_of_the_input, "stem stem classifier"),
        (shortcut_of_the_stem, "stem body body classifier"),
        (shortcut_of_the_input, "stem body stem classifier"),
        (spikes_as_input, "body classifier"),
        (layer_after_a_delay, "stem body classifier"),
        (partial(layer_after_a_delay, of_input=True), "stem body classifier"),
        (delay_past_a_stem, "body stem stem classifier"),
    ],
)
def test_the_role_of_a_layer_follows_from_its_ways_to_input_and_output(
    build: Callable[[Builder], str], expected: str
) -> None:
    b = Builder((2, 5, 5), T, 0)
    assert " ".join(roles(b.graph(build(b))).values()) == expected


def test_layers_that_give_the_output_together_are_the_classifier() -> None:
    b = Builder((2, 3, 3), T, 0)
    spikes = b.lif(conv(b, INPUT))
    total = b.add("add", b.linear(b.add("global_sum_pool", spikes), 3), b.linear(b.add("flatten", spikes), 3))
    graph = Graph(tuple(b.nodes), total, T, b.record(), ("a", "b", "c"))
    assert list(roles(graph).values())[-2:] == ["classifier", "classifier"]
