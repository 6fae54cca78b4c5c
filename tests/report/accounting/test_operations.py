"""Counts, prices and sizes: brute force on small networks, and the printed cells of the paper on its own."""

import math
import sys
from collections import Counter
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from cases import every
from deployed_graphs import Builder, random_input, residual_network
from hdlif.deploy import GraphModule, lower
from hdlif.graph.artefact import INPUT, InputRecord, infer_values, tensor_bytes
from hdlif.graph.artefact.io import save
from hdlif.graph.ops.program import neuron_step
from hdlif.models import resnet, resnet18, resnet34, reversible_resnet, vgg_snn
from hdlif.nn import HDLIF, LIF, Binary, ParallelHDLIF, QuantConv2d, SpikeQuantizer, Ternary
from hdlif.report.accounting import count_parameters_mb, dense_macs, profile
from hdlif.report.accounting.activity import activity
from hdlif.report.accounting.operations import MJ_PER_PJ, published_energy_pj

NEURONS = {
    "HD-LIF": lambda place: HDLIF(4),
    "half parallel": lambda place: ParallelHDLIF(4) if place.index % 2 else HDLIF(4),
    "parallel": lambda place: ParallelHDLIF(4),
    "LIF": lambda place: LIF(4),
}


def graph_of(network, shape, classes, time_steps=4):
    record = InputRecord(shape, (0.0,) * shape[0], (1.0,) * shape[0])
    return lower(network.eval(), input=record, labels=tuple(map(str, range(classes))), time_steps=time_steps)


VGG13 = (64, 64, "P", 128, 128, "P", 256, 256, "P", 512, 512, 512, "P", 512)
NETWORKS = {
    "resnet18_cifar10": (partial(resnet18, classes=10), (3, 32, 32), 10, 4),
    "resnet18_cifar100": (partial(resnet18, classes=100), (3, 32, 32), 100, 4),
    "resnet18_dvs": (partial(resnet18, classes=10, in_channels=2), (2, 48, 48), 10, 10),
    "resnet34": (partial(resnet34, classes=1000), (3, 224, 224), 1000, 4),
    "vgg_snn": (partial(vgg_snn, classes=10), (2, 48, 48), 10, 10),
    "vgg13": (partial(vgg_snn, classes=200, in_channels=3, plan=VGG13, final_size=None), (3, 64, 64), 200, 4),
}


@cache
def published_graph(name, quantizer=None, neuron=None):
    build, shape, classes, time_steps = NETWORKS[name]
    conv = partial(QuantConv2d, quantizer=quantizer)
    # The event camera's network quantises its first convolution too.
    more = {"first_conv": conv} if name == "vgg_snn" else {}
    if neuron is None:
        neuron, time_steps = (lambda place: ParallelHDLIF(1)), 1
    with torch.device("meta"):
        network = build(neuron=neuron, conv=conv, **more)
    # Codes and scales are of some weights, and their sizes are of any.
    network.to_empty(device="cpu")
    for value in network.state_dict().values():
        value.fill_(1)
    return graph_of(network, shape, classes, time_steps=time_steps)


@every(
    "name",
    "published",
    "packed",
    of=[
        ("resnet18_cifar10", "44.6574 2.8168 4.2115", "1.422 2.259"),
        ("resnet18_cifar100", "44.8421 3.0015 4.3962", "1.607 2.444"),
        ("resnet18_dvs", "44.6551 2.8145 4.2092", None),
        ("resnet34", "87.1226 7.4042 10.0615", "4.747 6.341"),
        ("vgg_snn", "37.0530 2.4886 3.6408", None),
        ("vgg13", "38.0186 2.7674 3.9424", None),
    ],
)
def test_megabytes_of_every_network_are_the_published_ones(name, published, packed):
    """The published figures count 2 and 3 bits of binary and ternary weights; packed, these have 1 and 1.6."""
    graphs = [published_graph(name, quantizer) for quantizer in (None, Binary(), Ternary())]
    assert " ".join(f"{count_parameters_mb(graph):.4f}" for graph in graphs) == published
    found = " ".join(f"{count_parameters_mb(graph, packed=True):.3f}" for graph in graphs[1:])
    assert packed in (None, found)


