"""Networks of neurons that take their chunks in one function, under each rule, beside the same taken step by step."""

import pytest
import torch
from torch import Tensor

from hdlif.recipe import builders
from small_recipes import built, recipe

STEPS = 3
RULES = ["kind: stbp", "kind: sltt", "kind: ottt", "kind: ndot, update: each", "kind: stochastic_step, k: 2"]
RULES += ["kind: stochastic_window, length: 2"]
NEURONS = ["kind: adaptive_hdlif", "kind: glif", "kind: hdlif, parallel: alternate", "kind: lif, recurrent: true"]


def gradients(neuron: str, rule: str, *words: str) -> list[Tensor]:
    """Of all parameters, and the logits."""
    chosen = [f"neuron={{{neuron}}}", f"rule={{{rule}}}", f"time_steps={STEPS}", *words]
    network = built(*chosen).double().train()
    made = builders.build_rule(recipe(*chosen))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 3, 1, 8, 8, generator=generator, dtype=torch.float64)
    found = []
    for step in made(network, x, torch.tensor([0, 1, 2]), made.schedule(STEPS, generator)):
        step.loss.backward()
        found.append(step.logits)
    return [*found, *(p.grad for p in network.parameters() if p.grad is not None)]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("neuron", NEURONS)
def test_every_rule_learns_by_the_gradients_of_the_steps(neuron: str, rule: str) -> None:
    words = ["model.blocks=[1]"]
    found, expected = (gradients(f"{neuron}, path: {path}", rule, *words) for path in ("fused", "steps"))
    for mine, its in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, its, atol=1e-10, rtol=1e-10)


def test_modules_that_run_again_in_the_backward_pass_have_the_same_gradients() -> None:
    words = ["model={kind: reversible_resnet, blocks: [2], width: 4}"]
    found, expected = (
        gradients("kind: adaptive_hdlif" + path, "kind: stbp", *words) for path in (", path: fused", ", path: steps")
    )
    for mine, its in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, its, atol=1e-9, rtol=1e-9)
