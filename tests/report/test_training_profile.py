"""The cost of an update, by hand on small graphs, and the profile of where its time goes."""

import pytest
import torch
from torch import nn

from hdlif.nn import ParallelHDLIF
from hdlif.recipe import Recipe, load_recipe
from hdlif.report.accounting import update_cost, watching_saved
from hdlif.report.recipe_update import RecipeUpdate
from hdlif.report.training_profile import PLANS, TrainingProfile, training_profile
from single_thread import one_thread  # noqa: F401 - an autouse fixture

SMALL = ["model.width=4", "data.batch_size=4"]
LOW_BIT = load_recipe("digits_hdlif_w1p5_s4", [*SMALL, "model.blocks=[1, 1]", "neuron.path=fused"])
PLAIN = load_recipe("digits_hdlif", [*SMALL, "model.blocks=[1]", "neuron.path=steps", f"time_steps={2 * PLANS}"])
WIDE = load_recipe("digits_hdlif", ["model.width=16", "model.blocks=[1]", "data.batch_size=16"])


@pytest.fixture(scope="module")
def profiles() -> list[tuple[Recipe, TrainingProfile]]:
    return [(recipe, training_profile(recipe, rounds=1)) for recipe in (LOW_BIT, PLAIN, WIDE)]


def test_what_computes_a_layer_is_said_and_why(profiles: list[tuple[Recipe, TrainingProfile]]) -> None:
    low_bit, plain, wide = ({layer.name: layer.path for layer in made.layers} for _, made in profiles)
    assert low_bit["body.stage1.0.act1"] == "fused"
    assert low_bit["body.stage1.0.conv1"] == "kernels for codes"
    assert low_bit["body.stage1.0.bn1"] == "rows that the neuron applies"
    assert low_bit["body.stage2.0.shortcut.conv"] == "PyTorch: its input does not come from quantised neurons"
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
    recipe, profile = profiles[0]
    steps, batch = recipe.time_steps, recipe.data.batch_size
    assert (profile.rule, profile.time_steps, profile.batch_size) == ("StochasticStep", steps, batch)
    made = RecipeUpdate(recipe)
    x, target = torch.randn(1, batch, 1, 8, 8), torch.randint(10, (batch,))
    plan = made.rule.schedule(steps, made.generator)
    counted = update_cost(made.model, lambda: made.update(x, target, plan), batch=[x, target]).saved_bytes
    # Of one graph, that of a drawn step. The loss saves a little, and is of no layer.
    assert 0.97 * counted < sum(layer.saved_bytes for layer in profile.layers) <= counted


def test_steps_are_counted_as_they_run_and_as_gradients_come_back() -> None:
    neuron, x = ParallelHDLIF(4), torch.rand(3, 2, 5)

    def update() -> None:
        with torch.no_grad():
            neuron(x[:1], None, range(1))
        spikes, _ = neuron(x[1:], None, range(1, 3))
        spikes.sum().backward()
        neuron(x, None, range(3))

    found = update_cost(neuron, update, batch=[x])
    assert (found.forward_steps, found.backward_steps) == (1 + 2 + 3, 2)
    with pytest.raises(ZeroDivisionError):
        update_cost(neuron, lambda: 1 / 0)
    assert not neuron._forward_hooks
    with pytest.raises(ValueError, match="no neuron layer"):
        update_cost(nn.Linear(2, 2), lambda: None)


def test_saved_bytes_fall_as_graphs_go_and_the_peak_stays() -> None:
    x = torch.rand(10, requires_grad=True)
    with watching_saved([]) as saved:
        first = x.exp()  # saves its own 40 bytes
        second = first.exp()  # and another 40
        assert saved.now == 80
        second.sum().backward()
        assert (saved.now, saved.peak) == (0, 80)
        third = x.exp()
        assert (saved.now, saved.peak) == (40, 80)
        del third
        assert saved.now == 0


def test_a_storage_counts_once_and_what_lies_apart_not_at_all() -> None:
    a, b = torch.rand(8, requires_grad=True), torch.rand(8, requires_grad=True)
    with watching_saved([b]) as saved:
        product = a * b + a[:4].repeat(2) * a  # a twice, and its first half repeated
        assert saved.now == 32 + 32
        product.sum().backward()
    assert saved.now == 0
