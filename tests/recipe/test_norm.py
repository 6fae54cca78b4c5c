"""What is behind synapses: batch norms, shared or per step, and gains without statistics."""

import pytest

from hdlif.nn import Affine, BatchNorm2d
from hdlif.recipe import builders, load_recipe
from small_recipes import built


def test_norm_per_step_is_in_the_body_and_not_in_the_stem() -> None:
    network = built("norm={kind: batch_norm, per_step: true, momentum: 0.2}")
    norms = {name: m for name, m in network.named_modules() if isinstance(m, BatchNorm2d)}
    assert {name for name, norm in norms.items() if norm.time_steps is None} == {"stem.bn"}
    assert all(norm.momentum == 0.2 for name, norm in norms.items() if name != "stem.bn")
    shared = built("norm={kind: batch_norm}")
    assert all(m.time_steps is None for m in shared.modules() if isinstance(m, BatchNorm2d))


@pytest.mark.parametrize("kind", ["dense", "recurrent", "conv1d"])
def test_norm_of_a_network_for_series_is_in_every_layer(kind: str) -> None:
    recipe = load_recipe(
        "sines_hdlif",
        ["norm={kind: affine, scale: 2.0}", f"model={{kind: {kind}, widths: [4, 5]}}", "neuron={kind: hdlif}"],
    )
    found = [module for module in builders.build_model(recipe).modules() if isinstance(module, Affine | BatchNorm2d)]
    assert [type(one) for one in found] == [Affine, Affine]
    assert [one.weight.tolist() for one in found] == [[2.0] * 4, [2.0] * 5]
