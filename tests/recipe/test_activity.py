"""Penalties on activity."""

import pytest

from hdlif.errors import RecipeError
from hdlif.recipe import builders
from hdlif.training.activity import Budget, Density, Surplus
from small_recipes import recipe


def test_penalties_are_made_with_their_arguments() -> None:
    assert builders.build_penalty(recipe()) is None
    assert builders.build_penalty(recipe("activity={kind: surplus, weight: 0.1}")) == Surplus(0.1)
    assert builders.build_penalty(recipe("activity={kind: density, target: 0.1}")) == Density(0.1)
    assert builders.build_penalty(recipe("activity={kind: sops, sops: 1.0e6}")) == Budget(1e6, 4)


def test_budgets_of_layers_name_layers_of_the_network() -> None:
    words = "activity={kind: sops, sops: {body.stage1.0.conv1: 1.0e4, body.stage2.0.conv2: 5.0e3}}"
    assert builders.build_penalty(recipe(words)) == Budget({"body.stage1.0.conv1": 1e4, "body.stage2.0.conv2": 5e3}, 4)
    builders.check(recipe(words))
    with pytest.raises(
        RecipeError,
        match=r"activity.sops: 'body.stage1.0.act1' is not a layer of the body; choose one of body.stage1.0.conv1",
    ):
        builders.check(recipe("activity={kind: sops, sops: {body.stage1.0.act1: 1.0e4}}"))
    with pytest.raises(RecipeError, match="a budget is above 0"):
        builders.build_penalty(recipe("activity={kind: sops, sops: {}}"))
