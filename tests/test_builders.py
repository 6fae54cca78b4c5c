"""From a recipe's words to objects: what each kind makes, and what is refused."""

import pytest
import torch

from hdlif import builders
from hdlif.config import Recipe, load_recipe
from hdlif.errors import RecipeError
from hdlif.functional import DetachedReset, HardReset
from hdlif.learning import OTTT, OTTTCriterion, StochasticStep, Stratified
from hdlif.models import AttentionBlockI, AttentionBlockII, Network, PreActBlock
from hdlif.nn import (
    GLIF,
    HDLIF,
    LIF,
    SECA,
    BatchNorm2d,
    Dspike,
    GradedLIF,
    Integer,
    MemBN,
    ParallelHDLIF,
    QuantConv2d,
    SpikeQuantizer,
    Temporal,
)
from hdlif.training.activity import Budget, Density, Surplus


def recipe(*overrides: str) -> Recipe:
    return load_recipe("digits_hdlif", ["model.width=4", *overrides])


def built(*overrides: str) -> Network:
    chosen = recipe(*overrides)
    builders.check(chosen)
    torch.manual_seed(0)
    return builders.build_model(chosen)


def neurons(network: Network) -> list[Temporal]:
    kinds = (GLIF, GradedLIF, HDLIF, LIF, ParallelHDLIF)
    return [module for module in network.modules() if isinstance(module, kinds)]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("{kind: lif, learned: true, reset: hard_detached}", LIF),
        ("{kind: glif, granularity: channel}", GLIF),
        ("{kind: graded_lif, surrogate: atan}", GradedLIF),
        ("{kind: hdlif, path: bits}", HDLIF),
        ("{kind: hdlif, path: scan, per_step: false}", HDLIF),
        ("{kind: parallel_hdlif, per_step: false}", ParallelHDLIF),
    ],
)
def test_every_neuron_kind_is_made_and_runs(words: str, kind: type[Temporal]) -> None:
    network = built(f"neuron={words}")
    assert {type(neuron) for neuron in neurons(network)} == {kind}
    logits, _ = network(torch.zeros(1, 2, 1, 8, 8), steps=range(4))
    assert logits.shape == (4, 2, 10)


def test_granularity_gives_each_channel_its_own_values() -> None:
    for neuron in neurons(built("neuron={kind: hdlif, granularity: channel}")):
        assert isinstance(neuron, HDLIF)
        assert neuron.leak.logit.shape == neuron.threshold.logit.shape
        assert neuron.leak.logit.ndim == 2
    widths = [n.leak.logit.shape[1] for n in neurons(built("neuron={kind: hdlif, granularity: channel}"))]
    assert widths == [4, 4, 4, 8, 8, 16]


def test_named_surrogate_and_reset_reach_the_neuron() -> None:
    neuron, other, *_ = neurons(built("neuron={kind: lif, surrogate: dspike, reset: hard_detached}"))
    assert isinstance(neuron.surrogate, Dspike)
    assert neuron.surrogate is not other.surrogate
    assert neuron.reset == DetachedReset(HardReset())


@pytest.mark.parametrize(("words", "mix"), [("true", "raw"), ("{mix: sigmoid}", "sigmoid")])
def test_mem_bn_is_on_every_neuron_that_accumulates(words: str, mix: str) -> None:
    network = built(f"neuron={{kind: hdlif, parallel: alternate, mem_bn: {words}}}")
    first, second, *_ = neurons(network)
    assert isinstance(first.norm, MemBN)
    assert (first.norm.mix, first.norm.channels) == (mix, 4)
    assert isinstance(second, ParallelHDLIF)


def test_learned_spike_step_belongs_to_one_layer() -> None:
    network = built("spikes={kind: quantised, learned: true, gradient: clip}")
    quantizers = [neuron.quantizer for neuron in neurons(network)]
    assert all(isinstance(quantizer, SpikeQuantizer) for quantizer in quantizers)
    assert len({id(quantizer.step) for quantizer in quantizers}) == len(quantizers) == 6


def test_layers_named_keep_fp32_weights() -> None:
    network = built("weights={kind: integer, bits: 2, keep_float: ['*.shortcut.conv', body.stage1.0.conv1]}")
    quantizers = {name: m.quantizer for name, m in network.named_modules() if isinstance(m, QuantConv2d)}
    kept = {name for name, quantizer in quantizers.items() if quantizer is None}
    assert kept == {"body.stage1.0.conv1", "body.stage2.0.shortcut.conv", "body.stage3.0.shortcut.conv"}
    assert set(quantizers.values()) - {None} == {Integer(2)}