@every(
    "name",
    "neuron",
    "published",
    of=[
        ("resnet18_cifar100", "HD-LIF", "6.586"),
        ("resnet18_cifar100", "half parallel", "4.620"),
        ("resnet18_cifar100", "parallel", "2.195"),
        ("resnet18_dvs", "HD-LIF", "37.048"),
        ("resnet18_dvs", "half parallel", "25.989"),
        ("resnet34", "HD-LIF", "35.224"),
        ("resnet34", "half parallel", "24.185"),
        ("vgg_snn", "HD-LIF", "27.648"),
    ],
)
def test_neuron_operations_of_every_network_are_the_published_ones(name, neuron, published):
    """They need no data: T·(3·N, or 1·N without accumulation)."""
    graph = published_graph(name, neuron=NEURONS[neuron])
    values = infer_values(graph)
    neurons = [node for node in graph.nodes if node.op == "program"]
    nops = sum(neuron_step(node).count * graph.time_steps * np.prod(values[node.name].shape) for node in neurons)
    assert f"{nops / 1e6:.3f}" == published


@every(
    "sops_m",
    "bits",
    "published",
    of=[(273.02, 32, "0.25"), (284.49, 32, "0.26"), (233.84, 4, "0.03"), (254.08, 32, "0.23"), (190.13, 4, "0.02")],
)
def test_energy_formula_equals_the_published_cell(sops_m, bits, published):
    assert f"{published_energy_pj(sops_m * 1e6, spike_bits=bits) * MJ_PER_PJ:.2f}" == published


