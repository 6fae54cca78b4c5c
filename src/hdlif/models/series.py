"""Fully connected, convolutional and recurrent networks for time series."""

import itertools
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from hdlif.models.blocks import AttentionFactory, ConvFactory, Network, NeuronFactory, NormFactory, Place, default_conv
from hdlif.nn import BatchNorm2d, Changes, DelayLine, Recurrent, Sequential, Temporal
from hdlif.nn import companded as compander
from hdlif.nn.companding import check_channels


def dense(
    *,
    neuron: NeuronFactory,
    classes: int,
    in_channels: int,
    in_size: tuple[int, int] = (1, 1),
    widths: Sequence[int] = (64, 64),
    conv: ConvFactory = default_conv,
    norm: NormFactory = BatchNorm2d,
    attention: AttentionFactory | None = None,
) -> Network:
    """Return a fully connected spiking network for one-pixel samples [C, 1, 1], such as the steps of a time series.

    Each layer is a 1x1 convolution, which is equivalent to a matrix product on one pixel. Low-bit weights, recurrent
    neurons and deployment work as in other networks, because all layers are convolutions. For larger inputs, such as
    images or image rows, the kernel of the first layer covers the entire input.

    >>> import torch
    >>> from hdlif.models import dense
    >>> from hdlif.nn import HDLIF
    >>> network = dense(neuron=lambda place: HDLIF(time_steps=8), classes=3, in_channels=2, widths=[16, 16])
    >>> logits, state = network(torch.rand(8, 4, 2, 1, 1))
    >>> list(logits.shape)
    [8, 4, 3]

    Args:
        neuron: makes each neuron layer from its `Place`.
        classes: number of logits.
        in_channels: channels of the input.
        in_size: height and width of the input.
        widths: widths of the layers; the first layer keeps fp32 weights, like the stem of other networks.
        conv: makes the layers after the first.
        norm: makes the batch norm after each layer's synapses.
        attention: makes the channel attention before every neuron layer, "att1", ...; None for no attention.
    """
    _check_widths(widths)
    return _network(
        widths,
        lambda first: {"fc1": nn.Conv2d(in_channels, first, in_size, bias=False)},
        lambda number, width, wider: {f"fc{number}": conv(width, wider, 1)},
        neuron=neuron,
        classes=classes,
        norm=norm,
        attention=attention,
    )


MOST_HELD = 256
"""Largest number of steps that a layer may hold; each one is an op of the deployed network."""
_LED_BACK = 0.5
"""Factor on initial recurrent weights, which makes the initial feedback decay."""


def led_back(neuron: Temporal, synapse: nn.Module) -> Recurrent:
    """Return a neuron layer that also receives its own output from the previous step through `synapse`.

    Args:
        neuron: a neuron layer.
        synapse: U, as in `hdlif.nn.Recurrent`; its weights are halved in place.
    """
    weight = synapse.weight
    assert isinstance(weight, Tensor)
    weight.data *= _LED_BACK
    return Recurrent(neuron, synapse)


def recurrent(
    *,
    neuron: NeuronFactory,
    classes: int,
    in_channels: int,
    in_size: tuple[int, int] = (1, 1),
    widths: Sequence[int] = (64, 64),
    conv: ConvFactory = default_conv,
    norm: NormFactory = BatchNorm2d,
    attention: AttentionFactory | None = None,
) -> Network:
    """Return a `dense` network with recurrent layers, in which the currents are I_t = x_t + U s_{t-1}.

    The factory `conv` creates U, which is a layer of the body. The arguments (neuron, classes, in_channels, in_size,
    widths, conv, norm, attention) are the same as for `dense`. The recipe key `neuron.recurrent` adds the same
    recurrence to any network.

    >>> import torch
    >>> from hdlif.models import recurrent
    >>> from hdlif.nn import HDLIF
    >>> network = recurrent(neuron=lambda place: HDLIF(8), classes=3, in_channels=2, widths=[8])
    >>> logits, state = network(torch.rand(8, 4, 2, 1, 1))
    >>> list(logits.shape)
    [8, 4, 3]
    """

    def layer(place: Place) -> Temporal:
        made = neuron(place)
        if isinstance(made, Recurrent):
            raise ValueError("the neurons are already recurrent; remove neuron.recurrent")
        return led_back(made, conv(place.channels, place.channels, 1))

    return dense(
        neuron=layer,
        classes=classes,
        in_channels=in_channels,
        in_size=in_size,
        widths=widths,
        conv=conv,
        norm=norm,
        attention=attention,
    )


