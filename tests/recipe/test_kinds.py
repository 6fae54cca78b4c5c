"""Neurons, norms, attention, quantisers, penalties, rules, mixed batches and teachers: what each kind makes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

import hdlif.nn
from cases import every
from hdlif.deploy import export
from hdlif.errors import CheckpointError
from hdlif.functional import DetachedReset, HardReset
from hdlif.graph.artefact.io import load as load_artefact
from hdlif.learning import OTTT, STBP, Distillation, OTTTCriterion, StochasticStep, StochasticWindow, Stratified
from hdlif.models import AttentionBlockI, AttentionBlockII, PreActBlock
from hdlif.recipe import builders, load_recipe
from hdlif.recipe.builders.layers import place_quantizers
from hdlif.runtime import Session
from hdlif.training.activity import Budget, Density, Surplus
from small_recipes import built, load, neurons, recipe


def test_every_neuron_kind_is_made_on_its_path_and_runs() -> None:
    for words, kind in (
        ("{kind: lif, learned: true, reset: hard_detached}", hdlif.nn.LIF),
        ("{kind: glif, granularity: channel}", hdlif.nn.GLIF),
        ("{kind: graded_lif, surrogate: atan}", hdlif.nn.GradedLIF),
        ("{kind: hdlif, path: steps}", hdlif.nn.HDLIF),
        ("{kind: parallel_hdlif, per_step: false}", hdlif.nn.ParallelHDLIF),
    ):
        network = built(f"neuron={words}", "model.blocks=[1]")
        assert {type(neuron) for neuron in neurons(network)} == {kind}, words
        logits, _ = network(torch.zeros(1, 2, 1, 8, 8), steps=range(4))
        assert logits.shape == (4, 2, 10)
    for name in builders.NEURONS:
        assert neurons(built(f"neuron={{kind: {name}, path: fused}}", "model.blocks=[1]"))[0].path == "fused"
    assert neurons(built("neuron={kind: hdlif, path: steps}", "model.blocks=[1]"))[0].path == "steps"
    alternate = built("neuron={kind: hdlif, parallel: alternate, path: fused}", "spikes={kind: quantised}")
    assert {type(neuron) for neuron in neurons(alternate)} == {hdlif.nn.HDLIF, hdlif.nn.ParallelHDLIF}
    assert {neuron.path for neuron in neurons(alternate)} == {"fused"}


def test_mem_bn_surrogate_and_reset_reach_the_neurons_that_have_them() -> None:
    for words, mix in (("true", "raw"), ("{mix: sigmoid}", "sigmoid")):
        first, second, *_ = neurons(built(f"neuron={{kind: hdlif, parallel: alternate, mem_bn: {words}}}"))
        assert isinstance(first.norm, hdlif.nn.MemBN)
        assert (first.norm.mix, first.norm.channels) == (mix, 4)
        assert isinstance(second, hdlif.nn.ParallelHDLIF)
    builders.check(recipe("neuron={kind: hdlif, parallel: all, threshold: 0.6, learned: false}"))
    # A surrogate is of one neuron, and a reset is taken by its name.
    neuron, other, *_ = neurons(built("neuron={kind: lif, surrogate: dspike, reset: hard_detached}"))
    assert isinstance(neuron.surrogate, hdlif.nn.Dspike)
    assert neuron.surrogate is not other.surrogate
    assert neuron.reset == DetachedReset(HardReset())


def taus(neuron: hdlif.nn.Temporal, name: str = "leak") -> torch.Tensor:
    value = neuron.get_submodule(name)
    assert isinstance(value, hdlif.nn.StepValue)
    return (1 / (1 - value.values().detach().double()))[-1]


SPREAD = "granularity: channel, per_step: false, time_constants"


def test_time_constants_spread_the_leaks_of_every_layer_or_those_named_up_to_the_time_steps() -> None:
    found = [taus(layer) for layer in neurons(built(f"neuron={{kind: lif, learned: false, {SPREAD}: [2, 54]}}"))]
    assert [len(one) for one in found] == [4, 4, 4, 8, 8, 16]
    assert found[0].tolist() == pytest.approx([2, 6, 18, 54], rel=1e-5)
    words = f"neuron={{kind: adaptive_hdlif, leak: 0.25, {SPREAD}: {{adaptation_leak: true}}}}"
    first, *_ = neurons(built(words, "time_steps=16", "model.blocks=[1]"))
    assert float(taus(first)[0]) == pytest.approx(4 / 3)
    assert taus(first, "adaptation_leak").tolist() == pytest.approx([2, 4, 8, 16], rel=1e-5)
    words = f'neuron={{kind: "own_neurons:Keeping", {SPREAD}: {{share: [2, 54]}}}}'
    first, *_ = neurons(built(words, "model.blocks=[1]"))
    assert float(taus(first, "share")[-1]) == pytest.approx(54, rel=1e-5)
    for more in ("parallel: alternate", "recurrent: true", "mem_bn: true"):
        first, *_ = neurons(built(f"neuron={{kind: hdlif, {more}, {SPREAD}: [2, 54]}}", "model.blocks=[1]"))
        assert float(taus(first)[-1]) == pytest.approx(54, rel=1e-5), more


def test_norm_per_step_is_in_the_body_and_not_in_the_stem() -> None:
    network = built("norm={kind: batch_norm, per_step: true, momentum: 0.2}")
    norms = {name: m for name, m in network.named_modules() if isinstance(m, hdlif.nn.BatchNorm2d)}
    assert {name for name, norm in norms.items() if norm.time_steps is None} == {"stem.bn"}
    assert all(norm.momentum == 0.2 for name, norm in norms.items() if name != "stem.bn")
    shared = built("norm={kind: batch_norm}")
    assert all(m.time_steps is None for m in shared.modules() if isinstance(m, hdlif.nn.BatchNorm2d))


def test_attention_is_in_every_block() -> None:
    for words, block, rows, biased in (
        ("{kind: seca, form: II, per_step: true}", AttentionBlockII, 4, True),
        ("{kind: eca}", AttentionBlockI, 1, False),
    ):
        network = built(f"attention={words}")
        assert {type(one) for one in network.modules() if isinstance(one, PreActBlock)} == {block}, words
        gates = [module for module in network.modules() if isinstance(module, hdlif.nn.SECA)]
        assert [(len(gate.weight), gate.bias is not None) for gate in gates] == 6 * [(rows, biased)]


@every(
    overrides=[
        ["neuron={kind: glif}", "rule={kind: sltt}", "weights={kind: binary}"],
        ["neuron={kind: hdlif, mem_bn: true}", "rule={kind: ndot}", "activity={kind: density, target: 0.1}"],
    ]
)
def test_a_reversible_network_goes_with_other_parts(overrides: list[str]) -> None:
    chosen = load("model={kind: reversible_resnet, width: 8, blocks: [2, 2]}", *overrides)
    builders.check(chosen)
    builders.try_update(chosen)


def test_learned_spike_step_belongs_to_one_layer() -> None:
    network = built("spikes={kind: quantised, learned: true, gradient: clip}")
    quantizers = [neuron.quantizer for neuron in neurons(network)]
    assert all(isinstance(quantizer, hdlif.nn.SpikeQuantizer) for quantizer in quantizers)
    assert len({id(quantizer.step) for quantizer in quantizers}) == len(quantizers) == 6


def test_penalties_are_made_with_their_arguments() -> None:
    layers = "{body.stage1.0.conv1: 1.0e4, body.stage2.0.conv2: 5.0e3}"
    for words, penalty in (
        ("{kind: free}", None),
        ("{kind: surplus, weight: 0.1}", Surplus(0.1)),
        ("{kind: density, target: 0.1}", Density(0.1)),
        ("{kind: sops, sops: 1.0e6}", Budget(1e6, 4)),
        (f"{{kind: sops, sops: {layers}}}", Budget({"body.stage1.0.conv1": 1e4, "body.stage2.0.conv2": 5e3}, 4)),
    ):
        chosen = recipe(f"activity={words}")
        builders.check(chosen)
        assert builders.build_penalty(chosen) == penalty


def test_rules_are_made_with_their_arguments() -> None:
    for words, rule, stated in (
        ("ottt, update: each, leak: 0.25", OTTT, {"update": "each", "leak": 0.25}),
        ("stochastic_step, k: 2, draw: stratified", StochasticStep, {"k": 2, "draw": Stratified(), "complete": False}),
        ("stochastic_window, length: 3", StochasticWindow, {"length": 3}),
        ("stbp, loss: each", STBP, {"loss": "each"}),
        ("sltt_k, k: 2", StochasticStep, {"k": 2, "complete": True}),
    ):
        made = builders.build_rule(recipe(f"rule={{kind: {words}}}", "time_steps=4"))
        assert type(made) is rule, words
        assert {name: getattr(made, name) for name in stated} == stated
    with_share = builders.build_rule(recipe("rule={kind: ottt, mse_share: 0.05}"))
    assert with_share.criterion == OTTTCriterion(mse_share=0.05)  # type: ignore[attr-defined]


def test_recipe_has_no_extras_by_default_and_published_mixup_if_it_asks() -> None:
    assert builders.build_mix(recipe()) is None
    assert builders.build_teacher(recipe()) is None
    assert builders.build_training_rule(recipe()).criterion.func is F.cross_entropy
    mix = builders.build_mix(recipe("data.mixup={}"))
    assert mix is not None
    drawn = vars(mix._mixup)
    alphas = [drawn[name] for name in ("mixup_alpha", "cutmix_alpha", "mix_prob", "switch_prob")]
    assert alphas == [0.8, 1.0, 1.0, 0.5]
    assert (drawn["mode"], drawn["num_classes"], drawn["label_smoothing"]) == ("batch", 10, 0.0)


def test_rule_that_trains_learns_from_the_teacher_and_the_plain_one_does_not() -> None:
    for kind in ("timm", "torchvision"):
        chosen = recipe(f"teacher={{kind: {kind}, name: resnet18, checkpoint: x.pth, temperature: 2, weight: 0.3}}")
        builders.check(chosen)
        criterion = builders.build_training_rule(chosen).criterion
        assert isinstance(criterion, Distillation)
        assert (criterion.temperature, criterion.weight) == (2, 0.3)
        assert not isinstance(builders.build_rule(chosen).criterion, Distillation)


def test_teacher_has_the_weights_of_its_file_and_the_classes_of_the_data(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = timm.create_model("test_resnet", num_classes=10)
    taken = "size: 32, mean: [0, 0, 0], std: [1, 1, 1]"
    chosen = recipe(f"teacher={{kind: timm, name: test_resnet, checkpoint: {tmp_path}/t.pth, {taken}}}")
    builders.check(chosen)
    with pytest.raises(CheckpointError, match=r"t\.pth: cannot be read"):
        builders.build_teacher(chosen)
    torch.save(network.state_dict(), tmp_path / "t.pth")
    teacher = builders.build_teacher(chosen)
    assert teacher is not None
    record = builders.input_record(recipe())
    x = torch.randn(1, 2, 1, 8, 8)
    pixels = x[0] * record.std[0] + record.mean[0]
    shown = F.interpolate(pixels.expand(-1, 3, -1, -1), size=(32, 32), mode="bilinear", antialias=True)
    expected = network.eval()(shown)
    torch.testing.assert_close(teacher.beside(x, torch.tensor([1, 2]))[:, 10:], expected.detach())


def quantizers_of(network: nn.Module) -> dict[str, Any]:
    kinds = hdlif.nn.QuantConv2d | hdlif.nn.QuantLinear
    return {name: layer.quantizer for name, layer in network.named_modules() if isinstance(layer, kinds)}


def test_layers_named_keep_fp32_weights_or_are_quantised_beside_the_body() -> None:
    layers = "keep_float: ['*.shortcut.conv', body.stage1.0.conv1], quantise: [stem.conv, classifier]"
    network = built(f"weights={{kind: integer, bits: 2, {layers}}}")
    quantizers = quantizers_of(network)
    kept = {name for name, quantizer in quantizers.items() if quantizer is None}
    assert kept == {"body.stage1.0.conv1", "body.stage2.0.shortcut.conv", "body.stage3.0.shortcut.conv"}
    assert {"stem.conv", "classifier"} <= quantizers.keys()
    assert set(quantizers.values()) - {None} == {hdlif.nn.Integer(2)}


def test_layers_state_their_own_bits() -> None:
    layers = "{body.stage1.0.conv1: 1, '*.conv1': 32, '*.shortcut.conv': 8, classifier: 2}"
    network = built(f"weights={{kind: ternary, quantise: [classifier], layers: {layers}}}")
    quantizers = quantizers_of(network)
    assert quantizers["body.stage1.0.conv1"] == hdlif.nn.Binary()
    assert quantizers["body.stage2.0.conv1"] is None
    assert quantizers["body.stage2.0.conv2"] == hdlif.nn.Ternary()
    assert quantizers["body.stage3.0.shortcut.conv"] == hdlif.nn.Integer(8)
    assert quantizers["classifier"] == hdlif.nn.Integer(2)
    levels = "{body.stage1.0.act1: {bits: 1, step: 0.5}, 'body.stage2.*': {bits: 3}}"
    for kind, other in (("exact", None), ("quantised, offset: 0.25", (4, 0.25))):
        network = built(f"spikes={{kind: {kind}, layers: {levels}}}")
        made = {name: network.get_submodule(name).quantizer for name in map("body.stage{}.0.act1".format, (1, 2, 3))}
        assert [one and (one.bits, one.step) for one in made.values()] == [(1, 0.5), (3, 0.25), other]
        assert made["body.stage1.0.act1"].offset == (0.5 if other is None else 0.25)


def test_convolutions_of_sequences_are_kept_and_quantised_as_those_of_maps() -> None:
    geometry = {"stride": 2, "padding": 2, "dilation": 2, "groups": 2}
    network = hdlif.nn.Sequential(
        {
            "stem": nn.Conv1d(2, 4, 3, bias=False, **geometry),
            "body": hdlif.nn.QuantConv1d(4, 4, 3, quantizer=hdlif.nn.Ternary()),
            "other": hdlif.nn.QuantConv1d(4, 4, 1, quantizer=hdlif.nn.Ternary()),
            "maps": nn.Conv2d(2, 4, 3, bias=False),
        }
    )
    chosen = recipe("weights={kind: ternary, keep_float: [body], quantise: [stem]}")
    place_quantizers(chosen, network)  # type: ignore[arg-type]
    assert network.body.quantizer is None
    assert network.other.quantizer == hdlif.nn.Ternary()
    assert type(network.maps) is nn.Conv2d
    assert type(network.stem) is hdlif.nn.QuantConv1d
    assert network.stem.quantizer == hdlif.nn.Ternary()
    made = {name: getattr(network.stem, name) for name in geometry}
    assert made == {"stride": (2,), "padding": (2,), "dilation": (2,), "groups": 2}
    assert network.stem(torch.zeros(1, 2, 9)).shape == nn.Conv1d(2, 4, 3, **geometry)(torch.zeros(1, 2, 9)).shape


@every(kind=["binary", "ternary", "integer"])
def test_a_network_quantised_throughout_runs_deployed_as_in_torch(kind: str, tmp_path: Path) -> None:
    chosen = recipe(f"weights={{kind: {kind}, quantise: ['*']}}", "model.blocks=[1]")
    torch.manual_seed(0)
    network = builders.build_model(chosen)
    images = torch.randn(1, 6, 1, 8, 8)
    with torch.no_grad():
        network.train()(images, steps=range(4))
        expected, _ = network.eval()(images, steps=range(4))
    path = tmp_path / "net"
    export(network, path, input=builders.input_record(chosen), labels=tuple("0123456789"), time_steps=4)
    weights = [node for node in load_artefact(path).nodes if "weight" in node.tensors]
    assert all(node.attributes["encoding"] != "float32" for node in weights)
    np.testing.assert_allclose(Session(path).run(images.numpy()), expected, atol=1e-4)


def test_the_first_convolution_of_a_published_vgg_has_one_bit() -> None:
    small = ["model={kind: vgg_snn, plan: [8, P, 9, P], final_size: 2}", "data.size=8", "time_steps=4"]
    network = builders.build_model(load_recipe("dvs_cifar10_vgg_snn_hdlif_w1", small))
    assert network.stem.conv1.quantizer == hdlif.nn.Binary()
