"""What cannot be built, or does not go together, is refused by its name in the recipe."""

import re
from typing import Any

import pytest

from hdlif.errors import RecipeError
from hdlif.recipe import Recipe, builders, load_recipe
from small_recipes import recipe


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("neuron={kind: hdlif, channels: 3}", "neuron.channels = .* is unknown"),
        ("neuron={kind: hdlif, granularity: neuron}", 'neuron.granularity = "neuron" is unknown'),
        ("neuron={kind: hdlif, mem_bn: raw}", "neuron.mem_bn = 'raw'; it must be true, false or a mapping"),
        ("neuron={kind: hdlif, mem_bn: {mix: x}}", "neuron.mem_bn: mix = 'x'; choose one of raw, sigmoid"),
        ("neuron={kind: hdlif, mem_bn: {channels: 2}}", "neuron.mem_bn.channels = .* is unknown"),
        ("neuron={kind: hdlif, mem_bn: true, path: fused}", "neuron: path = 'fused' does not go with Mem-BN"),
        ("neuron={kind: lif, surrogate: dspikes}", 'neuron.surrogate = "dspikes" is unknown'),
        ("neuron={kind: lif, reset: none}", 'neuron.reset = "none" is unknown'),
        ("weights={kind: integer, bits: 9}", "weights: bits = 9; weights have 2 to 8"),
        ("weights={kind: ternary, keep_float: stem}", "weights.keep_float = 'stem'; it must be a list"),
        ("weights={kind: ternary, keep_float: [conv9]}", "weights.keep_float: 'conv9' matches no quantised layer"),
        ("norm={kind: batch_norm, channels: 2}", "norm.channels = .* is unknown"),
        ("rule={kind: ottt, leak: 2}", r"rule: leak = 2; it must lie in 0\.\.1"),
        ("rule={kind: ottt, mse_share: 2}", r"rule: mse_share = 2; it must lie in 0\.\.1"),
        ("rule={kind: ottt, mse_share: much}", "rule.mse_share = 'much' is refused; it should be a valid number"),
        (
            "neuron={kind: hdlif, parallel: [1]}",
            "neuron.parallel has 1, which is no name of a layer; give names as text",
        ),
        ("rule={kind: sltt_k, complete: false}", "rule.complete = .* is unknown"),
        (
            "rule={kind: stochastic_window, length: 40}",
            "rule.length = 40; a window must be at most as long as a sequence, time_steps = ",
        ),
        (
            "rule={kind: forward_mode, recurrent: none}",
            "rule.recurrent = 'none' is refused; it should be 'diagonal' or 'eprop'",
        ),
        ("rule={kind: forward_mode, budget: -1}", "rule: budget = -1; it must be at least 0 bytes"),
        ("training.stream=3", "training.stream = 3 steps from one update to the next, and a sample has time_steps = 4"),
        ("training.stream=0", "training.stream = 0 is refused"),
        (
            "training.stream=2",
            r"leak has values of each of 4 time steps.* no first step; set neuron\.per_step: false, and set "
            r"norm\.per_step: false$",
        ),
        ("rule={kind: stochastic_window}", "rule.length is missing; give it a value"),
        ("rule={kind: stbp, loss: first}", "rule.loss"),
        ("rule={kind: stochastic_step, draw: even}", 'rule.draw = "even" is unknown'),
        ("rule={kind: stochastic_step, k: 5}", "rule.k = 5; it must be at most time_steps = 4"),
        ("attention={kind: seca, kernel_size: 4}", "attention: kernel_size = 4; it must be odd"),
        ("attention={kind: none, form: II}", "attention.form = .* is unknown; it takes no arguments"),
        ("attention={kind: eca, kernel_size: 5}", "attention.kernel_size = .* is unknown; choose one of form;"),
        ("attention={kind: seca, form: III}", 'attention.form = "III" is unknown'),
        ("neuron={kind: hdlif, time_steps: 3}", "neuron.time_steps is not set there"),
        ("neuron={kind: lif, reset: 3}", 'neuron.reset = "3" is unknown'),
        ("neuron.leak=null", "neuron.leak = None is refused; it should be a valid number"),
        ("norm={kind: batch_norm, eps: x}", "norm.eps = 'x' is refused; it should be a valid number"),
        ("norm={kind: batch_norm, momentum: 7}", r"momentum = 7; it must lie in \(0, 1\]"),
        ("norm={kind: batch_norm, per_step: 3}", "norm.per_step = 3 is refused; it should be a valid boolean"),
        ("rule={kind: stochastic_step, k: 1.5}", "rule.k = 1.5 is refused; it should be a valid integer"),
        ("rule={kind: sltt_k, k: 1.5}", "rule.k = 1.5 is refused; it should be a valid integer"),
        ("model.classes=3", "model.classes = .* is unknown"),
        ("model.width=abc", "model.width = 'abc' is refused; it should be a valid integer"),
        ("model.width=-3", "model: blocks = .*, width = -3; give at least one stage of at least one block"),
        ("model.blocks=3", "model.blocks = 3 is refused"),
        ("model.kind=my_models.TinyNet", 'model.kind = "my_models.TinyNet" is unknown; write my_models:TinyNet$'),
        ("data.kind=my.sets.Photos", 'data.kind = "my.sets.Photos" is unknown; write my.sets:Photos$'),
        ("data.frames=my.rows", 'data.frames = "my.rows" is unknown; choose one of constant, pixels, rows'),
        ("neuron={kind: hdlif, parallel: a.b}", "neuron.parallel"),
        ("model={kind: vgg_snn, plan: [8, Q]}", "model: plan has 'Q'; its entries are widths above 0"),
        ("model.blocks=[]", "give at least one stage of at least one block"),
        ("spikes={kind: quantised, bits: x}", "spikes.bits = 'x' is refused; it should be a valid integer"),
        ("activity={kind: density}", "activity.target is missing; give it a value"),
        ("activity={kind: density, target: 0.1, weight: x}", "activity.weight = 'x' is refused"),
        ("activity={kind: surplus, weight: -1}", "weight = -1; a penalty's weight is above 0"),
        ("activity={kind: density, target: 2}", r"activity: target = 2; a spike density lies in 0\.\.1"),
        ("activity={kind: sops, sops: 1.0e6, time_steps: 3}", "activity.time_steps = .* is unknown"),
        ("data.frames=rows", 'data.frames = "rows" makes 8 steps of an image; set time_steps=8'),
        ("data.frames=columns", 'data.frames = "columns" is unknown'),
        ("model={kind: resnet, neuron: lif}", "model.neuron is not set there"),
        ("model={kind: vgg_snn, attention: 3}", "model.attention is not set there"),
        ("model={kind: vgg_snn, first_conv: 3}", "model.first_conv = .* is unknown; choose one of final_size, plan$"),
        ("model={kind: resnet18, block: 3}", "model.block = .* is unknown; choose one of stem, width$"),
        ("model={kind: resnet18, stem: 3}", 'model.stem = "3" is unknown'),
        ("weights={kind: binary, bits: 8}", "weights.bits = .* is unknown; choose one of keep_float, quantise;"),
        ("weights={kind: ternary, bits: 2}", "weights.bits = .* is unknown; choose one of keep_float, quantise;"),
        ("neuron={kind: hdlif, surrogate: atan}", "neuron.surrogate = .* is unknown"),
        (
            "neuron.leak=1.5",
            r"neuron: leak = 1\.5; a learned one must lie in \(0\.0, 1\.0\); learned: false allows any",
        ),
        (
            "neuron.threshold=1.5",
            r"threshold = 1\.5; a learned one must lie in \(0\.0, 1\.0\); threshold_form: softplus allows any above 0",
        ),
        (
            "neuron={kind: lif, threshold_form: softplus}",
            "neuron: threshold_form = 'softplus' has no effect on a threshold that is not learned; set learned: true",
        ),
        ("neuron={kind: parallel_hdlif, threshold: 1.5}", "neuron: threshold = 1.5; a learned one"),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        builders.check(recipe(override))


