"""Quantised weights, and the layers that a recipe names otherwise."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hdlif.deploy import export
from hdlif.graph.artefact.io import load
from hdlif.nn import Integer, QuantConv1d, QuantConv2d, QuantLinear, Sequential, Ternary
from hdlif.recipe import builders, load_recipe
from hdlif.recipe.builders.layers import place_quantizers
from hdlif.runtime import Session
from small_recipes import built, recipe


def test_layers_named_keep_fp32_weights() -> None:
    network = built("weights={kind: integer, bits: 2, keep_float: ['*.shortcut.conv', body.stage1.0.conv1]}")
    quantizers = {name: m.quantizer for name, m in network.named_modules() if isinstance(m, QuantConv2d)}
    kept = {name for name, quantizer in quantizers.items() if quantizer is None}
    assert kept == {"body.stage1.0.conv1", "body.stage2.0.shortcut.conv", "body.stage3.0.shortcut.conv"}
    assert set(quantizers.values()) - {None} == {Integer(2)}


def test_layers_named_are_quantised_beside_the_body() -> None:
    plain, network = (
        built("weights={kind: ternary}"),
        built("weights={kind: ternary, quantise: [stem.conv, classifier]}"),
    )
    assert isinstance(network.stem.conv, QuantConv2d)
    assert isinstance(network.classifier, QuantLinear)
    assert network.stem.conv.quantizer == network.classifier.quantizer == Ternary()
    shapes = [{name: tensor.shape for name, tensor in n.state_dict().items()} for n in (plain, network)]
    assert shapes[0] == shapes[1]


def test_convolutions_of_sequences_are_kept_and_quantised_as_those_of_maps() -> None:
    geometry = {"stride": 2, "padding": 2, "dilation": 2, "groups": 2}
    network = Sequential(
        {
            "stem": nn.Conv1d(2, 4, 3, bias=False, **geometry),
            "body": QuantConv1d(4, 4, 3, quantizer=Ternary()),
            "other": QuantConv1d(4, 4, 1, quantizer=Ternary()),
            "maps": nn.Conv2d(2, 4, 3, bias=False),
        }
    )
    chosen = recipe("weights={kind: ternary, keep_float: [body], quantise: [stem]}")
    place_quantizers(chosen, network)  # type: ignore[arg-type]
    assert network.body.quantizer is None
    assert network.other.quantizer == Ternary()
    assert type(network.maps) is nn.Conv2d
    assert type(network.stem) is QuantConv1d
    assert network.stem.quantizer == Ternary()
    made = {name: getattr(network.stem, name) for name in geometry}
    assert made == {"stride": (2,), "padding": (2,), "dilation": (2,), "groups": 2}
    assert network.stem(torch.zeros(1, 2, 9)).shape == nn.Conv1d(2, 4, 3, **geometry)(torch.zeros(1, 2, 9)).shape


def test_vgg_snn_of_event_frames_is_deployed_with_its_first_convolution_in_one_bit(tmp_path: Path) -> None:
    small = ["model={kind: vgg_snn, plan: [8, P, 9, P], final_size: 2}", "data.size=8", "time_steps=4"]
    vgg = load_recipe("dvs_cifar10_vgg_snn_hdlif_w1", small)
    torch.manual_seed(0)
    network = builders.build_model(vgg)
    counts = torch.poisson(torch.full((4, 5, 2, 8, 8), 0.7))
    with torch.no_grad():
        # The batch norms of the deployed network are those of data.
        network.train()(counts, steps=range(4))
        expected, _ = network.eval()(counts, steps=range(4))
    path = tmp_path / "net"
    export(network, path, input=builders.input_record(vgg), labels=tuple("0123456789"), time_steps=4)
    first = next(node for node in load(path).nodes if node.name == "stem.conv1")
    assert first.attributes["encoding"] == "binary"
    np.testing.assert_allclose(Session(path).run(counts.numpy()), expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["binary", "ternary", "integer"])
def test_a_network_quantised_throughout_runs_deployed_as_in_torch(kind: str, tmp_path: Path) -> None:
    chosen = recipe(f"weights={{kind: {kind}, quantise: ['*']}}")
    torch.manual_seed(0)
    network = builders.build_model(chosen)
    images = torch.randn(1, 6, 1, 8, 8)
    with torch.no_grad():
        network.train()(images, steps=range(4))
        expected, _ = network.eval()(images, steps=range(4))
    path = tmp_path / "net"
    export(network, path, input=builders.input_record(chosen), labels=tuple("0123456789"), time_steps=4)
    np.testing.assert_allclose(Session(path).run(images.numpy()), expected, atol=1e-4)
