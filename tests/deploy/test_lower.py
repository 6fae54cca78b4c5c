"""A trained network and its deployed graph compute the same; the graph's weights stay low-bit."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import own_neurons
from cases import every, sampled
from deployed_networks import assert_runs_as_trained, images, lowered, outputs, trained_like
from hdlif import deploy
from hdlif.deploy.blocks import COARSEST_GRID
from hdlif.errors import LoweringError
from hdlif.functional import HardReset
from hdlif.graph.artefact import infer_values
from hdlif.graph.artefact.io import dumps, loads
from hdlif.graph.ops.program import named_rows
from hdlif.models import (
    AttentionBlockI,
    AttentionBlockII,
    Place,
    qk_former,
    resnet,
    resnet19,
    reversible_resnet,
    vgg_snn,
)
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
    ResonateHDLIF,
    Sequential,
    SpikeQuantizer,
    Ternary,
)
from hdlif.runtime import Session

T = 4
small_resnet = partial(resnet, blocks=(1, 1), width=4, in_channels=1, classes=5)


def every_second(place: Place) -> int | None:
    """Parameters by channel in every second neuron."""
    return place.channels if place.index % 2 else None


def hd_lif(place: Place) -> nn.Module:
    return HDLIF(T)


def hybrid_4_bit(place: Place) -> nn.Module:
    kind = ParallelHDLIF if place.index % 2 else HDLIF
    return kind(T, quantizer=SpikeQuantizer())


def adaptive(place: Place) -> nn.Module:
    quantizer = SpikeQuantizer() if place.index > 1 else None
    return own_neurons.AdaptiveHDLIF(T, channels=every_second(place), quantizer=quantizer)


NEURONS: dict[str, Callable[[Place], nn.Module]] = {
    "lif": lambda place: LIF(T, learned=True, channels=every_second(place)),
    "hard lif": lambda place: LIF(T, reset=HardReset(0.1)),
    "hd lif": hd_lif,
    "hybrid, 4 bits": hybrid_4_bit,
    "graded lif": lambda place: GradedLIF(T, channels=every_second(place)),
    "glif": lambda place: GLIF(T, channels=every_second(place), per_step=place.index > 1),
    "adaptive": adaptive,
    "own lif": lambda place: own_neurons.LIF(T, channels=every_second(place)),
    "resonate": lambda place: ResonateHDLIF(T, per_step=place.index > 1),
}
NETWORKS = {
    "resnet": small_resnet,
    "norms per step": partial(small_resnet, norm=partial(BatchNorm2d, time_steps=T)),
    "attention 1": partial(
        small_resnet, blocks=(2, 1), block=partial(AttentionBlockI, attention=partial(SECA, time_steps=T))
    ),
    "attention 2": partial(small_resnet, blocks=(2, 1), block=partial(AttentionBlockII, attention=SECA)),
    "resnet19": partial(resnet19, width=4, hidden=6, in_channels=1, classes=5),
    "reversible": partial(reversible_resnet, blocks=(2, 3), width=4, in_channels=1, classes=5, grid=None),
    "qk former": partial(qk_former, blocks=(1, 1), width=4, heads=2, in_channels=1, classes=5),
    "vgg, attention": partial(
        vgg_snn, plan=(4, "P", 5), final_size=None, in_channels=1, classes=5, attention=partial(SECA, bias=False)
    ),
    "vgg, flat": partial(vgg_snn, plan=(4, 6, "P", 5, "P"), final_size=2, in_channels=1, classes=5),
    "vgg, global": partial(vgg_snn, plan=(4, "P", 5), final_size=None, in_channels=1, classes=5),
}
QUANTIZERS = {"float": None, "ternary": Ternary(), "binary": Binary(), "integer": Integer(3)}


@sampled(12, make=NETWORKS, quantizer=QUANTIZERS, neuron=NEURONS)
def test_a_deployed_network_computes_what_was_trained(make: Any, quantizer: Any, neuron: Any) -> None:
    """On one image, and beyond the trained steps."""
    torch.manual_seed(0)
    network = trained_like(make(neuron=neuron, conv=partial(QuantConv2d, quantizer=quantizer)))
    assert_runs_as_trained(network, lowered(network), images(), T + 2, share=0.8)


def test_norms_per_step_are_stored_as_a_row_a_step_and_the_last_is_held() -> None:
    network = trained_like(NETWORKS["norms per step"](neuron=hd_lif))
    for steps in (T, T + 2, 1):
        (norm,) = (n for n in lowered(network, time_steps=steps).nodes if n.name == "body.stage1.0.bn1")
        scale, shift = norm.tensors["scale"], norm.tensors["shift"]
        assert scale.shape == shift.shape == (steps, 4)
        assert (scale > 0).all()
        assert (shift[T:] == shift[min(steps, T) - 1]).all()
        assert (shift[1:T] != shift[:1]).all()


def test_equal_steps_are_stored_as_one_row() -> None:
    neuron = next(node for node in lowered(small_resnet(neuron=hd_lif)).nodes if node.op == "program")
    assert named_rows(neuron)["leak"].shape == (1, 1)


def reversible(grid: float | None = GRID) -> nn.Module:
    """With continuous neurons, so that a small change of a current stays small."""
    torch.manual_seed(0)
    return trained_like(reversible_resnet(neuron=hd_lif, blocks=(3,), width=8, in_channels=1, classes=5, grid=grid))


def test_streams_are_parted_and_joined_once_for_all_blocks_of_a_stage() -> None:
    ops = {node.name: node.op for node in lowered(reversible()).nodes if node.op in ("slice", "concat", "add")}
    path = "body.stage1.blocks"
    sums = {f"{path}.{block}.{y}": "add" for block in range(3) for y in ("y1", "y2")}
    assert ops == {f"{path}.x1": "slice", f"{path}.x2": "slice", f"{path}.y": "concat"} | sums


def test_a_block_alone_is_lowered_like_a_chain_of_one() -> None:
    network = reversible()
    (chain,) = network.body.stage1.children()
    for name in list(chain._modules)[1:]:
        del chain._modules[name]
    expected = lowered(network)
    network.body.stage1 = Sequential({"blocks": chain[0]})
    x = images(3).numpy()
    np.testing.assert_array_equal(Session(lowered(network)).run(x), Session(expected).run(x))


@every(grid=[GRID, COARSEST_GRID])
def test_a_grid_that_is_left_out_moves_currents_by_its_rounding_alone(grid: float) -> None:
    network, x = reversible(grid), images().double()
    folded = deploy.GraphModule(lowered(network)).double()
    difference = (outputs(network.double(), x, T) - outputs(folded, x, T)).abs().max()
    # two roundings a block and one in front of half a step each, which three blocks pass on; logits are means of 64
    assert grid / 1000 < difference < 7 * grid / 2


@every(
    "quantizer",
    "encoding",
    "most",
    of=[
        (Ternary(), "ternary", 1),
        (Binary(), "binary", 1),
        *(
            (Integer(bits), f"int{held}", 2 ** (bits - 1) - 1)
            for bits, held in ((2, 2), (3, 4), (4, 4), (5, 8), (8, 8))
        ),
    ],
)
def test_low_bit_weights_stay_codes_and_scales_go_to_the_affine(quantizer: Any, encoding: str, most: int) -> None:
    torch.manual_seed(0)
    network = trained_like(small_resnet(neuron=hybrid_4_bit, conv=partial(QuantConv2d, quantizer=quantizer)))
    block = network.body.get_submodule("stage1.0")
    block.conv1.weight.data[0, 0, 0, 0] = 100
    graph = lowered(network)
    nodes = {node.name: node for node in graph.nodes}
    conv = nodes["body.stage1.0.conv1"]
    assert conv.attributes["encoding"] == encoding
    assert conv.tensors["weight"].dtype == np.int8
    assert conv.tensors["weight"].max() == most
    _, scale = quantizer.codes(block.conv1.weight)
    gain = block.bn1.weight / torch.sqrt(block.bn1.running_var + block.bn1.eps)
    expected = (0.25 * scale.flatten() * gain).detach().numpy()
    np.testing.assert_allclose(nodes["body.stage1.0.bn1"].tensors["scale"][0], expected, rtol=1e-6)
    assert dumps(loads(dumps(graph), "a")) == dumps(graph)
    assert_runs_as_trained(network, graph, images(), T, share=0.8)


def test_an_average_pool_of_codes_travels_as_a_sum_of_codes() -> None:
    graph = lowered(trained_like(NETWORKS["vgg, flat"](neuron=hybrid_4_bit)))
    assert infer_values(graph)["body.pool1"].max_code == 60


def test_affines_in_a_row_are_joined_into_the_first() -> None:
    layers = nn.Conv2d(1, 3, 3), BatchNorm2d(3), HDLIF(T), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5)
    network = Sequential(*layers).eval()
    graph = lowered(network)
    assert [node.name.split(".")[-1] for node in graph.nodes if node.op == "affine"] == ["bias", "bias"]
    assert_runs_as_trained(network, graph, images(), T)


class Halved(HDLIF):
    def equation(self):
        return lambda current, potential, leak, threshold: (0.5 * potential, leak * current)


@every(method=["forward", "stepped", "rows_at", "joined"])
def test_a_neuron_whose_scan_is_its_own_is_not_deployed_as_its_base(method: str) -> None:
    kind = type("Own", (HDLIF,), {method: lambda self, *given: getattr(HDLIF, method)(self, *given)})
    with pytest.raises(LoweringError, match="act1: Own "):
        lowered(small_resnet(neuron=lambda place: kind(T)))


def test_a_neuron_with_another_equation_is_deployed_by_it() -> None:
    network = small_resnet(neuron=lambda place: Halved(T)).eval()
    assert_runs_as_trained(network, lowered(network), images(), T)


def learned_step(place: Place) -> nn.Module:
    return HDLIF(T, quantizer=SpikeQuantizer(learned=True))


def test_a_learned_step_of_the_spikes_is_lowered_as_it_is() -> None:
    network = trained_like(small_resnet(neuron=learned_step))
    for index, module in enumerate(m for m in network.modules() if isinstance(m, SpikeQuantizer)):
        module.step.data.fill_(0.1 + 0.05 * index)
    graph = lowered(network)
    steps = [node.tensors["inverse_step"] for node in graph.nodes if node.op == "quantise"]
    np.testing.assert_allclose(np.concatenate(steps), 1 / (0.1 + 0.05 * np.arange(4)[:, None]), rtol=1e-6)
    assert_runs_as_trained(network, graph, images(), T, share=0.8)


def test_what_has_no_deployed_form_is_refused_by_name() -> None:
    def with_step(step: float) -> nn.Module:
        network = small_resnet(neuron=learned_step)
        network.body.get_submodule("stage1.0.act2.quantizer").step.data.fill_(step)
        return network

    for place, network in (
        ("2: GELU", Sequential(nn.Conv2d(1, 2, 3), BatchNorm2d(2), nn.GELU())),
        (r"body\.stage1\.blocks\.0\.f\.grid: ", reversible(2 * COARSEST_GRID)),
        *((r"body\.stage1\.0\.act2\.quantizer: ", with_step(step)) for step in (0.0, -0.25, np.nan, np.inf)),
    ):
        with pytest.raises(LoweringError, match=f"^{place}"):
            lowered(network)


def mem_bn(place: Place, *, quantizer: Any = None, channels: bool = False, sign: float = 1.0) -> nn.Module:
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


def mem_bn_resnet(*, block: Any = None, **arguments: Any) -> nn.Module:
    blocks = {} if block is None else {"block": block}
    return trained_like(small_resnet(neuron=partial(mem_bn, **arguments), conv=QuantConv2d, **blocks))


@every(
    arguments={
        "on the state": {},
        "on the state, 4 bits": {"quantizer": SpikeQuantizer},
        "on the state, by channel": {"channels": True, "quantizer": SpikeQuantizer},
        "on the state, after attention": {"block": partial(AttentionBlockII, attention=SECA)},
        "on the current": {"sign": -1.0},
        "on the current, 4 bits": {"sign": -1.0, "quantizer": SpikeQuantizer},
    }
)
def test_a_network_with_mem_bn_everywhere_is_deployed(arguments: dict[str, Any]) -> None:
    network = mem_bn_resnet(**arguments)
    gains = torch.cat([m.affine()[0].flatten() for m in network.modules() if isinstance(m, MemBN)])
    assert (gains <= 0).any() == ("sign" in arguments)
    graph, share = lowered(network), 0.7 if "quantizer" in arguments else 1.0
    assert_runs_as_trained(network, graph, images(steps=T + 3), share=share)
    assert_runs_as_trained(network, graph, images(), T + 3, share=share)


def test_mem_bn_on_the_state_costs_nothing_on_the_current() -> None:
    nodes = {node.name: node for node in lowered(mem_bn_resnet(quantizer=SpikeQuantizer)).nodes}
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


def test_mem_bn_that_does_nothing_leaves_the_plain_neuron() -> None:
    with_norm = lowered(small_resnet(neuron=lambda place: HDLIF(T, norm=MemBN(T, place.channels))))
    without = lowered(small_resnet(neuron=hd_lif))
    assert [node.name for node in with_norm.nodes] == [node.name for node in without.nodes]
    (a, b) = (next(node for node in g.nodes if node.op == "program") for g in (with_norm, without))
    np.testing.assert_array_equal(named_rows(a)["leak"], named_rows(b)["leak"])


def test_mem_bn_behind_a_constant_current_does_not_make_it_vary() -> None:
    neuron = mem_bn(Place("", 0, 0, 0, 0, 3))
    layers = nn.Conv2d(1, 3, 3), BatchNorm2d(3), neuron, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5)
    graph = lowered(Sequential(*layers))
    values = infer_values(graph)
    fires = next(node for node in graph.nodes if node.op == "program")
    norm = next(node for node in graph.nodes if node.name == fires.inputs[0])
    assert not values[norm.name].constant
    assert values[norm.inputs[0]].constant
