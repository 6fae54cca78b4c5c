"""Where an update's time goes: every layer is there, with what computes it and what it saves."""

import pytest
import torch

from hdlif.recipe import load_recipe
from hdlif.report.accounting import update_cost
from hdlif.report.peak_memory import RecipeUpdate
from hdlif.report.training_profile import PLANS, TrainingProfile, training_profile
from single_thread import one_thread  # noqa: F401 - an autouse fixture

SMALL = ["model.width=4", "data.batch_size=4"]


LOW_BIT = load_recipe("digits_hdlif_w1p5_s4", [*SMALL, "neuron.path=fused"])
PLAIN = load_recipe("digits_hdlif", [*SMALL, "neuron.path=steps"])


@pytest.fixture(scope="module")
def low_bit() -> TrainingProfile:
    return training_profile(LOW_BIT, rounds=1)


@pytest.fixture(scope="module")
def plain() -> TrainingProfile:
    return training_profile(PLAIN, rounds=1)


def test_what_computes_a_layer_is_said_and_why(low_bit: TrainingProfile, plain: TrainingProfile) -> None:
    paths = {layer.name: layer.path for layer in low_bit.layers}
    assert paths["body.stage1.0.act1"] == "fused"
    assert paths["body.stage1.0.conv1"] == "kernels for codes"
    assert paths["body.stage1.0.bn1"] == "rows that the neuron applies"
    assert paths["body.stage2.0.shortcut.conv"] == "PyTorch: what it reads is not what quantised neurons emit"
    paths = {layer.name: layer.path for layer in plain.layers}
    assert paths["body.stage1.0.conv1"] == "PyTorch: weights have more than 1.5 bits"
    assert paths["body.stage1.0.act1"] == "steps, one by one"
    wide = training_profile(load_recipe("digits_hdlif", ["model.width=16", "data.batch_size=16"]), rounds=1)
    assert {layer.name: layer.path for layer in wide.layers}[
        "body.stage1.0.conv1"
    ] == "Winograd: weights have more than 1.5 bits"


def test_times_add_up_to_that_of_the_update(low_bit: TrainingProfile) -> None:
    for layer in low_bit.layers:
        assert layer.forward_ms > 0, layer.name
        # The stem's convolution has a gradient of its weights, and a view has nothing to compute.
        assert layer.backward_ms > 0 or layer.kind == "Flatten", layer.name
    of_layers = sum(layer.forward_ms + layer.backward_ms for layer in low_bit.layers)
    rest = low_bit.weights_ms + low_bit.optimizer_ms + low_bit.other_ms + low_bit.python_ms
    assert of_layers + rest == pytest.approx(low_bit.update_ms)
    for part in (low_bit.weights_ms, low_bit.optimizer_ms, low_bit.other_ms, low_bit.python_ms):
        assert 0 < part < low_bit.update_ms
    least, most = low_bit.update_ms_range
    assert least <= low_bit.update_ms <= most


def test_saved_bytes_are_those_of_an_update(low_bit: TrainingProfile, plain: TrainingProfile) -> None:
    """Of one graph: that of a drawn step."""
    for recipe, profile in ((LOW_BIT, low_bit), (PLAIN, plain)):
        found = sum(layer.saved_bytes for layer in profile.layers)
        made = RecipeUpdate(recipe)
        x, target = torch.randn(1, 4, 1, 8, 8), torch.randint(10, (4,))
        plan = made.rule.schedule(recipe.time_steps, made.generator)
        counted = update_cost(made.model, lambda: made.update(x, target, plan), batch=[x, target]).saved_bytes  # noqa: B023
        # The loss saves a little, and is of no layer.
        assert 0.97 * counted < found <= counted


def test_rule_steps_and_batch_are_the_recipes() -> None:
    made = training_profile(load_recipe("digits_hdlif", [*SMALL, f"time_steps={2 * PLANS}"]), rounds=1)
    assert (made.rule, made.time_steps, made.batch_size) == ("StochasticStep", 2 * PLANS, 4)
