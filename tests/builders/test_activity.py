"""Penalties on activity."""

import pytest

from hdlif import builders
from hdlif.errors import RecipeError
from hdlif.training.activity import Budget, Density, Surplus
from small_recipes import recipe


def test_penalties_are_made_with_their_arguments() -> None:
    assert builders.build_penalty(recipe()) is None
    assert builders.build_penalty(recipe("activity={kind: surplus, weight: 0.1}")) == Surplus(0.1)
    assert builders.build_penalty(recipe("activity={kind: density, target: 0.1}")) == Density(0.1)
    assert builders.build_penalty(recipe("activity={kind: sops, sops: 1.0e6}")) == Budget(1e6, 4)


def test_budget_of_operations_refuses_traced_synapses() -> None:
    with pytest.raises(RecipeError, match=r'activity.kind = "sops" does not go with rule.kind = "ottt"'):
        builders.check(recipe("activity={kind: sops, sops: 1.0e6}", "rule={kind: ottt}"))
