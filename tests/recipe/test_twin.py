"""The ordinary twin of a recipe: the same layers, ReLU, one pass."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from command_line import hdlif
from hdlif.errors import RecipeError
from hdlif.nn import Neuron
from hdlif.recipe import builders, load_recipe
from hdlif.recipe.builders import Twin, twin_of

LOW_BIT = load_recipe("digits_hdlif_w1p5_s4", ["attention={kind: seca, per_step: true}"])


@pytest.mark.parametrize(
    ("form", "activation"),
    [("ordinary", torch.relu), ("low-bit", lambda m: (torch.relu(m) / 0.25 + 0.5).floor().clamp(0, 15) * 0.25)],
)
def test_neurons_are_relu_and_layers_the_recipe_s(form: Twin, activation: Callable[[Tensor], Tensor]) -> None:
    twin = twin_of(LOW_BIT, form)
    network, spiking = builders.build_model(twin), builders.build_model(LOW_BIT)
    seen = []

    def compare(module: nn.Module, inputs: tuple[Tensor, ...], output: tuple[Tensor, object]) -> None:
        torch.testing.assert_close(output[0], activation(inputs[0]))
        seen.append(module)

    for module in network.modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(compare)
    network(torch.randn(1, 8, *builders.input_record(twin).shape), steps=range(1))
    assert len(seen) == sum(isinstance(module, Neuron) for module in spiking.modules())
    assert (twin.weights == LOW_BIT.weights) == (form == "low-bit")
    assert (twin.training, twin.data) == (LOW_BIT.training, LOW_BIT.data)


def test_a_twin_is_trained_by_its_own_full_recipe(tmp_path: Path) -> None:
    settings = [f"--set={one}" for one in ("model.width=4", "model.blocks=[1]", "training.epochs=1", "data.train=64")]
    done = hdlif(
        "train", "digits_hdlif", "--twin", "ordinary", *settings, "--memory-repeats", 0, "--out", tmp_path / "r"
    )
    assert done.returncode == 0, done.stderr
    written = load_recipe(tmp_path / "r/recipe.yaml")
    assert written == twin_of(load_recipe("digits_hdlif", [one.removeprefix("--set=") for one in settings]), "ordinary")
    assert (written.name, written.time_steps) == ("digits_hdlif_ordinary", 1)


@pytest.mark.parametrize(
    ("name", "form", "message"),
    [("hapt_hdlif", "ordinary", "changes over time"), ("digits_hdlif", "low-bit", "no low bits")],
)
def test_a_recipe_without_such_a_twin_is_refused(name: str, form: Twin, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        twin_of(load_recipe(name), form)
