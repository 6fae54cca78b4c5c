"""Traces of a rule, counted before a training."""

from typing import Any

import pytest

from hdlif.errors import RecipeError
from hdlif.recipe import Recipe, builders, load_recipe

TRACED = load_recipe("sines_dense_hdlif", ["rule={kind: forward_mode}", "neuron.per_step=false"])


def traced(**changes: Any) -> Recipe:
    sections = TRACED.model_dump()
    for key, value in changes.items():
        sections[key] = sections[key] | value if isinstance(value, dict) and "kind" not in value else value
    return Recipe.model_validate(sections)


def test_traces_are_those_of_a_whole_batch_and_shared_by_all_processes() -> None:
    """An update on a few samples of noise keeps few; numbers of 64 bits are twice as long."""
    recipe = traced(data={"batch_size": 100})
    builders.try_update(recipe)
    budget = 10**6
    for trial in (builders.try_traces, builders.try_update):
        with pytest.raises(RecipeError) as refused:
            trial(traced(data={"batch_size": 100}, rule={"kind": "forward_mode", "budget": 1}))
        said = str(refused.value)
        assert said.startswith("rule.forward_mode cannot train model.dense: forward mode keeps ")
        budget = int(said.partition("set rule.budget to ")[2].split()[0])
    exact = traced(data={"batch_size": 100}, rule={"kind": "forward_mode", "budget": budget})
    builders.try_traces(exact)
    of_three = traced(data={"batch_size": 100}, rule={"kind": "forward_mode", "budget": budget * 34 // 100})
    builders.try_traces(of_three, 3)
    with pytest.raises(RecipeError, match=r"set rule\.budget to \d+ or more"):
        builders.try_traces(of_three, 2)
    with pytest.raises(RecipeError, match=f"set rule.budget to {2 * budget} or more"):
        builders.try_traces(exact.model_copy(update={"training": traced(training={"precision": "64-true"}).training}))


def test_networks_without_traces_are_refused_before_their_values_are_made() -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"neuron": {"kind": "hdlif", "mem_bn": True, "per_step": False}}, "Mem-BN couples the membranes of a batch"),
        ({"rule": {"kind": "forward_mode", "chunk": 8}, "model": {"kind": "recurrent", "widths": [8]}}, "rule.chunk"),
        ({"model": {"kind": "conv1d", "widths": [8]}, "attention": {"kind": "seca"}}, r"is fed by .* \(SECA\)"),
        ({"model": {"kind": "dense", "widths": [4096, 4096]}}, r"forward mode keeps \d+\.\d MB of traces"),
    ]
    for changes, message in refused:
        recipe = traced(**changes)
        with pytest.raises(
            RecipeError, match=rf"rule.forward_mode cannot train model.{recipe.model.kind}: .*{message}"
        ):
            builders.try_traces(recipe)
