"""What cannot be built, or does not go together, is refused by its name in the recipe."""

import pytest

from hdlif import builders
from hdlif.errors import RecipeError
from small_recipes import recipe


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
        ("attention={kind: none, form: II}", "attention.form is unknown; it takes no arguments"),
        ("attention={kind: eca, kernel_size: 5}", "attention.kernel_size is unknown; it takes no arguments"),
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
