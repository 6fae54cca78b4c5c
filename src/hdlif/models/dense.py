"""Fully connected networks: layer, batch norm, neuron in a row."""

from collections.abc import Sequence

from torch import nn

from hdlif.models.blocks import AttentionFactory, ConvFactory, Network, NeuronFactory, NormFactory, Place, default_conv
from hdlif.nn import BatchNorm2d, Sequential


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
    """A fully connected spiking network, for samples of one pixel, [C, 1, 1], such as a series gives at each step.

    A layer is a 1x1 convolution, which on one pixel multiplies by a matrix, so that weights of few bits, recurrent
    neurons and what deploys them are those of every other network. Of a larger picture, or a row of one, the first
    layer's kernel is as large as it is.

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
        in_size: its height and width.
        widths: of the layers; the first keeps fp32 weights, as the stem of the others does.
        conv: makes the layers behind the first.
        norm: makes what is behind each layer's synapses.
        attention: makes the channel attention in front of every neuron layer, "att1", ...; None for none.
    """
    if not widths or not all(type(width) is int and width > 0 for width in widths):
        raise ValueError(f"widths = {list(widths)[:5]}; give one or more layers' widths, whole numbers above 0")
    first, *others = widths
    body: dict[str, nn.Module] = {} if attention is None else {"att1": attention(first)}
    body["act1"] = neuron(Place("body.act1", 0, 0, 0, 0, first))
    width = first
    for index, wider in enumerate(others, start=1):
        body[f"fc{index + 1}"] = conv(width, wider, 1)
        body[f"bn{index + 1}"] = norm(wider)
        if attention is not None:
            body[f"att{index + 1}"] = attention(wider)
        body[f"act{index + 1}"] = neuron(Place(f"body.act{index + 1}", 0, index, 0, index, wider))
        width = wider
    return Network(
        stem=Sequential({"fc1": nn.Conv2d(in_channels, first, in_size, bias=False), "bn1": norm(first)}),
        body=Sequential(body),
        head=nn.Flatten(),
        classifier=nn.Linear(width, classes),
    )
