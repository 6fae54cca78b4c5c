"""Neurons by name: what each kind makes."""

import itertools

import pytest
import torch

from hdlif.functional import DetachedReset, HardReset
from hdlif.nn import GLIF, HDLIF, LIF, Dspike, GradedLIF, MemBN, ParallelHDLIF, StepValue, Temporal
from hdlif.recipe import builders
from small_recipes import built, neurons, recipe


def test_every_neuron_kind_is_made_and_runs() -> None:
    for words, kind in (
        ("{kind: lif, learned: true, reset: hard_detached}", LIF),
        ("{kind: glif, granularity: channel}", GLIF),
        ("{kind: graded_lif, surrogate: atan}", GradedLIF),
        ("{kind: hdlif, path: steps}", HDLIF),
        ("{kind: hdlif, path: fused, per_step: false}", HDLIF),
        ("{kind: parallel_hdlif, per_step: false}", ParallelHDLIF),
    ):
        network = built(f"neuron={words}")
        assert {type(neuron) for neuron in neurons(network)} == {kind}, words
        logits, _ = network(torch.zeros(1, 2, 1, 8, 8), steps=range(4))
        assert logits.shape == (4, 2, 10)


def test_a_fused_path_reaches_every_kind_and_accumulating_and_parallel_layers() -> None:
    for kind in builders.NEURONS.keys() - {"hdlif"}:
        assert {neuron.path for neuron in neurons(built(f"neuron={{kind: {kind}, path: fused}}"))} == {"fused"}
    for parallel in ("none", "alternate", "all"):
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


def test_mem_bn_is_on_every_neuron_that_accumulates() -> None:
    for words, mix in (("true", "raw"), ("{mix: sigmoid}", "sigmoid")):
        first, second, *_ = neurons(built(f"neuron={{kind: hdlif, parallel: alternate, mem_bn: {words}}}"))
        assert isinstance(first.norm, MemBN)
        assert (first.norm.mix, first.norm.channels) == (mix, 4)
        assert isinstance(second, ParallelHDLIF)
    builders.check(recipe("neuron={kind: hdlif, parallel: all, threshold: 0.6, learned: false}"))


def taus(neuron: Temporal, name: str = "leak") -> torch.Tensor:
    value = neuron.get_submodule(name)
    assert isinstance(value, StepValue)
    return (1 / (1 - value.values().detach().double()))[-1]


SPREAD = "granularity: channel, per_step: false, time_constants"


TAUS = torch.tensor([2.0, 6, 18, 54], dtype=torch.float64)


def test_time_constants_spread_the_leaks_of_every_layer() -> None:
    kinds = ("lif", "graded_lif", "hdlif", "adaptive_hdlif", "second_order_hdlif", "resonate_hdlif")
    own = '"own_neurons:AdaptiveHDLIF"', '"own_neurons:SpreadHDLIF"'
    for kind, learned in zip((*kinds, *own), itertools.cycle(("true", "false"))):
        layers = neurons(built(f"neuron={{kind: {kind}, learned: {learned}, {SPREAD}: [2, 54]}}"))
        found = [taus(layer, "decay" if kind == "resonate_hdlif" else "leak") for layer in layers]
        assert [len(one) for one in found] == [4, 4, 4, 8, 8, 16], kind
        torch.testing.assert_close(found[0], TAUS, rtol=1e-5, atol=0)


def test_time_constants_by_name_are_those_of_the_leaks_named_up_to_the_time_steps() -> None:
    words = f"neuron={{kind: adaptive_hdlif, leak: 0.25, {SPREAD}: {{adaptation_leak: true}}}}"
    first, *_ = neurons(built(words, "time_steps=16"))
    torch.testing.assert_close(taus(first)[:1], torch.tensor([4 / 3], dtype=torch.float64))
    found = taus(first, "adaptation_leak")
    torch.testing.assert_close(found, torch.tensor([2.0, 4, 8, 16], dtype=torch.float64), rtol=1e-5, atol=0)
    first, *_ = neurons(built(f'neuron={{kind: "own_neurons:Keeping", {SPREAD}: {{share: [2, 54]}}}}'))
    assert float(taus(first, "share")[-1]) == pytest.approx(54, rel=1e-5)


def test_time_constants_go_with_all_that_a_leak_does() -> None:
    for more in ("parallel: alternate", "recurrent: true", "path: fused", "path: steps", "mem_bn: true"):
        network = built(f"neuron={{kind: hdlif, {more}, {SPREAD}: [2, 54]}}")
        layers = [one for one in neurons(network) if isinstance(one, HDLIF)]
        assert layers
        assert all(float(taus(layer)[-1]) == pytest.approx(54, rel=1e-5) for layer in layers), more
