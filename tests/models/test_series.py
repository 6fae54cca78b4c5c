"""Networks for series: what a layer reads, chunks, the rules, and the deployed form."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from cases import every, naming
from hdlif.deploy import lower
from hdlif.errors import RecipeError
from hdlif.graph.artefact import InputRecord
from hdlif.models import Network, conv1d, dense, led_back, recurrent
from hdlif.nn import HDLIF, SECA, Affine, QuantConv2d, Recurrent
from hdlif.recipe import builders, load_recipe
from hdlif.runtime import Session
from same_bits import assert_same_bits
from small_networks import scatter_norms

T, C = 6, 3
RECORD = InputRecord((C, 1, 1), (0.0,) * C, (1.0,) * C, kind="series", resize="none", frames="rows")


def made(build: Any, **arguments: Any) -> Network:
    torch.manual_seed(0)
    given = {"in_channels": C, "widths": (5, 6), **arguments}
    network = build(neuron=lambda place: HDLIF(T), classes=4, **given)
    scatter_norms(network)
    for module in network.modules():
        if isinstance(module, Affine):
            torch.nn.init.uniform_(module.weight, 0.5, 2)
            torch.nn.init.normal_(module.bias)
    return network.eval()


def logits(network: Network, x: torch.Tensor) -> torch.Tensor:
    return network(x, steps=range(len(x)))[0].detach()


def test_a_kernel_of_one_is_a_fully_connected_network() -> None:
    x = torch.randn(T, 2, C, 1, 1)
    assert torch.equal(logits(made(conv1d, kernel=1), x), logits(made(dense), x))


@every(build=[dense, recurrent, partial(conv1d, kernel=3, changes=True)])
def test_pictures_are_read_as_the_channels_of_one_pixel(build: Any) -> None:
    """A kernel as large as the picture multiplies by the same matrix, channel by channel and pixel by pixel."""
    x = torch.randn(T, 2, C, 2, 4)
    flat = x.flatten(2)[..., None, None]
    network, of_pixels = made(build, in_size=(2, 4)), made(build, in_channels=8 * C)
    for name, value in of_pixels.state_dict().items():
        if "compand" not in name:  # which channels are, is for all pixels of a channel
            value.copy_(network.state_dict()[name].reshape(value.shape))
    torch.testing.assert_close(logits(network, x), logits(of_pixels, flat))
    record = InputRecord((C, 2, 4), (0.0,) * C, (1.0,) * C, kind="events", resize="none")
    graph = lower(network, time_steps=T, input=record, labels=tuple("abcd"))
    assert_same_bits(graph, x.numpy())
    np.testing.assert_allclose(Session(graph).run(x.numpy()), logits(network, x).numpy(), rtol=1e-4, atol=1e-4)


def test_a_convolution_reads_nothing_later_and_as_far_back_as_its_kernel() -> None:
    """Without a leak neurons remember nothing: two layers of kernel 3, their taps 1 and 2 apart, reach 6 steps back."""
    steps = 10
    torch.manual_seed(0)
    network = conv1d(
        neuron=lambda place: HDLIF(steps, leak=0.0, threshold=1e-3, learned=False),
        classes=4,
        in_channels=C,
        widths=(16, 16),
        kernel=3,
        dilations=(1, 2),
    ).eval()
    x = torch.randn(steps, 1, C, 1, 1)
    before = logits(network, x)
    x[2] += 1
    changed = (logits(network, x) != before).any(2)[:, 0].tolist()
    assert changed == [2 <= t <= 2 + 6 for t in range(steps)]


@every(
    "build",
    "arguments",
    of=[
        (conv1d, {"dilations": (1, 2)}),
        (conv1d, {"companded": (0, 2)}),
        (conv1d, {"companded": (1,), "changes": True}),
        (conv1d, {"attention": partial(SECA, time_steps=T)}),
        (dense, {}),
        (dense, {"norm": Affine}),
        (recurrent, {"attention": SECA}),
    ],
)
def test_chunks_equal_the_whole_and_the_deployed_network(build: Any, arguments: dict[str, Any]) -> None:
    network, x = made(build, **arguments), torch.randn(T, 2, C, 1, 1)
    whole = logits(network, x)
    state, parts = None, []
    for t in range(T):
        part, state = network(x[t : t + 1], state, steps=range(t, t + 1))
        parts.append(part.detach())
    torch.testing.assert_close(torch.cat(parts), whole)
    graph = lower(network, time_steps=T, input=RECORD, labels=tuple("abcd"))
    assert_same_bits(graph, x.numpy())
    np.testing.assert_allclose(Session(graph).run(x.numpy()), whole.numpy(), rtol=1e-4, atol=1e-4)


def test_a_recurrent_network_is_a_fully_connected_one_whose_neurons_are_led_back() -> None:
    torch.manual_seed(0)
    synapse = QuantConv2d(3, 3, 1)
    weight = synapse.weight.detach().clone()
    assert torch.equal(led_back(HDLIF(T), synapse).synapse.weight, weight / 2)
    network = made(recurrent)
    layers = [layer for layer in network.modules() if isinstance(layer, Recurrent)]
    assert [layer.synapse.weight.shape[:2] for layer in layers] == [(5, 5), (6, 6)]
    recipe = load_recipe("sines_recurrent_hdlif")
    key = load_recipe("sines_dense_hdlif", overrides=["neuron.recurrent=true"])
    counts = [sum(p.numel() for p in builders.build_model(one).parameters()) for one in (recipe, key)]
    assert counts[0] == counts[1]
    with pytest.raises(RecipeError, match=r"remove neuron\.recurrent"):
        builders.build_model(load_recipe("sines_recurrent_hdlif", overrides=["neuron.recurrent=true"]))


@every(build=[conv1d, dense, recurrent])
def test_attention_stands_in_front_of_every_neuron_layer(build: Any) -> None:
    names = list(made(build, attention=SECA).body._modules)
    assert [names[names.index(f"act{place}") - 1] for place in (1, 2)] == ["att1", "att2"]


def test_layers_that_there_are_not_are_refused_by_their_argument() -> None:
    taps: dict[str, list[Any]] = {"kernel": [0], "dilations": [(1,), (1, 0)], "companded": [(0, 3), (1, 1)]}
    for build, arguments in ((dense, {"widths": [(0,), (True,)]}), (conv1d, {"widths": [()], **taps})):
        for name, value in ((name, value) for name, values in arguments.items() for value in values):
            with naming(name, value), pytest.raises(ValueError, match=f"{name} = "):
                made(build, **{name: value})
    with pytest.raises(ValueError, match=r"companded = \[3, 4\];.* in 0\.\.2$"):
        made(conv1d, companded=(3, 4), changes=True)
    with pytest.raises(ValueError, match="holds 299 steps; at most 256"):
        made(conv1d, kernel=300)
