"""Norms, attention, spike quantisers, penalties, rules, mixed batches and teachers: what each kind makes."""

from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F

from hdlif.errors import CheckpointError
from hdlif.learning import OTTT, STBP, Distillation, OTTTCriterion, StochasticStep, StochasticWindow, Stratified
from hdlif.models import AttentionBlockI, AttentionBlockII, PreActBlock
from hdlif.nn import SECA, BatchNorm2d, SpikeQuantizer
from hdlif.recipe import builders, load_recipe
from hdlif.training.activity import Budget, Density, Surplus
from small_recipes import built, neurons, recipe


def test_norm_per_step_is_in_the_body_and_not_in_the_stem() -> None:
    network = built("norm={kind: batch_norm, per_step: true, momentum: 0.2}")
    norms = {name: m for name, m in network.named_modules() if isinstance(m, BatchNorm2d)}
    assert {name for name, norm in norms.items() if norm.time_steps is None} == {"stem.bn"}
    assert all(norm.momentum == 0.2 for name, norm in norms.items() if name != "stem.bn")
    shared = built("norm={kind: batch_norm}")
    assert all(m.time_steps is None for m in shared.modules() if isinstance(m, BatchNorm2d))


def test_attention_is_in_every_block() -> None:
    for words, block in (
        ("{kind: seca}", AttentionBlockI),
        ("{kind: seca, form: II, per_step: true}", AttentionBlockII),
        ("{kind: eca}", AttentionBlockI),
    ):
        network = built(f"attention={words}")
        assert {type(one) for one in network.modules() if isinstance(one, PreActBlock)} == {block}, words
        modules = [module for module in network.modules() if isinstance(module, SECA)]
        assert len(modules) == 6
        assert {len(module.weight) for module in modules} == {4 if "per_step" in words else 1}
        assert {module.bias is None for module in modules} == {words == "{kind: eca}"}
    plain = load_recipe(
        "digits_hdlif", ["model={kind: vgg_snn, plan: [4, P, 4], final_size: null}", "attention={kind: seca}"]
    )
    builders.check(plain)
    assert sum(isinstance(m, SECA) for m in builders.build_model(plain).modules()) == 2


def test_learned_spike_step_belongs_to_one_layer() -> None:
    network = built("spikes={kind: quantised, learned: true, gradient: clip}")
    quantizers = [neuron.quantizer for neuron in neurons(network)]
    assert all(isinstance(quantizer, SpikeQuantizer) for quantizer in quantizers)
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
    ottt = builders.build_rule(recipe("rule={kind: ottt, update: each, leak: 0.25, mse_share: 0.05}"))
    assert ottt == OTTT("each", leak=0.25, criterion=OTTTCriterion(mse_share=0.05))
    drawn = builders.build_rule(recipe("rule={kind: stochastic_step, k: 2, draw: stratified}"))
    assert isinstance(drawn, StochasticStep)
    assert (drawn.k, drawn.draw, drawn.complete) == (2, Stratified(), False)
    window = builders.build_rule(recipe("rule={kind: stochastic_window, length: 3}", "time_steps=4"))
    assert window == StochasticWindow(3, window.criterion)
    each = builders.build_rule(recipe("rule={kind: stbp, loss: each}"))
    assert each == STBP(each.criterion, loss="each")
    sltt_k = builders.build_rule(recipe("rule={kind: sltt_k, k: 2}"))
    assert isinstance(sltt_k, StochasticStep)
    assert sltt_k.complete


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
