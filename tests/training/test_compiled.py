"""A compiled training of networks that are large enough for kernels which the compiler cannot follow."""

import pytest
import torch
from torch import Tensor

from hdlif.recipe import builders, load_recipe
from hdlif.training import Accelerator, Updater

# Images enough for convolutions by tiles; the networks that ship have channels enough, and shortcuts that halve maps.
BATCH = 16


def trained(name: str, *overrides: str, compiled: str | None) -> tuple[dict[str, Tensor], int]:
    """Parameters and statistics after six updates, and how many graphs these took."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    recipe = load_recipe(name, [f"data.batch_size={BATCH}", *overrides])
    torch.manual_seed(0)
    model, rule = builders.build_model(recipe).train(), builders.build_training_rule(recipe)
    accelerator = Accelerator("cpu", "32-true")
    optimizer = builders.build_optimization(recipe.training).make_optimizer(model)
    is_last = recipe.training.channels_last
    updater = Updater(accelerator, model, optimizer, rule, compiled=compiled, channels_last=is_last)
    draws = torch.Generator().manual_seed(0)
    x, target = builders.random_batch(recipe, draws)
    for _ in range(6):
        updater(x, target, rule.schedule(recipe.time_steps, draws))
    return model.state_dict(), torch._dynamo.utils.counters["stats"]["unique_graphs"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "most"),
    [
        # The first step of a sequence and the others, with and without gradients.
        (["digits_hdlif"], 4),
        (["digits_hdlif", "training.channels_last=true"], 4),
        (["digits_hdlif_w1p5_s4_parallel"], 4),
        (["digits_rows_recurrent_hdlif"], 4),
        # All steps at once.
        (["digits_hdlif", "rule={kind: stbp}"], 1),
        # Several updates from one pass.
        (["digits_hdlif", "rule={kind: sltt, update: each}"], 4),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else None,
)
def test_a_network_with_kernels_of_its_own_is_compiled_whole(words: list[str], most: int) -> None:
    plain, none = trained(*words, compiled=None)
    traced, graphs = trained(*words, compiled="aot_eager")
    assert none == 0
    assert 0 < graphs <= most
    for name, value in plain.items():
        # Kernels round otherwise, and what is next to a threshold may fall to its other side.
        torch.testing.assert_close(traced[name], value, rtol=1e-2, atol=2e-3, msg=name)