def conv1d(
    *,
    neuron: NeuronFactory,
    classes: int,
    in_channels: int,
    in_size: tuple[int, int] = (1, 1),
    widths: Sequence[int] = (64, 64),
    kernel: int = 5,
    dilations: Sequence[int] | None = None,
    companded: Sequence[int] = (),
    changes: bool = False,
    conv: ConvFactory = default_conv,
    norm: NormFactory = BatchNorm2d,
    attention: AttentionFactory | None = None,
) -> Network:
    """Return a network of causal 1-D convolutions over time for one-pixel samples [C, 1, 1].

    For example, each step of a time series is treated as a one-pixel sample. Each layer is a delay line followed by a
    1x1 convolution. At step t, a layer reads only steps t, t-d, …, t-(kernel-1)·d of the layer below, so the network
    can run step by step. The state contains past inputs in addition to the states of the neurons. With a kernel of 1,
    the network is equivalent to `dense`.

    >>> import torch
    >>> from hdlif.models import conv1d
    >>> from hdlif.nn import HDLIF
    >>> network = conv1d(neuron=lambda place: HDLIF(8), classes=3, in_channels=2, widths=[8, 8], kernel=3)
    >>> logits, state = network(torch.rand(8, 4, 2, 1, 1))
    >>> list(logits.shape)
    [8, 4, 3]

    Args:
        neuron: makes each neuron layer from its `Place`.
        classes: number of logits.
        in_channels: channels of the input.
        in_size: height and width of the input; for more than one pixel, the first layer's kernel covers all of them.
        widths: channels of the layers; the first layer keeps fp32 weights, like the stem of other networks.
        kernel: steps that a layer reads, at least 1.
        dilations: d of each layer; 1 by default.
        companded: input channels that the first layer reads on a nearly logarithmic scale (`hdlif.nn.Companded`).
        changes: whether the first layer also reads each channel's change since the previous step, on that scale.
        conv: makes the layers after the first.
        norm: makes the batch norm after each layer's synapses.
        attention: makes the channel attention before every neuron layer, "att1", ...; None for no attention.
    """
    _check_widths(widths)
    steps = [1] * len(widths) if dilations is None else list(dilations)
    if kernel < 1 or len(steps) != len(widths) or not all(type(step) is int and step > 0 for step in steps):
        raise ValueError(
            f"kernel = {kernel}, dilations = {steps[:5]} of {len(widths)} layers; give a kernel of at least 1, and a "
            "whole number above 0 for each layer"
        )
    if (reach := (kernel - 1) * max(steps)) > MOST_HELD:
        raise ValueError(f"kernel = {kernel} with dilations = {steps[:5]} holds {reach} steps; at most {MOST_HELD}")
    front, channels = _front(in_channels, companded, changes=changes)
    return _network(
        widths,
        lambda first: {
            **front,
            "line1": DelayLine(kernel, steps[0]),
            "conv1": nn.Conv2d(kernel * channels, first, in_size, bias=False),
        },
        lambda number, width, wider: {
            f"line{number}": DelayLine(kernel, steps[number - 1]),
            f"conv{number}": conv(kernel * width, wider, 1),
        },
        neuron=neuron,
        classes=classes,
        norm=norm,
        attention=attention,
    )


def _check_widths(widths: Sequence[int]) -> None:
    if not widths or not all(type(width) is int and width > 0 for width in widths):
        raise ValueError(f"widths = {list(widths)[:5]}; give one or more layers' widths, whole numbers above 0")


def _network(
    widths: Sequence[int],
    stem: Callable[[int], dict[str, nn.Module]],
    layer: Callable[[int, int, int], dict[str, nn.Module]],
    *,
    neuron: NeuronFactory,
    classes: int,
    norm: NormFactory,
    attention: AttentionFactory | None,
) -> Network:
    """Return a network of consecutive layers, each with synapses, a norm, optional attention and neurons.

    Args:
        stem: makes the first layer's synapses by name, from its channels.
        layer: makes another layer's synapses by name, from its number, the channels of the layer below and its own.
    """
    body: dict[str, nn.Module] = {} if attention is None else {"att1": attention(widths[0])}
    body["act1"] = neuron(Place("body.act1", 0, 0, 0, 0, widths[0]))
    for number, (width, wider) in enumerate(itertools.pairwise(widths), start=2):
        body |= layer(number, width, wider)
        body[f"bn{number}"] = norm(wider)
        if attention is not None:
            body[f"att{number}"] = attention(wider)
        body[f"act{number}"] = neuron(Place(f"body.act{number}", 0, number - 1, 0, number - 1, wider))
    return Network(
        stem=Sequential({**stem(widths[0]), "bn1": norm(widths[0])}),
        body=Sequential(body),
        head=nn.Flatten(),
        classifier=nn.Linear(widths[-1], classes),
    )


def _front(channels: int, companded: Sequence[int], *, changes: bool) -> tuple[dict[str, nn.Module], int]:
    """Return the modules before the first layer by name, and the number of channels that they output."""
    front: dict[str, nn.Module] = {}
    companded, count = list(companded), channels
    check_channels(count, companded)
    if changes:
        front["changes"] = Changes()
        companded, count = [*companded, *range(channels, 2 * channels)], 2 * channels
    if companded:
        front["compand"] = compander(count, companded)
    return front, count