def test_norm_per_step_is_in_the_body_and_not_in_the_stem() -> None:
    network = built("norm={kind: batch_norm, per_step: true, momentum: 0.2}")
    norms = {name: m for name, m in network.named_modules() if isinstance(m, BatchNorm2d)}
    assert {name for name, norm in norms.items() if norm.time_steps is None} == {"stem.bn"}
    assert all(norm.momentum == 0.2 for name, norm in norms.items() if name != "stem.bn")
    shared = built("norm={kind: batch_norm}")
    assert all(m.time_steps is None for m in shared.modules() if isinstance(m, BatchNorm2d))


@pytest.mark.parametrize(
    ("words", "block"),
    [
        ("{kind: seca}", AttentionBlockI),
        ("{kind: seca, form: II, per_step: true}", AttentionBlockII),
        ("{kind: eca}", AttentionBlockI),
    ],
)
def test_attention_is_in_every_block(words: str, block: type[AttentionBlockI]) -> None:
    network = built(f"attention={words}")
    blocks = [module for module in network.modules() if isinstance(module, PreActBlock)]
    assert {type(module) for module in blocks} == {block}
    modules = [module for module in network.modules() if isinstance(module, SECA)]
    assert len(modules) == 6
    assert {len(module.weight) for module in modules} == {4 if "per_step" in words else 1}
    assert {module.bias is None for module in modules} == {words == "{kind: eca}"}


def test_attention_in_a_plain_network() -> None:
    plain = "model={kind: vgg_snn, plan: [4, P, 4], final_size: null}"
    chosen = load_recipe("digits_hdlif", [plain, "attention={kind: seca}"])
    builders.check(chosen)
    assert sum(isinstance(m, SECA) for m in builders.build_model(chosen).modules()) == 2


def test_penalties_are_made_with_their_arguments() -> None:
    assert builders.build_penalty(recipe()) is None
    assert builders.build_penalty(recipe("activity={kind: surplus, weight: 0.1}")) == Surplus(0.1)
    assert builders.build_penalty(recipe("activity={kind: density, target: 0.1}")) == Density(0.1)
    assert builders.build_penalty(recipe("activity={kind: sops, sops: 1.0e6}")) == Budget(1e6, 4)


def test_images_may_be_shown_row_by_row_and_fewer_of_them() -> None:
    chosen = recipe("data.frames=rows", "time_steps=8", "data.train=100")
    builders.check(chosen)
    assert builders.input_record(chosen).shape == (1, 1, 8)
    sets = builders.build_data(chosen)
    assert len(sets.train) == 100
    for images in (sets.train, sets.validation, sets.test):
        assert images.sequence(torch.arange(2))[0].shape == (8, 2, 1, 1, 8)
    assert builders.input_record(recipe()).shape == (1, 8, 8)
    with pytest.raises(RecipeError, match=r"data.train = 9999; there are 1237 training images"):
        builders.build_data(recipe("data.train=9999"))


