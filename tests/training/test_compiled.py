"""A compiled training of a network that is large enough for kernels which the compiler cannot follow."""

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor

from hdlif import builders
from hdlif.config import load_recipe
from hdlif.training import Updater

# Sixteen channels and images enough for convolutions by tiles, and shortcuts that halve the map.
SIZE = ["model.width=16", "model.blocks=[1, 1]", "data.batch_size=16"]


def trained(*overrides: str, compiled: str | None) -> tuple[dict[str, Tensor], int]:
    """Parameters and statistics after six updates, and how many graphs these took."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    recipe = load_recipe("digits_hdlif", [*SIZE, *overrides])
    torch.manual_seed(0)
    model, rule = builders.build_model(recipe).train(), builders.build_training_rule(recipe)
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    optimizer = builders.build_optimization(recipe.training).optimizer(model)
    updater = Updater(fabric, model, optimizer, rule, compiled=compiled)
    draws = torch.Generator().manual_seed(0)
    x, target = builders.random_batch(recipe, draws)
    for _ in range(6):
        updater(x, target, rule.schedule(recipe.time_steps, draws))
    return model.state_dict(), torch._dynamo.utils.counters["stats"]["unique_graphs"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "most"),
    [
        # The first step of a sequence and the others, with and without gradients.
        ("rule={kind: stochastic_step, k: 1}", 4),
        # All steps at once.
        ("rule={kind: stbp}", 1),
    ],
)
def test_a_network_with_kernels_of_its_own_is_compiled_whole(rule: str, most: int) -> None:
    plain, none = trained(rule, compiled=None)
    traced, graphs = trained(rule, compiled="aot_eager")
    assert none == 0
    assert 0 < graphs <= most
    for name, value in plain.items():
        torch.testing.assert_close(
            traced[name], value, rtol=1e-3, atol=1e-4, msg=lambda said, name=name: f"{name}: {said}"
        )
