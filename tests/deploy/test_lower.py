"""A trained network and its deployed graph compute the same; the graph's weights stay low-bit."""

import itertools
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import own_neurons
from hdlif import deploy
from hdlif.deploy.blocks import COARSEST_GRID
from hdlif.errors import LoweringError, StateError
from hdlif.functional import HardReset
from hdlif.graph.artefact import InputRecord, infer_values
from hdlif.graph.artefact.io import dumps, loads
from hdlif.graph.ops.program import named_rows
from hdlif.models import AttentionBlockI, AttentionBlockII, PreActBlock, resnet, resnet19, reversible_resnet, vgg_snn
from hdlif.models.blocks import Place
from hdlif.models.reversible import GRID
from hdlif.nn import (
    GLIF,
    HDLIF,
    LIF,
    SECA,
    BatchNorm2d,
    Binary,
    GradedLIF,
    Integer,
    MemBN,
    ParallelHDLIF,
    QuantConv2d,
    Sequential,
    SpikeQuantizer,
    Ternary,
)
from hdlif.runtime import Session

T = 4
RECORD = InputRecord((1, 8, 8), (0.3,), (0.4,))
LABELS = tuple("abcde")


def lif(place):
    return LIF(T, learned=True)


def hard_lif(place):
    return LIF(T, reset=HardReset(0.1))


def hd_lif(place):
    return HDLIF(T)


def hybrid_4_bit(place):
    kind = ParallelHDLIF if place.index % 2 else HDLIF
    return kind(T, quantizer=SpikeQuantizer())


def graded_lif(place):
    return GradedLIF(T, channels=place.channels if place.index % 2 else None)


def glif(place):
    return GLIF(T, channels=place.channels if place.index % 2 else None, per_step=place.index > 1)


def adaptive(place):
    return own_neurons.AdaptiveHDLIF(
        T, channels=place.channels if place.index % 2 else None, quantizer=SpikeQuantizer() if place.index > 1 else None
    )


def own_lif(place):
    return own_neurons.LIF(T, channels=place.channels if place.index % 2 else None)


def resonate(place):
    return own_neurons.Resonate(T, per_step=place.index > 1)


NEURONS = [lif, hard_lif, hd_lif, hybrid_4_bit, graded_lif, glif, adaptive, own_lif, resonate]
QUANTIZERS = [None, Ternary(), Binary(), Integer(3)]
NETWORKS = {
    "resnet": partial(resnet, blocks=(1, 1), width=4, in_channels=1, classes=5),
    "resnet_norms_per_step": partial(
        resnet, blocks=(1, 1), width=4, in_channels=1, classes=5, norm=partial(BatchNorm2d, time_steps=T)
    ),
    "resnet_attention_1": partial(
        resnet,
        blocks=(2, 1),
        width=4,
        in_channels=1,
        classes=5,
        block=partial(AttentionBlockI, attention=partial(SECA, time_steps=T)),
    ),
    "resnet_attention_2": partial(
        resnet, blocks=(2, 1), width=4, in_channels=1, classes=5, block=partial(AttentionBlockII, attention=SECA)
    ),
    "resnet19": partial(resnet19, width=4, hidden=6, in_channels=1, classes=5),
    "reversible": partial(reversible_resnet, blocks=(2, 3), width=4, in_channels=1, classes=5, grid=None),
    "vgg_attention": partial(
        vgg_snn, plan=(4, "P", 5), final_size=None, in_channels=1, classes=5, attention=partial(SECA, bias=False)
    ),
    "vgg_flat": partial(vgg_snn, plan=(4, 6, "P", 5, "P"), final_size=2, in_channels=1, classes=5),
    "vgg_global": partial(vgg_snn, plan=(4, "P", 5), final_size=None, in_channels=1, classes=5),
}