def test_rules_are_made_with_their_arguments() -> None:
    ottt = builders.build_rule(recipe("rule={kind: ottt, update: each, leak: 0.25, mse_share: 0.05}"))
    assert ottt == OTTT("each", leak=0.25, criterion=OTTTCriterion(share=0.05))
    drawn = builders.build_rule(recipe("rule={kind: stochastic_step, k: 2, draw: stratified}"))
    assert isinstance(drawn, StochasticStep)
    assert (drawn.k, drawn.draw, drawn.complete) == (2, Stratified(), False)
    sltt_k = builders.build_rule(recipe("rule={kind: sltt_k, k: 2}"))
    assert isinstance(sltt_k, StochasticStep)
    assert sltt_k.complete


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("neuron={kind: hdlif, channels: 3}", "neuron.channels is unknown"),
        ("neuron={kind: hdlif, granularity: neuron}", 'neuron.granularity = "neuron" is unknown'),
        ("neuron={kind: hdlif, mem_bn: raw}", "neuron.mem_bn = 'raw'; it must be true, false or a mapping"),
        ("neuron={kind: hdlif, mem_bn: {mix: x}}", "neuron.mem_bn: mix = 'x'; choose one of raw, sigmoid"),
        ("neuron={kind: hdlif, mem_bn: {channels: 2}}", "neuron.mem_bn.channels is unknown"),
        ("neuron={kind: hdlif, mem_bn: true, path: scan}", "neuron: path = 'scan' does not go with Mem-BN"),
        ("neuron={kind: lif, surrogate: dspikes}", 'neuron.surrogate = "dspikes" is unknown'),
        ("neuron={kind: lif, reset: none}", 'neuron.reset = "none" is unknown'),
        ("weights={kind: integer, bits: 9}", "weights: bits = 9; weights have 2 to 8"),
        ("weights={kind: ternary, keep_float: stem}", "weights.keep_float = 'stem'; it must be a list"),
        ("weights={kind: ternary, keep_float: [conv9]}", "weights.keep_float: 'conv9' matches no quantised layer"),
        ("norm={kind: batch_norm, channels: 2}", "norm.channels is unknown"),
        ("rule={kind: ottt, leak: 2}", r"rule: leak = 2; it must lie in 0\.\.1"),
        ("rule={kind: ottt, mse_share: 2}", r"rule: share = 2; it must lie in 0\.\.1"),
        ("rule={kind: sltt_k, complete: false}", "rule.complete is unknown"),
        ("rule={kind: stochastic_step, draw: even}", 'rule.draw = "even" is unknown'),
        ("rule={kind: stochastic_step, k: 5}", "rule.k = 5; it must be at most time_steps = 4"),
        ("attention={kind: seca, kernel_size: 4}", "attention: kernel_size = 4; it must be odd"),
        ("attention={kind: seca, form: III}", 'attention.form = "III" is unknown'),
        ("neuron={kind: hdlif, time_steps: 3}", "neuron.time_steps is not set there"),
        ("neuron={kind: lif, reset: 3}", 'neuron.reset = "3" is unknown'),
        ("neuron.leak=null", "neuron.leak = None is refused; it should be a valid number"),
        ("norm={kind: batch_norm, eps: x}", "norm.eps = 'x' is refused; it should be a valid number"),
        ("norm={kind: batch_norm, momentum: 7}", r"momentum = 7; it must lie in \(0, 1\]"),
        ("norm={kind: batch_norm, per_step: 3}", "norm.per_step = 3 is refused; it should be a valid boolean"),
        ("rule={kind: stochastic_step, k: 1.5}", "rule.k = 1.5 is refused; it should be a valid integer"),
        ("rule={kind: sltt_k, k: 1.5}", "rule.k = 1.5 is refused; it should be a valid integer"),
        ("model.classes=3", "model.classes is unknown"),
        ("model.width=abc", "model.width = 'abc' is refused; it should be a valid integer"),
        ("model.width=-3", "model: blocks = .*, width = -3; give at least one stage of at least one block"),
        ("model.blocks=3", "model.blocks = 3 is refused"),
        ("model={kind: vgg_snn, plan: [8, Q]}", "model: plan has 'Q'; its entries are widths above 0"),
        ("model.blocks=[]", "give at least one stage of at least one block"),
        ("spikes={kind: quantised, bits: x}", "spikes.bits = 'x' is refused; it should be a valid integer"),
        ("activity={kind: density}", "activity.target is missing; give it a value"),
        ("activity={kind: density, target: 0.1, weight: x}", "activity.weight = 'x' is refused"),
        ("activity={kind: surplus, weight: -1}", "weight = -1; a penalty's weight is above 0"),
        ("activity={kind: density, target: 2}", r"activity: target = 2; a spike density lies in 0\.\.1"),
        ("activity={kind: sops, sops: 1.0e6, time_steps: 3}", "activity.time_steps is unknown"),
        ("data.frames=rows", 'data.frames = "rows" makes 8 steps of an image; set time_steps=8'),
        ("data.frames=columns", 'data.frames = "columns" is unknown'),
        ("model={kind: resnet, neuron: lif}", "model.neuron is not set there"),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        builders.check(recipe(override))


def test_budget_of_operations_refuses_traced_synapses() -> None:
    with pytest.raises(RecipeError, match=r'activity.kind = "sops" does not go with rule.kind = "ottt"'):
        builders.check(recipe("activity={kind: sops, sops: 1.0e6}", "rule={kind: ottt}"))


@pytest.mark.parametrize("kind", ["lif", "glif"])
def test_binary_neurons_refuse_quantised_spikes(kind: str) -> None:
    with pytest.raises(RecipeError, match=f'does not go with neuron.kind = "{kind}", whose spikes are binary'):
        builders.check(recipe(f"neuron={{kind: {kind}}}", "spikes={kind: quantised}"))
