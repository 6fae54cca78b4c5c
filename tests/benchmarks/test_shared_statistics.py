"""Networks of the same weights with batch-norm statistics of another kind."""

import pytest
import torch

from hdlif.recipe import builders, load_recipe
from shared_statistics import with_statistics


@pytest.mark.parametrize("per_step", [True, False])
def test_weights_stay_and_statistics_are_of_the_kind_asked_for(per_step: bool) -> None:
    recipe = load_recipe("digits_hdlif", ["model.width=4", "model.blocks=[1]"])
    torch.manual_seed(0)
    network = builders.build_model(recipe)
    made = dict(with_statistics(recipe, network, per_step=per_step).state_dict())
    statistics = {name: value for name, value in made.items() if name.endswith("running_mean")}
    # The stem's are one for all steps of a still image.
    assert {value.ndim for value in statistics.values()} == ({1, 2} if per_step else {1})
    weights = dict(network.named_parameters())
    assert weights
    assert all(torch.equal(made[name], weight) for name, weight in weights.items())