def test_streams_are_refused_before_the_steps_of_their_rule_are_counted() -> None:
    streamed = ["training.stream=2", "neuron.per_step=false", "norm.per_step=false"]
    with pytest.raises(
        RecipeError, match=r'^task.combine = "last" makes task.learn_from last, too, .* set task.learn_from: every$'
    ):
        builders.check(recipe(*streamed, "task={kind: classify, combine: last}"))
    with pytest.raises(
        RecipeError, match=r"^a stream is learned from at every step alike; set task\.learn_from: every"
    ):
        builders.check(recipe(*streamed, "task={kind: classify, combine: last, learn_from: late}"))
    builders.check(recipe(*streamed, "task={kind: classify, combine: last, learn_from: every}"))


TRACED = load_recipe("sines_dense_hdlif", ["rule={kind: forward_mode}", "neuron.per_step=false"])


def traced(**changes: Any) -> Recipe:
    sections = TRACED.model_dump()
    for key, value in changes.items():
        sections[key] = sections[key] | value if isinstance(value, dict) and "kind" not in value else value
    return Recipe.model_validate(sections)


def test_traces_are_those_of_a_whole_batch_and_shared_by_all_processes() -> None:
    """An update on a few samples of noise keeps few; numbers of 64 bits are twice as long."""
    recipe = traced(data={"batch_size": 100})
    builders.try_update(recipe)
    budget = 10**6
    for trial in (builders.try_traces, builders.try_update):
        with pytest.raises(RecipeError) as refused:
            trial(traced(data={"batch_size": 100}, rule={"kind": "forward_mode", "budget": 1}))
        said = str(refused.value)
        assert said.startswith("rule.forward_mode cannot train model.dense: forward mode keeps ")
        budget = int(said.partition("set rule.budget to ")[2].split()[0])
    exact = traced(data={"batch_size": 100}, rule={"kind": "forward_mode", "budget": budget})
    builders.try_traces(exact)
    of_three = traced(data={"batch_size": 100}, rule={"kind": "forward_mode", "budget": budget * 34 // 100})
    builders.try_traces(of_three, 3)
    with pytest.raises(RecipeError, match=r"set rule\.budget to \d+ or more"):
        builders.try_traces(of_three, 2)
    with pytest.raises(RecipeError, match=f"set rule.budget to {2 * budget} or more"):
        builders.try_traces(exact.model_copy(update={"training": traced(training={"precision": "64-true"}).training}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"neuron": {"kind": "hdlif", "mem_bn": True, "per_step": False}}, "Mem-BN couples the membranes of a batch"),
        ({"rule": {"kind": "forward_mode", "chunk": 8}, "model": {"kind": "recurrent", "widths": [8]}}, "rule.chunk"),
        ({"model": {"kind": "conv1d", "widths": [8]}, "attention": {"kind": "seca"}}, r"is fed by .* \(SECA\)"),
    ],
)
def test_networks_without_traces_are_refused(changes: dict[str, Any], message: str) -> None:
    recipe = traced(**changes)
    builders.check(recipe)
    with pytest.raises(RecipeError, match=rf"rule.forward_mode cannot train model.{recipe.model.kind}: .*{message}"):
        builders.try_traces(recipe)


