"""The kind `spiking` of the section `model`."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cases import naming
from hdlif.errors import CheckpointError, RecipeError
from hdlif.nn import HDLIF, QuantConv2d, SpikeQuantizer, Ternary
from hdlif.recipe import Recipe, builders
from hostile import one_printable_line
from small_recipes import load, neurons
from torch_networks import Residual


def recipe(*overrides: str, of: str = "torch_networks:Residual", **keys: str) -> Recipe:
    rest = "".join(f", {key}: {value}" for key, value in keys.items())
    return load(f"model={{kind: spiking, of: '{of}'{rest}}}", *overrides)


def seeded(chosen: Recipe, *, pretrained: bool = False) -> dict[str, Any]:
    torch.manual_seed(1)
    return dict(builders.build_model(chosen, pretrained=pretrained).named_modules())


def test_it_is_given_the_parts_of_the_recipe() -> None:
    chosen = recipe("weights={kind: ternary}", "spikes={kind: quantised}", options="{width: 8}")
    builders.check(chosen)
    network = builders.build_model(chosen)
    layers = neurons(network)
    assert len(layers) == 5
    assert all(isinstance(one, HDLIF) and isinstance(one.quantizer, SpikeQuantizer) for one in layers)
    modules = dict(network.named_modules())
    low_bit = [name for name, one in modules.items() if isinstance(one, QuantConv2d) and one.quantizer == Ternary()]
    assert low_bit == [f"network.blocks.{n}.conv{m}" for n in range(2) for m in (1, 2)]
    # The digits have one channel and ten classes.
    assert (modules["network.stem"].weight.shape, modules["network.fc"].out_features) == ((8, 1, 3, 3), 10)


def test_layers_that_are_quantised_by_name_keep_their_weights() -> None:
    plain, named = seeded(recipe()), seeded(recipe("weights={kind: ternary, quantise: [network.fc, network.stem]}"))
    for name in ("network.fc", "network.stem"):
        assert named[name].quantizer == Ternary()
        assert torch.equal(named[name].weight, plain[name].weight)
        assert torch.equal(named[name].bias, plain[name].bias)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_it_starts_from_the_weights_of_a_file(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(0)
    whole, path = Residual(num_classes=7), tmp_path / f"whole{suffix}"
    if suffix == ".pt":
        torch.save({"state_dict": whole.state_dict()}, path)
    else:
        save_file(whole.state_dict(), path)
    chosen = recipe(pretrained=str(path))
    builders.check(chosen)
    network, fresh = seeded(chosen, pretrained=True), seeded(chosen)
    assert torch.equal(network["network.blocks.0.conv2"].weight, whole.blocks[0].conv2.weight)
    assert not torch.equal(fresh["network.blocks.0.conv2"].weight, whole.blocks[0].conv2.weight)
    # The first convolution reads one channel, and takes the sum over the channels of the file.
    torch.testing.assert_close(network["network.stem"].weight, whole.stem.weight.sum(1, keepdim=True))
    # Of other classes, and so left out.
    assert torch.equal(network["network.fc"].weight, fresh["network.fc"].weight)


def test_a_file_of_another_network_is_refused_by_its_tensors(tmp_path: Path) -> None:
    tensors = Residual(width=8).state_dict()
    del tensors["bn.weight"]
    save_file({**tensors, "more": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(b"damaged")

    def refusal(name: str) -> str:
        with pytest.raises(CheckpointError, match=r"give model\.pretrained a state dict") as caught:
            builders.build_model(recipe(pretrained=str(tmp_path / name)), pretrained=True)
        return str(caught.value)

    assert '"bn.weight"' in refusal("other.safetensors")
    assert "is not a state dict of the network" in refusal("damaged.safetensors")
    assert "cannot be read (No such file" in refusal("absent.pt")


def own(**_: Any) -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 2, 1, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10))


def reflecting(*, classes: int, neuron: Any) -> nn.Module:
    conv = nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect")
    return nn.Sequential(conv, neuron(2), nn.Flatten(), nn.Linear(128, classes))


def nothing(**options: Any) -> Any:
    return options


def gelu(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.GELU(), nn.Flatten(), nn.Linear(128, num_classes))


def test_what_is_wrong_is_named_in_one_line() -> None:
    for keys, words in (
        ({"of": "resnet81"}, 'mean "torchvision.models:resnet18"'),
        ({"of": "torchvision.models.vgg11"}, "is not the name of a network; write torchvision.models:vgg11"),
        ({"of": "torchvision.models:resnet81"}, 'did you mean "resnet18"'),
        ({"of": "torchvison.models:vgg11"}, 'did you mean "torchvision"?'),
        ({"of": "torchvision.model:vgg11"}, 'did you mean "torchvision.models"?'),
        ({"of": "small_recipes:torch.float32"}, "it must be a class or a function"),
        ({"of": "recipe.test_spiking:nothing"}, "it must give a torch.nn.Module"),
        ({"options": "{depth: 3}"}, "it fails: TypeError: "),
        ({"options": "{num_classes: 3}"}, "model.options.num_classes is not set there"),
        ({"width": "3"}, "model.width = 3 is unknown"),
        ({"of": "recipe.test_spiking:gelu"}, "1 (GELU) has no spiking counterpart"),
        ({"of": "recipe.test_spiking:own"}, "the first convolution takes 2 channels in 2 groups, and the data has 1"),
    ):
        with naming(keys), pytest.raises(RecipeError) as caught:
            builders.check(recipe(**keys))
        assert words in one_printable_line(caught.value)
    # A layer that pads by its own values is not quantised.
    chosen = load("model={kind: 'recipe.test_spiking:reflecting'}", "weights={kind: ternary, quantise: ['*.0']}")
    with pytest.raises(RecipeError, match=r"weights.quantise: network.0 pads by 'reflect'"):
        builders.check(chosen)