def brute_force_pairs(x, weight, stride, padding):
    """Count the pairs of an input and a weight that are both not zero, place by place."""
    padded = np.pad(x != 0, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    patches = sliding_window_view(padded, weight.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    return int(np.einsum("bcyxij,ocij->", patches.astype(int), (weight != 0).astype(int)))


@every(
    "build",
    "shortcut",
    of=[
        (partial(resnet, blocks=(1, 1), width=3), "body.stage2.0.shortcut.conv"),
        (partial(reversible_resnet, blocks=(1, 2), width=4, grid=None), "body.stage2.down.shortcut.conv"),
    ],
    neuron=[NEURONS[name] for name in ("HD-LIF", "half parallel", "LIF")],
)
def test_sops_equal_brute_force_with_padding_and_stride(neuron, build, shortcut):
    torch.manual_seed(0)
    conv = partial(QuantConv2d, quantizer=Ternary())
    network = build(neuron=neuron, classes=4, in_channels=2, conv=conv).eval()
    x = torch.randn(4, 2, 2, 5, 5) * 3
    layers = {layer.name: layer for layer in profile(network, x, time_steps=4).layers}
    honest = profile(network, x, counting="honest", time_steps=4)
    pairs = Counter()

    def count(name, module, args, output):
        weight = module.weight_q().detach().numpy()
        pairs[name] += brute_force_pairs(args[0].numpy(), weight, module.stride[0], module.padding[0])

    for name, module in network.named_modules():
        if isinstance(module, QuantConv2d):
            module.register_forward_hook(partial(count, name))
    with torch.no_grad():
        network(x, steps=range(4))
    batch = x.shape[1]
    assert {name: layer.sops for name, layer in layers.items() if layer.sops} == {
        n: p / batch for n, p in pairs.items()
    }
    assert not layers[shortcut].spikes_in
    assert honest.sops == pytest.approx(sum(layer.sops for layer in layers.values()) - layers[shortcut].sops)


SPIKES_IN = {
    "a slice of spikes": (True, lambda b, spikes: b.slice(spikes, 1, 3)),
    "spikes with spikes": (True, lambda b, spikes: b.concat(spikes, b.slice(spikes, 0, 1))),
    "spikes with a current": (False, lambda b, spikes: b.concat(spikes, INPUT)),
    "spikes times a gain": (True, lambda b, spikes: b.affine(spikes)),
    "spikes with a shift": (False, lambda b, spikes: b.affine(spikes)),
}


@every(case=SPIKES_IN.items())
def test_a_layer_gets_spikes_where_all_of_its_inputs_are_moved_or_scaled_spikes(case):
    name, (expected, build) = case
    b = Builder((4, 3, 3), 2, 0)
    moved = build(b, b.hd_lif(INPUT))
    if "gain" in name:
        b.nodes[-1].tensors["shift"][...] = 0
    conv = b.conv(moved, 2)
    layers = profile(b.graph(conv), torch.randn(2, 3, 4, 3, 3), counting="honest").layers
    assert [layer.spikes_in for layer in layers if layer.name == conv] == [expected]


def test_constant_image_is_counted_at_every_step_by_the_paper_and_once_honestly():
    torch.manual_seed(0)
    neuron = partial(ParallelHDLIF, 4, threshold=0.01, learned=False)
    network = vgg_snn(neuron=lambda place: neuron(), plan=(3, 3), classes=2, in_channels=1, final_size=None)
    x = torch.randn(1, 2, 1, 6, 6)
    repeated = profile(network, x.expand(4, -1, -1, -1, -1), time_steps=4)
    constant = profile(network, x, time_steps=4)
    assert constant.sops == repeated.sops
    assert profile(network, x, counting="honest", time_steps=4).sops * 4 == pytest.approx(constant.sops)


def test_energy_of_4_bit_spikes_is_an_eighth_of_the_paper_formula():
    torch.manual_seed(0)
    network = resnet18(neuron=lambda place: HDLIF(2, quantizer=SpikeQuantizer()), classes=3, in_channels=1, width=2)
    result = profile(network, torch.randn(1, 1, 1, 8, 8))
    assert result.energy_mj == pytest.approx(result.sops * 0.9e-9 / 8)


def test_profiling_a_network_in_training_leaves_it_in_training():
    network = resnet18(neuron=NEURONS["HD-LIF"], classes=3, in_channels=1, width=2).train()
    network.body.eval()
    before = {name: module.training for name, module in network.named_modules()}
    profile(network, torch.randn(1, 1, 1, 8, 8))
    assert {name: module.training for name, module in network.named_modules()} == before


PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "energy.md"


@every(counting=["paper", "honest"])
def test_a_network_has_the_bytes_of_its_file_and_its_layers_share_out_those_of_tensors(counting, tmp_path):
    graph = residual_network()
    save(graph, tmp_path / "a.hdlif.safetensors")
    result = profile(graph, torch.randn(1, 1, 3, 9, 7), counting=counting)
    assert result.stored_mb * 1e6 == (tmp_path / "a.hdlif.safetensors").stat().st_size
    assert result.as_dict()["packed_mb"] == count_parameters_mb(graph, packed=True)
    stored = {node.name: tensor_bytes(node) for node in graph.nodes}
    assert round(1e6 * sum(layer.stored_mb for layer in result.layers)) == sum(stored.values())
    row = next(layer for layer in result.layers if layer.kind == "HDLIF")
    quantiser = next(node for node in graph.nodes if node.inputs == (row.name,))
    assert quantiser.op == "quantise"
    assert round(1e6 * row.stored_mb) == stored[row.name] + stored[quantiser.name]


@every(counting=["paper", "honest"])
def test_attention_has_a_parameter_per_weight_and_one_for_its_bias(counting):
    b = Builder((4, 3, 5), 4, 0)
    y = b.seca(INPUT, kernel=5)
    rows = {r.name: r for r in profile(b.graph(y), torch.randn(1, 2, 4, 3, 5), counting=counting).layers}
    assert rows[y].params_mb == pytest.approx(6 * 4e-6)


@every(
    "encoding",
    "bits",
    "on_spikes",
    "on_codes",
    "on_reals",
    of=[
        ("float32", 32, 0.9, 4.6, 4.6),
        ("ternary", 3, 0.1, 0.1, 0.9),
        ("binary", 2, 0.1, 0.1, 0.9),
        ("int2", 2, 0.1, 0.1, 0.9),
        ("int4", 4, 0.1, 0.3, 4.6),
        ("int8", 8, 0.1, 0.3, 4.6),
    ],
)
def test_price_and_published_size_of_a_weight(encoding, bits, on_spikes, on_codes, on_reals):
    assert f"| {encoding} | {on_spikes} | {on_codes} | {on_reals} |" in PAGE.read_text(encoding="utf-8")
    b = Builder((2, 3, 3), 1, 0)
    inputs = {b.quantise(INPUT, bits=1): on_spikes, b.quantise(INPUT): on_codes, INPUT: on_reals}
    convs = [b.conv(x, 5, kernel=(1, 1), padding=(0, 0), encoding=encoding) for x in inputs]
    for node in b.nodes[-3:]:
        node.tensors["weight"][...] = 1
    graph = b.graph(b.concat(b.concat(*convs[:2]), convs[2]))
    rows = {r.name: r for r in profile(graph, torch.full((1, 1, 2, 3, 3), 3.0), counting="honest").layers}
    for conv, price in zip(convs, inputs.values(), strict=True):
        assert rows[conv].energy_mj == pytest.approx(price * 18 * 5 * 1e-9)
        assert rows[conv].params_mb == pytest.approx(10 * bits / 8 * 1e-6)


@every(padding=[0, 1, 2], stride=[1, 2])
def test_counts_of_a_convolution_equal_brute_force(stride: int, padding: int) -> None:
    b = Builder((3, 7, 6), 4, 0)
    geometry = {"stride": (stride, stride), "padding": (padding, padding)}
    graph = b.graph(b.parallel(b.conv(b.parallel(INPUT), 5, encoding="float32", **geometry)))
    conv, x = graph.nodes[1], np.ones((1, 3, 7, 6))
    taps = np.ones(conv.tensors["weight"].shape)
    assert dense_macs(graph, padding=False)[conv.name] == brute_force_pairs(x, taps, stride, padding)
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=1)
    assert dense_macs(graph)[conv.name] == brute_force_pairs(padded, taps, stride, 0)


def test_images_are_counted_in_parts_whose_values_fit_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, run, parts = residual_network(), GraphModule.forward, []
    x = torch.from_numpy(random_input(graph, 4, 5))
    whole = activity(graph, x)
    of_one = 4 * graph.time_steps * sum(math.prod(value.shape) for value in infer_values(graph).values())

    def counted(self: GraphModule, x: torch.Tensor, **given: range) -> object:
        parts.append(x.shape[1])
        return run(self, x, **given)

    monkeypatch.setattr(GraphModule, "forward", counted)
    monkeypatch.setattr(sys.modules[activity.__module__], "MOST_BYTES", 3 * of_one - 1)
    found = activity(graph, x)
    assert parts == [2, 2, 1]
    assert (found.images, found.pairs, found.nonzero) == (whole.images, whole.pairs, whole.nonzero)


def test_counts_of_a_dilated_grouped_convolution_are_those_of_its_groups() -> None:
    """6 of 3 channels in 3 groups, 2x3 with dilation 3x2; rows 7 - 3: 4 places; columns 6 + 2·2 - 4: 6.

    The three taps of a row meet 6 columns in 4, 6 and 4 of the 6 places.
    """
    b = Builder((3, 7, 6), 4, 0)
    grouped = {"kernel": (2, 3), "dilation": (3, 2), "padding": (0, 2), "groups": 3}
    conv = b.conv(b.quantise(INPUT, offset=1.0), 6, encoding="binary", **grouped)
    graph = b.graph(conv)
    assert dense_macs(graph)[conv] == 6 * (2 * 4) * (3 * 6)
    assert dense_macs(graph, padding=False)[conv] == 6 * (2 * 4) * (4 + 6 + 4)
    (layer,) = (row for row in profile(graph, torch.ones(4, 1, 3, 7, 6)).layers if row.name == conv)
    assert layer.sops == 4 * 6 * (2 * 4) * (4 + 6 + 4)
    assert layer.params_mb == pytest.approx(6 * 2 * 3 * 2 / 8e6)
    assert layer.stored_mb == pytest.approx(5e-6)


# Stem, body without shortcuts, shortcuts, classifier: with padding, and without. Then the sums in print, in millions:
# shortcuts are of the body, and so is the first layer of the VGGs; VGG13's without padding is in none.
PUBLISHED = {
    "resnet18_cifar10": [
        (1_769_472, 547_356_672, 6_291_456, 5_120, "553.65"),
        (1_696_512, 473_866_240, 6_291_456, 5_120, "480.16"),
    ],
    "resnet18_dvs": [
        (2_654_208, 1_231_552_512, 14_155_776, 5_120, "1245.71"),
        (2_580_992, 1_119_133_696, 14_155_776, 5_120, "1133.29"),
    ],
    "resnet34": [
        (118_013_952, 3_525_967_872, 19_267_584, 512_000, "3545.24"),
        (116_214_528, 3_238_928_384, 19_267_584, 512_000, "3258.20"),
    ],
    "vgg_snn": [
        (2_654_208, 1_358_954_496, 0, 46_080, "1361.61"),
        (2_580_992, 1_235_648_512, 0, 46_080, "1238.23"),
    ],
    "vgg13": [
        (7_077_888, 1_019_215_872, 0, 102_400, "1026.29"),
        (6_931_200, 916_439_040, 0, 102_400, "923.37"),
    ],
}


@every(name=list(PUBLISHED))
def test_published_networks_to_the_last_digit(name: str) -> None:
    graph = published_graph(name)
    for padding, expected in zip((True, False), PUBLISHED[name], strict=True):
        counts: Counter[str] = Counter()
        for layer, macs in dense_macs(graph, padding=padding).items():
            counts["shortcut" if ".shortcut." in layer else layer.split(".")[0]] += macs
        assert counts.keys() <= {"stem", "body", "shortcut", "classifier"}
        of_body = counts["body"] + counts["shortcut"] + counts["stem"] * name.startswith("vgg")
        found = counts["stem"], counts["body"], counts["shortcut"], counts["classifier"], f"{of_body / 1e6:.2f}"
        assert found == expected
