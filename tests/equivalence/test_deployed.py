"""Three ways to compute a deployed network agree: torch, NumPy reference, compiled runtime."""

from functools import cache, partial

import numpy as np
import torch
from torch import Tensor

from cases import every
from hdlif.artefact import Graph, InputRecord, infer_values
from hdlif.deploy import GraphModule, lower
from hdlif.models import AttentionBlockI, AttentionBlockII, Network, resnet, reversible_resnet, vgg_snn
from hdlif.nn import (
    GLIF,
    HDLIF,
    LIF,
    SECA,
    Binary,
    GradedLIF,
    Integer,
    MemBN,
    ParallelHDLIF,
    QuantConv2d,
    SpikeQuantizer,
    Ternary,
)
from hdlif.runtime import Session

T = 4
RECORD = InputRecord((1, 12, 12), (0.3,), (0.4,))


def four_bit_hybrid(place):
    kind = ParallelHDLIF if place.index % 2 else HDLIF
    return kind(T, quantizer=SpikeQuantizer())


def mem_bn(place):
    return HDLIF(T, norm=MemBN(T, place.channels), quantizer=SpikeQuantizer())


def glif(place):
    return GLIF(T, channels=place.channels if place.index % 2 else None, per_step=place.index > 1)


ATTENTION_1 = partial(AttentionBlockI, attention=partial(SECA, time_steps=T))
ATTENTION_2 = partial(AttentionBlockII, attention=SECA)

NETWORKS = {
    "attention_1_resnet": (resnet, mem_bn, Ternary(), {"blocks": (1, 1), "width": 6, "block": ATTENTION_1}),
    "attention_2_resnet": (resnet, four_bit_hybrid, Binary(), {"blocks": (2, 1), "width": 6, "block": ATTENTION_2}),
    "mem_bn_resnet": (resnet, mem_bn, Ternary(), {"blocks": (1, 1), "width": 6}),
    "graded_lif_resnet": (resnet, lambda place: GradedLIF(T), Binary(), {"blocks": (1, 1), "width": 6}),
    "glif_resnet": (resnet, glif, Ternary(), {"blocks": (1, 1), "width": 6}),
    "int4_hybrid_resnet": (resnet, four_bit_hybrid, Integer(4), {"blocks": (1, 1), "width": 8}),
    "int8_lif_resnet": (resnet, lambda place: LIF(T), Integer(8), {"blocks": (1, 1), "width": 8}),
    "ternary_hybrid_resnet": (resnet, four_bit_hybrid, Ternary(), {"blocks": (1, 1, 1), "width": 8}),
    # without the grid, which a deployed network leaves out
    "ternary_reversible": (reversible_resnet, four_bit_hybrid, Ternary(), {"blocks": (2, 2), "width": 8, "grid": None}),
    "fp32_lif_reversible": (reversible_resnet, lambda place: LIF(T), None, {"blocks": (1, 2), "width": 6}),
    "binary_vgg": (vgg_snn, four_bit_hybrid, Binary(), {"plan": (8, 9, "P", 11, "P"), "final_size": 3}),
    "fp32_hd_lif_resnet": (resnet, lambda place: HDLIF(T), None, {"blocks": (1, 1), "width": 5}),
    "fp32_lif_vgg": (vgg_snn, lambda place: LIF(T, learned=True), None, {"plan": (7, "P", 6), "final_size": None}),
}


@cache
def deployed(name: str) -> tuple[Network, Graph, Tensor]:
    build, neuron, quantizer, arguments = NETWORKS[name]
    generator = torch.Generator().manual_seed(3)
    network = build(
        neuron=neuron, classes=10, in_channels=1, conv=partial(QuantConv2d, quantizer=quantizer), **arguments
    ).train()
    for parameter_name, parameter in network.named_parameters():
        if parameter.ndim == 1:
            shift = -0.5 if parameter_name.endswith("logit") else 0.5
            parameter.data = torch.rand(parameter.shape, generator=generator) + shift
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(1, 16, 1, 12, 12, generator=generator), steps=range(T))
    graph = lower(network.eval(), input=RECORD, labels=tuple("0123456789"), time_steps=T)
    return network, graph, torch.randn(1, 32, 1, 12, 12, generator=generator)


@every(name=list(NETWORKS))
def test_every_torch_node_equals_the_native_one_on_the_native_inputs(name):
    _, graph, x = deployed(name)
    values = {
        node: torch.from_numpy(np.asarray(v, np.float32)) for node, v in Session(graph).values(x.numpy(), T).items()
    }
    module = GraphModule(graph)
    steps, types = range(T), infer_values(graph)
    seen = 0
    for node in graph.nodes:
        inputs = tuple(values[one] for one in node.inputs)
        output, _ = module.run_node(node, inputs, None, steps)
        native = values[node.name]
        if types[node.name].max_code is not None:
            assert torch.equal(output.expand_as(native), native), node.name
        else:
            torch.testing.assert_close(output.expand_as(native), native, atol=1e-4, rtol=1e-5)
        seen += int(native.abs().max() > 0)
    assert seen == len(graph.nodes), "a silent layer would compare zeros with zeros"


@every(name=list(NETWORKS))
def test_trained_torch_network_and_native_runtime_choose_the_same_class(name):
    network, graph, x = deployed(name)
    with torch.no_grad():
        expected, _ = network(x, steps=range(T))
    logits = Session(graph).run(x.numpy(), T)
    difference = np.abs(logits - expected.numpy()).max(axis=(0, 2))
    # A code that falls on a rounding boundary may differ, and then so do the image's logits; most images have none.
    assert np.mean(difference < 1e-4) >= 0.8
    assert np.mean(logits.mean(0).argmax(1) == expected.mean(0).argmax(1).numpy()) >= 0.96