def test_traces_of_a_large_network_are_counted_without_its_values() -> None:
    large = {"kind": "dense", "widths": [4096, 4096]}
    with pytest.raises(RecipeError, match=r"forward mode keeps \d+\.\d MB of traces"):
        builders.try_traces(traced(model=large))
    with pytest.raises(RecipeError, match=r"is fed by stem.conv"):
        builders.try_traces(load_recipe("digits_hdlif", ["rule={kind: forward_mode}"]))


@pytest.mark.parametrize("value", ["3", "true"])
@pytest.mark.parametrize("mem_bn", ["", ", mem_bn: true"])
def test_the_norm_of_a_neuron_is_no_key_of_a_recipe(value: str, mem_bn: str) -> None:
    keys = "granularity, leak, learned, mem_bn, parallel, path, per_step, threshold, threshold_form, time_c"
    with pytest.raises(RecipeError, match=f"neuron.norm = .* is unknown; choose one of {keys}"):
        builders.check(recipe(f"neuron={{kind: hdlif, norm: {value}{mem_bn}}}"))


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("glif", "granularity, leak, linear_leak, path, per_step, reset, surrogate, threshold"),
        (
            "graded_lif",
            "granularity, leak, learned, path, per_step, surrogate, threshold, threshold_form, .*_low, time_c.*",
        ),
        (
            "lif",
            "granularity, leak, learned, path, per_step, reset, surrogate, threshold, threshold_form, .*_low, time_c.*",
        ),
        ("parallel_hdlif", "granularity, learned, path, per_step, threshold, threshold_form"),
    ],
)
def test_an_unknown_key_of_a_neuron_is_answered_with_all_that_it_takes(kind: str, keys: str) -> None:
    with pytest.raises(RecipeError, match=f"neuron.xyz = .* is unknown; choose one of {keys}$"):
        builders.check(recipe(f"neuron={{kind: {kind}, xyz: 3}}"))


