"""Neurons by name: what each kind makes."""

import pytest
import torch

from hdlif.errors import RecipeError
from hdlif.functional import DetachedReset, HardReset
from hdlif.nn import GLIF, HDLIF, LIF, Dspike, GradedLIF, MemBN, ParallelHDLIF, StepValue, Temporal
from hdlif.recipe import builders
from small_recipes import built, neurons, recipe


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("{kind: lif, learned: true, reset: hard_detached}", LIF),
        ("{kind: glif, granularity: channel}", GLIF),
        ("{kind: graded_lif, surrogate: atan}", GradedLIF),
        ("{kind: hdlif, path: steps}", HDLIF),
        ("{kind: hdlif, path: fused, per_step: false}", HDLIF),
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
    plain = built(f"neuron={{kind: hdlif, parallel: {parallel}, path: steps}}", "spikes={kind: quantised}")
    assert {neuron.path for neuron in neurons(plain)} == {"steps"}
    assert {neuron.path for neuron in neurons(network)} == {"fused"}
    plain.load_state_dict(network.state_dict())
    x = torch.randn(1, 2, 1, 8, 8)
    (found, _), (expected, _) = (one(x, steps=range(4)) for one in (network, plain))
    assert torch.equal(found, expected)


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


@pytest.mark.parametrize(("key", "value"), [("leak", "0.5"), ("mem_bn", "true")])
def test_arguments_of_accumulation_are_refused_where_nothing_accumulates(key: str, value: str) -> None:
    with pytest.raises(RecipeError, match=f'neuron.{key} has no effect with neuron.parallel = "all"'):
        builders.check(recipe(f"neuron={{kind: hdlif, parallel: all, {key}: {value}}}"))
    builders.check(recipe("neuron={kind: hdlif, parallel: all, threshold: 0.6, learned: false}"))


def taus(neuron: Temporal, name: str = "leak") -> torch.Tensor:
    value = neuron.get_submodule(name)
    assert isinstance(value, StepValue)
    return (1 / (1 - value.values().detach().double()))[-1]


SPREAD = "granularity: channel, per_step: false, time_constants"


@pytest.mark.parametrize(
    "kind",
    [
        *("lif", "graded_lif", "hdlif", "adaptive_hdlif", "second_order_hdlif"),
        *('"own_neurons:AdaptiveHDLIF"', '"own_neurons:SpreadHDLIF"'),
    ],
)
@pytest.mark.parametrize("learned", ["true", "false"])
def test_time_constants_spread_the_leaks_of_every_layer(kind: str, learned: str) -> None:
    layers = neurons(built(f"neuron={{kind: {kind}, learned: {learned}, {SPREAD}: [2, 54]}}"))
    assert [len(taus(layer)) for layer in layers] == [4, 4, 4, 8, 8, 16]
    torch.testing.assert_close(taus(layers[0]), torch.tensor([2.0, 6, 18, 54], dtype=torch.float64), rtol=1e-5, atol=0)


def test_time_constants_of_a_neuron_without_a_leak_are_those_of_its_decay() -> None:
    first, *_ = neurons(built(f"neuron={{kind: resonate_hdlif, {SPREAD}: [2, 54]}}"))
    torch.testing.assert_close(
        taus(first, "decay"), torch.tensor([2.0, 6, 18, 54], dtype=torch.float64), rtol=1e-5, atol=0
    )


def test_time_constants_by_name_are_those_of_the_leaks_named_up_to_the_time_steps() -> None:
    words = f"neuron={{kind: adaptive_hdlif, leak: 0.25, {SPREAD}: {{adaptation_leak: true}}}}"
    first, *_ = neurons(built(words, "time_steps=16"))
    torch.testing.assert_close(taus(first)[:1], torch.tensor([4 / 3], dtype=torch.float64))
    found = taus(first, "adaptation_leak")
    torch.testing.assert_close(found, torch.tensor([2.0, 4, 8, 16], dtype=torch.float64), rtol=1e-5, atol=0)


def test_time_constants_of_a_parameter_of_one_s_own_are_given_by_its_name() -> None:
    first, *_ = neurons(built(f'neuron={{kind: "own_neurons:Keeping", {SPREAD}: {{share: [2, 54]}}}}'))
    assert float(taus(first, "share")[-1]) == pytest.approx(54, rel=1e-5)
    with pytest.raises(
        RecipeError, match=r"has no parameter leak or decay; name .* as time_constants: {share: \[2, 54\]}"
    ):
        built(f'neuron={{kind: "own_neurons:Keeping", {SPREAD}: [2, 54]}}')


@pytest.mark.parametrize(
    "more", ["parallel: alternate", "recurrent: true", "path: fused", "path: steps", "mem_bn: true"]
)
def test_time_constants_go_with_all_that_a_leak_does(more: str) -> None:
    layers = [n for n in neurons(built(f"neuron={{kind: hdlif, {more}, {SPREAD}: [2, 54]}}")) if isinstance(n, HDLIF)]
    assert layers
    assert all(float(taus(layer)[-1]) == pytest.approx(54, rel=1e-5) for layer in layers)
