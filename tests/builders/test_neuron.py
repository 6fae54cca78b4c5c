"""Neurons by name: what each kind makes."""

import pytest
import torch

from hdlif import builders
from hdlif.errors import RecipeError
from hdlif.functional import DetachedReset, HardReset
from hdlif.nn import GLIF, HDLIF, LIF, Dspike, GradedLIF, MemBN, ParallelHDLIF, Temporal
from small_recipes import built, neurons, recipe


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


def test_threshold_form_reaches_accumulating_and_parallel_layers() -> None:
    made = neurons(built("neuron={kind: hdlif, parallel: alternate, threshold: 1.5, threshold_form: softplus}"))
    assert {type(neuron) for neuron in made} == {HDLIF, ParallelHDLIF}
    assert {neuron.threshold.form for neuron in made} == {"softplus"}


@pytest.mark.parametrize("kind", [kind for kind in builders.NEURONS if kind != "hdlif"])
def test_every_kind_runs_its_chunks_in_one_function_where_the_recipe_says_so(kind: str) -> None:
    assert {neuron.path for neuron in neurons(built(f"neuron={{kind: {kind}, path: fused}}"))} == {"fused"}


@pytest.mark.parametrize("parallel", ["none", "alternate", "all"])
def test_a_fused_path_reaches_accumulating_and_parallel_layers(parallel: str) -> None:
    network = built(f"neuron={{kind: hdlif, parallel: {parallel}, path: fused}}", "spikes={kind: quantised}")
    plain = built(f"neuron={{kind: hdlif, parallel: {parallel}}}", "spikes={kind: quantised}")
    assert {neuron.path for neuron in neurons(network)} == {"fused"}
    plain.load_state_dict(network.state_dict())
    x = torch.randn(1, 2, 1, 8, 8)
    (found, _), (expected, _) = (one(x, steps=range(4)) for one in (network, plain))
    assert torch.equal(found, expected)


@pytest.mark.parametrize("words", ["{kind: hdlif, mem_bn: true, path: fused}", "{kind: hdlif, path: fuse}"])
def test_a_path_that_does_not_go_is_refused(words: str) -> None:
    with pytest.raises(RecipeError, match="path"):
        built(f"neuron={words}")


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


@pytest.mark.parametrize("kind", ["lif", "glif"])
def test_binary_neurons_refuse_quantised_spikes(kind: str) -> None:
    with pytest.raises(RecipeError, match=f'does not go with neuron.kind = "{kind}", whose spikes are binary'):
        builders.check(recipe(f"neuron={{kind: {kind}}}", "spikes={kind: quantised}"))


@pytest.mark.parametrize(("key", "value"), [("leak", "0.5"), ("path", "bits"), ("mem_bn", "true")])
def test_arguments_of_accumulation_are_refused_where_nothing_accumulates(key: str, value: str) -> None:
    with pytest.raises(RecipeError, match=f'neuron.{key} has no effect with neuron.parallel = "all"'):
        builders.check(recipe(f"neuron={{kind: hdlif, parallel: all, {key}: {value}}}"))
    builders.check(recipe("neuron={kind: hdlif, parallel: all, threshold: 0.6, learned: false}"))
