"""Every rule lowers the loss of a network whose neurons remember more than HD-LIF's."""

import pytest
import torch
import torch.nn.functional as F

from hdlif.models import Network
from hdlif.recipe import builders
from hdlif.training import sgd
from small_recipes import built, recipe

STEPS, UPDATES = 3, 8
SAMPLES = 10
"""One of each class, so that no bias lowers the loss."""


RULES = [f"kind: {kind}" for kind in ("stbp", "sltt", "sltt_k", "ottt", "ndot", "stochastic_step")] + [
    "kind: stochastic_window, length: 2"
]


def loss(net: Network, x: torch.Tensor, target: torch.Tensor) -> float:
    with torch.no_grad():
        return float(F.cross_entropy(net(x, steps=range(STEPS))[0].mean(0), target))


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        # Every kind and every rule is among the quick ones, and each kind meets half of the rules.
        pytest.param(kind, rule, marks=[] if (i + j) % 2 else pytest.mark.slow)
        for i, kind in enumerate(builders.EQUATIONS)
        for j, rule in enumerate(RULES)
    ],
)
def test_every_rule_trains_it(kind: str, rule: str) -> None:
    words = f"neuron={{kind: {kind}}}", f"rule={{{rule}}}", f"time_steps={STEPS}", "model.blocks=[1]"
    net, learning = built(*words).train(), builders.build_rule(recipe(*words))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(STEPS, SAMPLES, 1, 8, 8, generator=generator)
    target = torch.arange(SAMPLES)
    before = loss(net, x, target)
    optimizer = sgd(net, learning_rate=0.1, momentum=0.9, weight_decay=0.0)
    for _ in range(UPDATES):
        for step in learning(net, x, target, learning.schedule(STEPS, generator)):
            step.loss.backward()
            if step.update:
                optimizer.step()
                optimizer.zero_grad()
    assert loss(net, x, target) < 0.97 * before