def trained_like(network, seed=0):
    """Give neurons and norms values that differ from their start, and running statistics of real activity."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        if parameter.ndim == 1:
            noise = torch.rand(parameter.shape, generator=generator)
            parameter.data = noise - 0.5 if name.endswith("logit") else noise + 0.5
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(1, 16, 1, 8, 8, generator=generator), steps=range(T))
    return network.eval()


def test_norms_per_step_are_stored_as_a_row_a_step_and_the_last_is_held():
    network = trained_like(NETWORKS["resnet_norms_per_step"](neuron=hd_lif))
    for steps, rows in ((T, T), (T + 2, T + 2), (1, 1)):
        graph = deploy.lower(network, input=RECORD, labels=LABELS, time_steps=steps)
        (node,) = (node for node in graph.nodes if node.name == "body.stage1.0.bn1")
        assert node.tensors["scale"].shape == node.tensors["shift"].shape == (rows, 4)
    assert (node.tensors["scale"] > 0).all()
    held = deploy.lower(network, input=RECORD, labels=LABELS, time_steps=T + 2)
    (node,) = (node for node in held.nodes if node.name == "body.stage1.0.bn1")
    assert (node.tensors["shift"][T:] == node.tensors["shift"][T - 1]).all()
    assert (node.tensors["shift"][1] != node.tensors["shift"][0]).all()


def reversible(grid: float | None = GRID):
    """With continuous neurons, so that a small change of a current stays small."""
    torch.manual_seed(0)
    return trained_like(reversible_resnet(neuron=hd_lif, blocks=(3,), width=8, in_channels=1, classes=5, grid=grid))


def test_streams_are_parted_and_joined_once_for_all_blocks_of_a_stage():
    graph = deploy.lower(reversible(), input=RECORD, labels=LABELS, time_steps=T)
    ops = {node.name: node.op for node in graph.nodes if node.op in ("slice", "concat", "add")}
    path = "body.stage1.blocks"
    sums = {f"{path}.{block}.{y}": "add" for block in range(3) for y in ("y1", "y2")}
    assert ops == {f"{path}.x1": "slice", f"{path}.x2": "slice", f"{path}.y": "concat"} | sums


def test_a_block_alone_is_lowered_like_a_chain_of_one():
    network = reversible()
    (chain,) = network.body.stage1.children()
    for name in list(chain._modules)[1:]:
        del chain._modules[name]
    expected = deploy.lower(network, input=RECORD, labels=LABELS, time_steps=T)
    network.body.stage1 = Sequential({"blocks": chain[0]})
    graph = deploy.lower(network, input=RECORD, labels=LABELS, time_steps=T)
    x = np.random.default_rng(0).normal(size=(1, 3, 1, 8, 8)).astype(np.float32)
    np.testing.assert_array_equal(Session(graph).run(x), Session(expected).run(x))


@pytest.mark.parametrize("grid", [GRID, COARSEST_GRID])
def test_grid_that_is_left_out_moves_currents_by_its_rounding_alone(grid):
    network = reversible(grid).double()
    folded = deploy.fold(network, input=RECORD, labels=LABELS, time_steps=T).double()
    x = torch.randn(1, 16, 1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        difference = (network(x, steps=range(T))[0] - folded(x, steps=range(T))[0]).abs().max()
    # two roundings a block and one in front of half a step each, which three blocks pass on; logits are means of 64
    assert grid / 1000 < difference < 7 * grid / 2


def test_grid_too_coarse_to_be_left_out_is_refused():
    network = reversible(2 * COARSEST_GRID)
    with pytest.raises(LoweringError, match=r"body\.stage1\.blocks\.0\.f\.grid: a grid of 0\.00024.* is too coarse"):
        deploy.lower(network, input=RECORD, labels=LABELS, time_steps=T)


def of_each_pair():
    """Network, quantiser and neuron: all of them, of which the quick tier has every pair of network and neuron once."""
    choices = (NETWORKS, ("float", "ternary", "binary", "integer"), NEURONS)
    for places in itertools.product(*(range(len(choice)) for choice in choices)):
        network, quantizer, neuron = places
        names = (list(NETWORKS)[network], choices[1][quantizer], NEURONS[neuron].__name__)
        marks = [] if (network + neuron) % len(QUANTIZERS) == quantizer else [pytest.mark.slow]
        yield pytest.param(names[0], QUANTIZERS[quantizer], NEURONS[neuron], id="-".join(names), marks=marks)


@pytest.mark.parametrize(("name", "quantizer", "neuron"), list(of_each_pair()))
def test_folded_network_equals_trained_network(name, quantizer, neuron):
    build = NETWORKS[name]
    network = trained_like(build(neuron=neuron, conv=partial(QuantConv2d, quantizer=quantizer))).double()
    folded = deploy.fold(network, input=RECORD, labels=LABELS, time_steps=T).double()
    x = torch.randn(1, 16, 1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        expected, _ = network(x, steps=range(T))
        logits, _ = folded(x, steps=range(T))
    # The graph stores float32, so a current that falls on a rounding boundary or a threshold may cross it.
    close = (logits - expected).abs().amax((0, 2)) < 1e-5
    assert close.float().mean() >= 0.8
    assert expected.std() > 0.01
    assert (logits.mean(0).argmax(1) == expected.mean(0).argmax(1)).float().mean() >= 0.9


@pytest.mark.parametrize("neuron", [hybrid_4_bit, graded_lif, glif])
def test_folded_chunk_of_k_equals_k_chunks_of_one(neuron):
    network = trained_like(NETWORKS["resnet"](neuron=neuron))
    folded = deploy.fold(network, input=RECORD, labels=LABELS, time_steps=T)
    x = torch.randn(T, 3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole, whole_state = folded(x, steps=range(T))
        state, parts = None, []
        for t in range(T):
            logits, state = folded(x[t : t + 1], state, steps=range(t, t + 1))
            parts.append(logits)
    # a pooled mean may be summed in another order
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-6, rtol=1e-6)
    assert all(torch.equal(state[name]["potential"], whole_state[name]["potential"]) for name in whole_state)


def test_folded_network_refuses_a_tensor_for_a_neurons_state():
    folded = deploy.fold(trained_like(NETWORKS["resnet"](neuron=hd_lif)), input=RECORD, labels=LABELS, time_steps=T)
    name = next(node.name for node in folded.graph.nodes if node.op == "program")
    x = torch.zeros(1, 1, 1, 8, 8)
    _, state = folded(x, steps=range(1))
    with pytest.raises(StateError, match=f"state of '{name}' is a Tensor; it must be a mapping"):
        folded(x, {**state, name: torch.zeros(1)}, steps=range(1, 2))


def test_low_bit_weights_stay_codes_and_scales_go_to_the_affine():
    network = trained_like(NETWORKS["resnet"](neuron=hybrid_4_bit, conv=partial(QuantConv2d, quantizer=Ternary())))
    graph = deploy.lower(network, input=RECORD, labels=LABELS, time_steps=T)
    nodes = {node.name: node for node in graph.nodes}
    conv, block = nodes["body.stage1.0.conv1"], network.body.get_submodule("stage1.0")
    assert conv.tensors["weight"].dtype == np.int8
    assert set(np.unique(conv.tensors["weight"])) == {-1, 0, 1}
    _, scale = Ternary().codes(block.conv1.weight)
    gain = block.bn1.weight / torch.sqrt(block.bn1.running_var + block.bn1.eps)
    expected = (0.25 * scale.item() * gain).detach().numpy()
    np.testing.assert_allclose(nodes["body.stage1.0.bn1"].tensors["scale"][0], expected, rtol=1e-6)


def test_average_pool_of_codes_travels_as_a_sum_of_codes():
    network = trained_like(NETWORKS["vgg_flat"](neuron=hybrid_4_bit, conv=partial(QuantConv2d, quantizer=Ternary())))
    graph = deploy.lower(network, input=RECORD, labels=LABELS, time_steps=T)
    assert infer_values(graph)["body.pool1"].max_code == 60


class DoubledForward(HDLIF):
    def forward(self, x, state, steps):
        return super().forward(2 * x, state, steps)


class DoubledStep(HDLIF):
    def stepped(self, t, steps, current, *rest):
        return super().stepped(t, steps, 2 * current, *rest)


class DoubledRows(HDLIF):
    def rows_at(self, steps, x):
        return [2 * row for row in super().rows_at(steps, x)]


class DoubledSpikes(HDLIF):
    def joined(self, spikes):
        return 2 * super().joined(spikes)


@pytest.mark.parametrize("kind", [DoubledForward, DoubledStep, DoubledRows, DoubledSpikes])
def test_a_neuron_whose_scan_is_its_own_is_not_deployed_as_its_base(kind):
    network = resnet(neuron=lambda place: kind(T), blocks=(1,), width=4, in_channels=1, classes=5).eval()
    with pytest.raises(LoweringError, match=f"act1: {kind.__name__} has a forward pass of its own"):
        deploy.lower(network, input=RECORD, labels=LABELS, time_steps=T)


class Halved(HDLIF):
    def equation(self):
        return lambda current, potential, leak, threshold: (0.5 * potential, leak * current)


def test_a_neuron_with_another_equation_is_deployed_by_it():
    network = resnet(neuron=lambda place: Halved(T), blocks=(1,), width=4, in_channels=1, classes=5).eval()
    graph = deploy.lower(network, input=RECORD, labels=LABELS, time_steps=T)
    x = torch.randn(1, 4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, _ = network(x, steps=range(T))
    torch.testing.assert_close(torch.from_numpy(Session(graph).run(x.numpy(), T)), expected, atol=1e-4, rtol=1e-4)


def test_an_average_pool_divides_by_its_own_divisor():
    network = Sequential(nn.AvgPool2d(2, divisor_override=3), nn.Flatten(), nn.Linear(16, 5)).eval()
    graph = deploy.lower(network, input=RECORD, labels=LABELS, time_steps=T)
    x = torch.randn(1, 2, 1, 8, 8)
    with torch.no_grad():
        expected, _ = network(x, None, range(1))
    torch.testing.assert_close(torch.from_numpy(Session(graph).run(x.numpy(), 1)), expected, atol=1e-5, rtol=1e-5)


def test_equal_steps_are_stored_as_one_row():
    graph = deploy.lower(NETWORKS["resnet"](neuron=hd_lif), input=RECORD, labels=LABELS, time_steps=T)
    neuron = next(node for node in graph.nodes if node.op == "program")
    assert named_rows(neuron)["leak"].shape == (1, 1)


def test_artefact_of_a_network_reads_back_equal():
    network = trained_like(NETWORKS["resnet"](neuron=hybrid_4_bit, conv=partial(QuantConv2d, quantizer=Ternary())))
    graph = deploy.lower(network, input=RECORD, labels=LABELS, time_steps=T)
    content = dumps(graph)
    assert dumps(loads(content, "a")) == content


def test_convolution_without_norm_gets_its_scale_applied():
    body = Sequential(QuantConv2d(1, 3, 3, padding=1, quantizer=Binary()), HDLIF(T), nn.AdaptiveAvgPool2d(1))
    network = Sequential(body, nn.Flatten(), nn.Linear(3, 5))
    x = torch.randn(1, 2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    lowerer_free = deploy.fold(network.eval(), input=RECORD, labels=LABELS, time_steps=T)
    with torch.no_grad():
        expected, _ = network(x, None, range(T))
        logits, _ = lowerer_free(x, steps=range(T))
    torch.testing.assert_close(logits, expected, atol=1e-6, rtol=1e-5)


def test_module_without_a_deployed_form_is_refused_by_name():
    network = Sequential(nn.Conv2d(1, 2, 3), BatchNorm2d(2), nn.GELU())
    with pytest.raises(LoweringError, match=r"2: GELU has no deployed form"):
        deploy.lower(network, input=RECORD, labels=LABELS, time_steps=T)


def mem_bn(place, *, quantizer=None, channels=False, sign=1.0):
    """HD-LIF with a scattered Mem-BN; sign -1 makes some gains negative."""
    norm = MemBN(T, place.channels)
    width = place.channels if channels else None
    neuron = HDLIF(T, norm=norm, quantizer=quantizer and quantizer(), channels=width)
    torch.manual_seed(place.index)
    torch.nn.init.uniform_(norm.mem_scale, 0.6, 1.2)
    torch.nn.init.uniform_(norm.bn_scale, 0.2, 0.5)
    torch.nn.init.uniform_(norm.weight, 0.5, 1.0)
    torch.nn.init.normal_(norm.bias, std=0.2)
    if sign < 0:
        norm.weight.data[:, 0] = -4.0
    return neuron


def mem_bn_resnet(*, block=PreActBlock, **arguments):
    neuron = partial(mem_bn, **arguments)
    network = resnet(blocks=(1, 1), width=4, in_channels=1, classes=5, neuron=neuron, conv=QuantConv2d, block=block)
    return trained_like(network)


MEM_BN = {
    "on the state": {},
    "on the state, 4 bits": {"quantizer": SpikeQuantizer},
    "on the state, by channel": {"channels": True, "quantizer": SpikeQuantizer},
    "on the state, behind attention": {"block": partial(AttentionBlockII, attention=SECA)},
    "on the current": {"sign": -1.0},
    "on the current, 4 bits": {"sign": -1.0, "quantizer": SpikeQuantizer},
}


@pytest.mark.parametrize("arguments", MEM_BN.values(), ids=MEM_BN)
def test_network_with_mem_bn_everywhere_equals_its_fold_and_the_native_runtime(arguments):
    network = mem_bn_resnet(**arguments)
    gains = torch.cat([m.affine()[0].flatten() for m in network.modules() if isinstance(m, MemBN)])
    assert (gains <= 0).any() == ("sign" in arguments)
    graph = deploy.lower(network, input=RECORD, labels=LABELS, time_steps=T)
    x = torch.randn(T + 3, 16, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    steps = range(T + 3)
    with torch.no_grad():
        expected, _ = network.double()(x.double(), steps=steps)
        folded, _ = deploy.GraphModule(graph).double()(x.double(), steps=steps)
        constant, _ = network(x[:1].double(), steps=steps)
    native = torch.from_numpy(Session(graph).run(x.numpy()))
    native_constant = torch.from_numpy(Session(graph).run(x[:1].numpy(), T + 3))
    assert expected.std() > 0.01
    for logits, wanted in ((folded, expected), (native, expected), (native_constant, constant)):
        close = (logits - wanted).abs().amax((0, 2)) < 1e-4
        # a code on a rounding boundary may cross it
        assert close.float().mean() >= (0.7 if "quantizer" in arguments else 1)


def test_mem_bn_on_the_state_costs_nothing_on_the_current():
    graph = deploy.lower(mem_bn_resnet(quantizer=SpikeQuantizer), input=RECORD, labels=LABELS, time_steps=T)
    nodes = {node.name: node for node in graph.nodes}
    # act1 reads the residual stream, which the shortcut reads too: an affine of its own, idle until T
    norm, act1 = nodes["body.stage1.0.act1.norm"], nodes["body.stage1.0.act1"]
    assert act1.inputs == (norm.name,)
    assert named_rows(act1)["leak"].shape == named_rows(act1)["threshold"].shape == (T + 2, 4)
    assert (norm.tensors["scale"][:T] == 1).all()
    assert (norm.tensors["shift"][:T] == 0).all()
    assert np.signbit(norm.tensors["shift"][:T]).all()
    # act2 is fed by bn1 alone, which takes the rows beyond T in
    bn1, act2 = nodes["body.stage1.0.bn1"], nodes["body.stage1.0.act2"]
    assert act2.inputs == (bn1.name,)
    assert "body.stage1.0.act2.norm" not in nodes
    assert bn1.tensors["scale"].shape == (T + 2, 4)
    assert (bn1.tensors["scale"][:T] == bn1.tensors["scale"][0]).all()
    # gains have joined the step of the quantiser, whose codes then have one scale
    assert nodes["body.stage1.0.act1.quantizer"].tensors["inverse_step"].shape == (T + 2, 4)
    assert nodes["body.stage1.0.act1.quantizer"].inputs == ("body.stage1.0.act1",)


def test_mem_bn_that_does_nothing_leaves_the_plain_neuron():
    def plain(place):
        return HDLIF(T, norm=MemBN(T, place.channels))

    with_norm, without = (
        deploy.lower(
            resnet(neuron=neuron, blocks=(1,), width=4, in_channels=1, classes=5).eval(),
            input=RECORD,
            labels=LABELS,
            time_steps=T,
        )
        for neuron in (plain, hd_lif)
    )
    assert [node.name for node in with_norm.nodes] == [node.name for node in without.nodes]
    (a, b) = (next(node for node in g.nodes if node.op == "program") for g in (with_norm, without))
    np.testing.assert_array_equal(named_rows(a)["leak"], named_rows(b)["leak"])


def test_mem_bn_behind_a_constant_current_does_not_make_it_vary():
    body = Sequential(
        nn.Conv2d(1, 3, 3), BatchNorm2d(3), mem_bn(Place("", 0, 0, 0, 0, 3)), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    network = Sequential(body, nn.Linear(3, 5)).eval()
    graph = deploy.lower(network, input=RECORD, labels=LABELS, time_steps=T)
    values = infer_values(graph)
    neuron = next(node for node in graph.nodes if node.op == "program")
    norm = next(node for node in graph.nodes if node.name == neuron.inputs[0])
    assert not values[norm.name].constant
    assert values[norm.inputs[0]].constant


@pytest.mark.parametrize("kind", [LIF, HDLIF, ParallelHDLIF])
@pytest.mark.parametrize("per_step", [True, False])
def test_leak_and_threshold_per_channel_are_lowered(kind, per_step):
    def neuron(place):
        module = kind(T, learned=True, channels=place.channels, per_step=per_step)
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter)
        return module

    network = trained_like(resnet(neuron=neuron, blocks=(1, 1), width=4, in_channels=1, classes=5))
    graph = deploy.lower(network, input=RECORD, labels=LABELS, time_steps=T)
    node = next(node for node in graph.nodes if node.name == "body.stage2.0.act2")
    assert named_rows(node)["threshold"].shape == (T if per_step else 1, 8)
    x = torch.randn(1, 16, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, _ = network(x, steps=range(T + 2))
    native = torch.from_numpy(Session(graph).run(x.numpy(), T + 2))
    assert ((native - expected).abs().amax((0, 2)) < 1e-4).float().mean() >= 0.9


def test_affines_in_a_row_are_joined_into_the_first():
    network = Sequential(nn.Conv2d(1, 3, 3), BatchNorm2d(3), HDLIF(T), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    network = Sequential(network, nn.Linear(3, 5))
    graph = deploy.lower(network, input=RECORD, labels=LABELS, time_steps=T)
    assert [node.name.split(".")[-1] for node in graph.nodes if node.op == "affine"] == ["bias", "bias"]
    x = torch.randn(1, 4, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(
            deploy.GraphModule(graph)(x, steps=range(T))[0], network(x, None, range(T))[0], atol=1e-5, rtol=1e-5
        )


def learned_step(place):
    return HDLIF(T, quantizer=SpikeQuantizer(learned=True))


def test_a_learned_step_of_the_spikes_is_lowered_as_it_is():
    network = trained_like(NETWORKS["resnet"](neuron=learned_step))
    for index, module in enumerate(m for m in network.modules() if isinstance(m, SpikeQuantizer)):
        module.step.data.fill_(0.1 + 0.05 * index)
    graph = deploy.lower(network, input=RECORD, labels=LABELS, time_steps=T)
    steps = [node.tensors["inverse_step"] for node in graph.nodes if node.op == "quantise"]
    np.testing.assert_allclose(np.concatenate(steps), 1 / (0.1 + 0.05 * np.arange(4)[:, None]), rtol=1e-6)
    x = torch.randn(1, 16, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, _ = network(x, steps=range(T))
        logits, _ = deploy.GraphModule(graph)(x, steps=range(T))
    assert ((logits - expected).abs().amax((0, 2)) < 1e-4).float().mean() >= 0.8


@pytest.mark.parametrize("step", [0.0, -0.25, float("nan"), float("inf")])
def test_a_step_that_is_not_positive_is_refused(step):
    network = NETWORKS["resnet"](neuron=learned_step).eval()
    network.body.get_submodule("stage1.0.act2.quantizer").step.data.fill_(step)
    with pytest.raises(LoweringError, match=r"body\.stage1\.0\.act2\.quantizer: step = .*; spikes are counted in"):
        deploy.lower(network, input=RECORD, labels=LABELS, time_steps=T)


@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("channels", [None, 3])
def test_glif_with_its_gates_multiplied_out_fires_like_the_module(per_step, channels):
    torch.manual_seed(0)
    neuron = GLIF(T, channels=channels, per_step=per_step)
    for parameter in neuron.parameters():
        torch.nn.init.normal_(parameter)
    network = Sequential(neuron, nn.Flatten())
    record = InputRecord((3, 5, 5), (0.0,) * 3, (1.0,) * 3)
    graph = deploy.lower(network.eval(), input=record, labels=tuple(map(str, range(75))), time_steps=T)
    node = graph.nodes[0]
    rows = named_rows(node)
    (gain,) = (row for name, row in rows.items() if "conductance" in name)
    assert gain.shape == (T, channels or 1)
    assert rows["threshold"].shape == (T if per_step else 1, channels or 1)
    x = 2 * torch.randn(T + 3, 40, 3, 5, 5)
    with torch.no_grad():
        expected, _ = network.double()(x.double(), None, range(T + 3))
        whole, state = deploy.GraphModule(graph).double()(x.double(), steps=range(T + 3))
    assert 0.1 < expected.mean() < 0.9
    # the constants are float32: only a membrane within their rounding of the threshold may fire otherwise
    for spikes in (whole, torch.from_numpy(Session(graph).run(x.numpy()))):
        assert (spikes == expected).double().mean() > 0.9999
    potentials = network(x.double(), None, range(T + 3))[1]["0"]["potential"]
    close = (state[node.name]["potential"] - potentials).abs() < 1e-5
    assert close.double().mean() > 0.999


@pytest.mark.parametrize("time_steps", [None, T])
@pytest.mark.parametrize("bias", [True, False])
def test_attention_is_lowered_row_by_row_and_held_beyond_the_trained_steps(time_steps, bias):
    torch.manual_seed(0)
    attention = SECA(4, kernel_size=3, bias=bias, time_steps=time_steps)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter)
    network = Sequential(attention, nn.Flatten()).eval()
    record = InputRecord((4, 3, 3), (0.0,) * 4, (1.0,) * 4)
    graph = deploy.lower(network, input=record, labels=tuple(map(str, range(36))), time_steps=T)
    assert graph.nodes[0].tensors["weight"].shape == (T if time_steps else 1, 3)
    assert infer_values(graph)[graph.nodes[0].name].constant == (time_steps is None)
    x = torch.randn(T + 3, 5, 4, 3, 3)
    with torch.no_grad():
        expected, _ = network(x, None, range(T + 3))
        folded, _ = deploy.GraphModule(graph)(x, steps=range(T + 3))
    torch.testing.assert_close(folded, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(torch.from_numpy(Session(graph).run(x.numpy())), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("bits", "encoding", "most"),
    [(2, "int2", 1), (3, "int4", 3), (4, "int4", 7), (5, "int8", 15), (6, "int8", 31), (8, "int8", 127)],
)
def test_integer_weights_stay_codes_with_a_scale_per_channel(bits, encoding, most):
    network = trained_like(NETWORKS["resnet"](neuron=hybrid_4_bit, conv=partial(QuantConv2d, quantizer=Integer(bits))))
    conv1 = network.body.get_submodule("stage1.0.conv1")
    conv1.weight.data[0, 0, 0, 0] = 100
    graph = deploy.lower(network, input=RECORD, labels=LABELS, time_steps=T)
    nodes = {node.name: node for node in graph.nodes}
    conv = nodes["body.stage1.0.conv1"]
    assert conv.attributes["encoding"] == encoding
    assert conv.tensors["weight"].max() == most
    _, scale = Integer(bits).codes(conv1.weight)
    bn1 = network.body.get_submodule("stage1.0.bn1")
    gain = bn1.weight / torch.sqrt(bn1.running_var + bn1.eps)
    expected = (0.25 * scale.flatten() * gain).detach().numpy()
    np.testing.assert_allclose(nodes["body.stage1.0.bn1"].tensors["scale"][0], expected, rtol=1e-6)
    content = dumps(graph)
    assert dumps(loads(content, "a")) == content
    x = torch.randn(1, 16, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        folded, _ = deploy.GraphModule(graph)(x, steps=range(T))
        trained, _ = network(x, steps=range(T))
    native = torch.from_numpy(Session(graph).run(x.numpy(), T))
    for logits in (folded, native):
        assert ((logits - trained).abs().amax((0, 2)) < 1e-4).float().mean() >= 0.8
