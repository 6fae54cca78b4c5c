"""Networks of one's own in recipes, by the name of their class or function."""

from itertools import product

import pytest
import torch

from hdlif.errors import RecipeError
from hdlif.nn import QuantConv2d, SpikeQuantizer
from hdlif.recipe import builders
from hostile import one_printable_line
from small_recipes import load, neurons

RULES = ("stbp", "sltt", "ottt", "ndot", "stochastic_step", "stochastic_window, length: 2")


def own(name: str, *overrides: str, **arguments: object) -> object:
    text = "".join(f", {key}: {value}" for key, value in arguments.items())
    return load(f'model={{kind: "own_models:{name}"{text}}}', *overrides)


def test_it_trains_under_every_rule() -> None:
    for name, rule in product(("tiny", "Branched"), RULES):
        recipe = own(name, f"rule={{kind: {rule}}}")
        builders.check(recipe)
        torch.manual_seed(0)
        network = builders.build_model(recipe)
        chosen = builders.build_rule(recipe)
        x, target = builders.random_batch(recipe, torch.Generator().manual_seed(0))
        plan = chosen.schedule(recipe.time_steps, torch.Generator().manual_seed(0))
        for step in chosen(network, x, target, plan):
            step.loss.backward()
        weights = [value for value in network.parameters() if value.ndim > 1]
        assert all(value.grad is not None and value.grad.any() for value in weights), (name, rule)


def test_it_is_given_the_parts_that_it_takes() -> None:
    recipe = own("Branched", "weights={kind: ternary}", "spikes={kind: quantised, bits: 4, step: 0.25}", width=6)
    network = builders.build_model(recipe)
    layers = neurons(network)
    assert [layer.leak.channels for layer in layers] == [None, None]
    assert all(isinstance(layer.quantizer, SpikeQuantizer) for layer in layers)
    low_bit = [name for name, one in network.named_modules() if isinstance(one, QuantConv2d) and one.quantizer]
    assert low_bit == ["network.left.0", "network.right.0"]
    assert network.network.out.in_features == 2 * 6 * 64


def test_what_is_no_network_is_refused_in_one_line() -> None:
    for name, words in (
        ("Missing", "own_models has no Missing; it has "),
        ("NOT_A_NETWORK", "it must be a class or a function"),
        ("a_tensor", "Tensor is not a network over time; give a Sequential"),
        ("no_logits", "Sequential gives [1, 1, 3, 6, 6]; a network gives logits"),
        ("other_classes", "gives 3 outputs, and digits has 10 classes"),
        ("residual", "Residual holds HDLIF, which knows time, and does not itself; derive Residual from"),
        ("shared", "has one parameter at two places, network.1.leak"),
        ("Forgets", "gives other logits for two steps at once than for one after the other; give back run.state"),
        ("Nothing", "does not run: TypeError: "),
        ("Typo", "does not run: AttributeError: Typo has no attribute"),
        ("needs_more", "model.depth is missing; give it a value"),
        ('tiny", widht: "4', 'model.widht = "4" is unknown; choose one of width (did you mean'),
    ):
        with pytest.raises(RecipeError) as caught:
            builders.check(own(name))
        assert words in one_printable_line(caught.value)
    named = "neuron={kind: hdlif, parallel: [network.act2]}"
    with pytest.raises(RecipeError, match=r"neuron.parallel: 'network.act2' was made by its channels"):
        builders.check(own("Branched", named))
