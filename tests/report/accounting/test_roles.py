"""What counts as stem, body and classifier follows from the place in the graph, not from the class of a layer."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cases import every
from deployed_graphs import Builder
from hdlif.deploy import lower
from hdlif.graph.artefact import INPUT, Graph, InputRecord, Node
from hdlif.graph.artefact.roles import roles
from hdlif.models import Network, conv1d, dense, recurrent, resnet, resnet19, reversible_resnet, vgg_snn
from hdlif.nn import HDLIF, LIF, ParallelHDLIF, QuantConv2d, QuantLinear, Sequential, Ternary
from hdlif.report.accounting import profile
from hdlif.report.accounting.activity import spikes_of
from report.accounting.test_operations import graph_of

NETWORKS = {
    "resnet": partial(resnet, blocks=(1, 1), width=4),
    "resnet19": partial(resnet19, width=4, hidden=5),
    "reversible": partial(reversible_resnet, blocks=(1, 2), width=4, grid=None),
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
        plain = isinstance(layer, QuantLinear)
        options = {"bias": layer.bias is not None}
        make = (nn.Linear if plain else partial(QuantLinear, quantizer=None))(
            layer.in_features, layer.out_features, **options
        )
    else:
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is None
        size, stride, padding = layer.kernel_size[0], layer.stride[0], layer.padding[0]
        if isinstance(layer, QuantConv2d):
            make = nn.Conv2d(
                layer.in_channels, layer.out_channels, size, stride=stride, padding=int(padding), bias=False
            )
        else:
            make = QuantConv2d(
                layer.in_channels, layer.out_channels, size, stride=stride, padding=int(padding), quantizer=None
            )
    make.load_state_dict(layer.state_dict())
    return make


@settings(max_examples=8, deadline=None)
@given(data=st.data(), network=st.sampled_from(sorted(NETWORKS)), neuron=st.sampled_from(sorted(NEURONS)))
def test_counts_do_not_depend_on_which_python_class_a_layer_is(data: st.DataObject, network: str, neuron: str) -> None:
    model, other = built(network, neuron), built(network, neuron)
    layers = [name for name, module in other.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for name in data.draw(st.sets(st.sampled_from(layers), min_size=1)):
        parent, _, own = name.rpartition(".")
        setattr(other.get_submodule(parent), own, twin(other.get_submodule(name)))
    x = torch.rand(1, 2, 2, 6, 6, generator=torch.Generator().manual_seed(1))
    for counting in ("paper", "honest"):
        expected, found = (profile(m, x, counting=counting, time_steps=T).as_dict() for m in (model, other))
        assert found == expected
        assert found["sops"] > 0
    graphs = [graph_of(m, (2, 6, 6), 3, T) for m in (model, other)]
    assert len({str([dict(node.attributes) for node in graph.nodes]) for graph in graphs}) == 1


@every(network=list(NETWORKS))
def test_roles_of_our_networks_go_by_their_parts(network: str) -> None:
    for name, role in roles(graph_of(built(network), (2, 6, 6), 3, T)).items():
        part = name.split(".")[0]
        assert role == ("body" if part == "head" else part)


def series_graph(network: Callable[..., Network], **options: object) -> Graph:
    torch.manual_seed(0)
    model = network(neuron=lambda place: HDLIF(T), classes=3, in_channels=2, widths=(5, 4, 3), **options).eval()
    return lower(model, time_steps=T, input=SERIES, labels=("a", "b", "c"))


@every("network", "options", of=[(conv1d, {"kernel": 3}), (dense, {}), (recurrent, {})])
def test_roles_of_networks_for_series_go_by_their_parts(
    network: Callable[..., Network], options: dict[str, object]
) -> None:
    for name, role in roles(series_graph(network, **options)).items():
        assert role == name.split(".")[0]


def test_a_delay_gives_spikes_where_what_it_delays_is_spikes() -> None:
    graph = series_graph(conv1d, kernel=2)
    spikes = spikes_of(graph)
    delays = [spikes[node.name] for node in graph.nodes if node.op == "delay"]
    # One of the input, and one behind the neurons of each of two layers.
    assert delays == [False, True, True]
    led_back = series_graph(recurrent)
    assert all(spikes_of(led_back)[node.name] for node in led_back.nodes if node.op == "delay")


def test_a_delay_of_a_current_further_on_gives_no_spikes() -> None:
    b = Builder((2, 1, 1), T, 0)
    first = b.conv(INPUT, 2, kernel=(1, 1), padding=(0, 0), encoding="float32")
    b.nodes.append(Node("delay", "before", (first,), {"max_code": 0, "source": "later"}))
    total = b.add("add", first, "before")
    rows = {"scale": b.rows(1, 2, -1, 1), "shift": b.rows(1, 2, -1, 1)}
    b.nodes.append(Node("affine", "later", (total,), {}, rows))
    assert not spikes_of(b.graph(b.hd_lif("later")))["before"]


@every(shape_of=["source", "input"])
def test_a_layer_behind_a_delay_is_behind_what_it_delays(shape_of: str) -> None:
    b = Builder((2, 1, 1), T, 0)
    size: dict[str, Any] = {"kernel": (1, 1), "padding": (0, 0), "encoding": "float32"}
    source = b.conv(b.hd_lif(b.conv(INPUT, 2, **size)), 2, **size)
    before = b.delay(source if shape_of == "source" else INPUT)
    b.lead_back(before, source)
    assert role_of(b.graph(before)) == ["stem", "body", "classifier"]


def test_what_a_delay_leads_back_is_on_no_way_past_a_stem() -> None:
    """The second layer is on every way from the input, whatever comes back beside it."""
    b = Builder((2, 1, 1), T, 0)
    size: dict[str, Any] = {"kernel": (1, 1), "padding": (0, 0), "encoding": "float32"}
    before = b.delay(INPUT)
    back = b.conv(before, 2, **size)
    second = b.conv(b.conv(INPUT, 2, **size), 2, **size)
    spikes = b.lead_back(before, b.parallel(b.add("add", second, back)))
    assert role_of(b.graph(spikes)) == ["body", "stem", "stem", "classifier"]


def test_the_file_names_the_same_roles() -> None:
    graph = graph_of(built("resnet", conv=partial(nn.Conv2d, bias=False)), (2, 6, 6), 3, T)
    stated = {node.name: node.attributes["role"] for node in graph.nodes if "role" in node.attributes}
    assert stated == roles(graph)
    assert set(stated.values()) == {"stem", "body", "classifier"}


def test_a_hidden_plain_convolution_counts_its_operations() -> None:
    network = Network(
        stem=Sequential({"first": nn.Conv2d(1, 2, 3), "act": HDLIF(T, threshold=0.1, learned=False)}),
        body=Sequential({"hidden": nn.Conv2d(2, 2, 1), "act": HDLIF(T, threshold=0.1, learned=False)}),
        head=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        classifier=nn.Linear(2, 3),
    )
    sops = {row.name: row.sops for row in profile(network, torch.rand(1, 4, 1, 5, 5), time_steps=T).layers}
    assert sops["body.hidden"] > 0
    assert sops["stem.first"] == sops["classifier"] == 0


def test_a_low_bit_layer_is_of_the_body_wherever_it_stands() -> None:
    network = built("vgg", first_conv=partial(QuantConv2d, quantizer=Ternary()))
    found = roles(graph_of(network, (2, 6, 6), 3, T))
    assert found["stem.conv1"] == "body"
    assert roles(graph_of(built("vgg"), (2, 6, 6), 3, T))["stem.conv1"] == "stem"


def role_of(graph: Graph) -> list[str]:
    return list(roles(graph).values())


def test_every_layer_of_a_deep_stem_is_of_the_stem() -> None:
    b = Builder((2, 5, 5), T, 0)
    deep = b.affine(b.conv(b.affine(b.conv(INPUT, 3, encoding="float32")), 3, encoding="float32"))
    graph = b.graph(b.conv(b.hd_lif(b.add("max_pool", deep, kernel=(2, 2), stride=(2, 2), padding=(0, 0))), 2))
    assert role_of(graph) == ["stem", "stem", "body", "classifier"]


def test_both_branches_that_read_the_input_are_of_the_stem() -> None:
    b = Builder((2, 5, 5), T, 0)
    branches = b.conv(INPUT, 3, encoding="float32"), b.conv(b.affine(INPUT), 3, encoding="float32")
    assert role_of(b.graph(b.hd_lif(b.concat(*branches)))) == ["stem", "stem", "classifier"]


@every(from_input=[False, True])
def test_a_shortcut_that_passes_the_first_neurons_by_is_of_the_body_unless_it_reads_the_input(from_input: bool) -> None:
    b = Builder((2, 5, 5), T, 0)
    stream = b.conv(INPUT, 2, encoding="float32")
    inner = b.conv(b.hd_lif(stream), 2, encoding="float32")
    skip = b.conv(INPUT if from_input else stream, 2, kernel=(1, 1), padding=(0, 0), encoding="float32")
    assert role_of(b.graph(b.add("add", inner, skip)))[:3] == ["stem", "body", "stem" if from_input else "body"]


def test_layers_that_give_the_output_together_are_the_classifier() -> None:
    b = Builder((2, 3, 3), T, 0)
    spikes = b.lif(b.conv(INPUT, 2, encoding="float32"))
    pooled = b.add("global_sum_pool", spikes)
    heads = b.linear(pooled, 3), b.linear(b.add("flatten", spikes), 3)
    total = b.add("add", *heads)
    graph = Graph(tuple(b.nodes), total, T, b.record(), ("a", "b", "c"))
    assert role_of(graph)[-2:] == ["classifier", "classifier"]


def test_spikes_of_the_input_make_its_first_layer_one_of_the_body() -> None:
    b = Builder((2, 3, 3), T, 0)
    assert role_of(b.graph(b.conv(b.quantise(INPUT), 2, encoding="float32"))) == ["body", "classifier"]
