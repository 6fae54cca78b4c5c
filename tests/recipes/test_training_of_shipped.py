"""Every recipe that ships trains: two updates of each, with its own network, rule and batch size."""

import pytest
import torch

from hdlif import builders
from hdlif.config import load_recipe, shipped_recipes
from hdlif.training.optim import sgd


@pytest.mark.parametrize("name", shipped_recipes())
def test_two_updates_change_every_parameter_that_has_a_gradient_and_stay_finite(name):
    recipe = load_recipe(name)
    builders.check(recipe)
    torch.manual_seed(recipe.seed)
    model, rule = builders.build_model(recipe).train(), builders.build_rule(recipe)
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    optimizer = sgd(model, learning_rate=recipe.training.learning_rate, momentum=0.9, weight_decay=0.0)
    kind, generator = builders.DATA[recipe.data.kind], torch.Generator().manual_seed(0)
    batch = min(recipe.data.batch_size, 16)
    for _ in range(2):
        x = torch.randn(1, batch, *builders.input_record(recipe).shape, generator=generator)
        target = torch.randint(len(kind.labels), (batch,), generator=generator)
        plan = rule.schedule(recipe.time_steps, generator)
        for step in rule(model, x, target, plan):
            assert step.loss.isfinite()
            step.loss.backward()
            if step.update:
                optimizer.step()
                optimizer.zero_grad()
    for key, parameter in model.named_parameters():
        assert parameter.isfinite().all()
        # A neuron's first leak multiplies a potential of zero, and later steps may not have been drawn.
        assert key.endswith("logit") or not torch.equal(parameter, before[key])