@pytest.mark.parametrize(
    ("section", "key", "whole"),
    [
        ("rule={kind: ottt, k: 1}", "rule.k", "rule={kind: ottt}"),
        ("neuron={kind: lif, parallel: alternate}", "neuron.parallel", "neuron={kind: lif}"),
        ("neuron={kind: hdlif, surrogate: atan}", "neuron.surrogate", "neuron={kind: hdlif}"),
        ("neuron={kind: hdlif, reset: hard}", "neuron.reset", "neuron={kind: hdlif}"),
        # Also where it is much like one that is taken.
        ("neuron={kind: glif, threshold_form: softplus}", "neuron.threshold_form", "neuron={kind: glif}"),
        ("model={kind: vgg_snn, stem: cifar}", "model.stem", "model={kind: vgg_snn}"),
        ("model={kind: resnet, plan: [8]}", "model.plan", "model={kind: resnet, ...}"),
        ("weights={kind: ternary, bits: 2}", "weights.bits", "weights={kind: ternary}"),
        ("spikes={kind: exact, bits: 4}", "spikes.bits", "spikes={kind: exact}"),
        ("attention={kind: none, form: II}", "attention.form", "attention={kind: none}"),
        ("attention={kind: none, bias: true}", "attention.bias", "attention={kind: none}"),
        ("activity={kind: density, sops: 1.0e6}", "activity.sops", "activity={kind: density, ...}"),
    ],
)
def test_a_key_that_another_kind_left_is_answered_with_how_to_replace_the_section(
    section: str, key: str, whole: str
) -> None:
    with pytest.raises(RecipeError, match=rf'{key} is unknown; .*: --set "{re.escape(whole)}"$'):
        builders.check(recipe(section))


@pytest.mark.parametrize(
    "override",
    [
        "neuron.leek=0.5",
        "neuron.kindd=lif",
        "neuron.foo=1",
        "neuron={kind: hdlif, mem_bn: {xyz: 2}}",
        "neuron={kind: hdlif, channels: 3}",
        "activity={kind: density, time_steps: 3}",
        "model.classes=3",
        "norm.foo=1",
        "teacher={kind: torchvision, name: resnet18, checkpoint: x, foo: 1}",
    ],
)
def test_a_key_that_no_kind_takes_is_only_unknown(override: str) -> None:
    with pytest.raises(RecipeError, match="is unknown; choose one of") as refused:
        builders.check(recipe(override))
    assert "--set" not in str(refused.value)
