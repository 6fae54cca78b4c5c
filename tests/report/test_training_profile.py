"""Where an update's time goes: every layer is there, with what computes it and what it saves."""

import pytest
import torch

from hdlif.recipe import Recipe, load_recipe
from hdlif.report.accounting import update_cost
from hdlif.report.recipe_update import RecipeUpdate
from hdlif.report.training_profile import PLANS, TrainingProfile, training_profile
from single_thread import one_thread  # noqa: F401 - an autouse fixture

SMALL = ["model.width=4", "data.batch_size=4"]
LOW_BIT = load_recipe("digits_hdlif_w1p5_s4", [*SMALL, "neuron.path=fused"])
PLAIN = load_recipe("digits_hdlif", [*SMALL, "neuron.path=steps", f"time_steps={2 * PLANS}"])
WIDE = load_recipe("digits_hdlif", ["model.width=16", "data.batch_size=16"])


@pytest.fixture(scope="module")
def profiles() -> list[tuple[Recipe, TrainingProfile]]:
    return [(recipe, training_profile(recipe, rounds=1)) for recipe in (LOW_BIT, PLAIN, WIDE)]


def test_what_computes_a_layer_is_said_and_why(profiles: list[tuple[Recipe, TrainingProfile]]) -> None:
    low_bit, plain, wide = ({layer.name: layer.path for layer in made.layers} for _, made in profiles)
    assert low_bit["body.stage1.0.act1"] == "fused"
    assert low_bit["body.stage1.0.conv1"] == "kernels for codes"
    assert low_bit["body.stage1.0.bn1"] == "rows that the neuron applies"
    assert low_bit["body.stage2.0.shortcut.conv"] == "PyTorch: what it reads is not what quantised neurons emit"
    assert plain["body.stage1.0.conv1"] == "PyTorch: weights have more than 1.5 bits"
    assert plain["body.stage1.0.act1"] == "steps, one by one"
    assert wide["body.stage1.0.conv1"] == "Winograd: weights have more than 1.5 bits"


def test_times_add_up_to_that_of_the_update(profiles: list[tuple[Recipe, TrainingProfile]]) -> None:
    _, made = profiles[0]
    for layer in made.layers:
        assert layer.forward_ms > 0, layer.name
        # The stem's convolution has a gradient of its weights, and a view has nothing to compute.
        assert layer.backward_ms > 0 or layer.kind == "Flatten", layer.name
    of_layers = sum(layer.forward_ms + layer.backward_ms for layer in made.layers)
    others = (made.weights_ms, made.optimizer_ms, made.other_ms, made.python_ms)
    assert of_layers + sum(others) == pytest.approx(made.update_ms)
    assert 0 < min(others) <= max(others) < made.update_ms
    least, most = made.update_ms_range
    assert least <= made.update_ms <= most


def test_rule_steps_batch_and_saved_bytes_are_the_recipes(profiles: list[tuple[Recipe, TrainingProfile]]) -> None:
    for recipe, profile in profiles[:2]:
        steps, batch = recipe.time_steps, recipe.data.batch_size
        assert (profile.rule, profile.time_steps, profile.batch_size) == ("StochasticStep", steps, batch)
        made = RecipeUpdate(recipe)
        x, target = torch.randn(1, batch, 1, 8, 8), torch.randint(10, (batch,))
        plan = made.rule.schedule(steps, made.generator)
        counted = update_cost(made.model, lambda: made.update(x, target, plan), batch=[x, target]).saved_bytes  # noqa: B023
        # Of one graph, that of a drawn step. The loss saves a little, and is of no layer.
        assert 0.97 * counted < sum(layer.saved_bytes for layer in profile.layers) <= counted
