"""Plain networks whose layers have a convolution, a batch norm and neurons, with average pooling after some layers."""

from collections.abc import Sequence

from torch import nn

from hdlif.models.blocks import AttentionFactory, ConvFactory, Network, NeuronFactory, NormFactory, Place, default_conv
from hdlif.nn import BatchNorm2d, Sequential

POOL = "P"
VGG_SNN: tuple[int | str, ...] = (64, 128, POOL, 256, 256, POOL, 512, 512, POOL, 512, 512, POOL)


def _fixed_conv(
    in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, padding: int = 0
) -> nn.Module:
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride=stride, padding=padding, bias=False)


def vgg_snn(
    *,
    neuron: NeuronFactory,
    classes: int,
    in_channels: int = 2,
    plan: Sequence[int | str] = VGG_SNN,
    final_size: int | None = 3,
    conv: ConvFactory = default_conv,
    first_conv: ConvFactory = _fixed_conv,
    norm: NormFactory = BatchNorm2d,
    attention: AttentionFactory | None = None,
) -> Network:
    """Return a plain spiking network with 3x3 convolutions and average-pooling layers.

    >>> import torch
    >>> from hdlif.models import vgg_snn
    >>> from hdlif.nn import HDLIF
    >>> neuron, plan = (lambda place: HDLIF(time_steps=2)), [4, "P", 8, "P"]
    >>> network = vgg_snn(neuron=neuron, classes=10, plan=plan, final_size=2)
    >>> logits, state = network(torch.rand(2, 1, 2, 8, 8))
    >>> list(logits.shape)
    [2, 1, 10]

    Args:
        neuron: makes each neuron layer from its `Place`.
        classes: number of logits.
        in_channels: channels of the input (2 polarities for event frames).
        plan: widths of the convolutions, with "P" for a 2x2 average pool; default: VGG-SNN.
        final_size: side of the map after the last pool, whose entries the classifier reads; None pools the map
            globally.
        conv: makes the body's convolutions.
        first_conv: makes the first convolution, which by default keeps fp32 weights and counts as the stem (published
            event-camera networks quantise it too: pass `conv` here).
        norm: makes all batch norms except the first. The first batch norm shares running statistics between steps,
            because its input may be constant in time.
        attention: makes the channel attention between batch norms and neurons, "att1", ...; None for no attention.
    """
    for entry in plan:
        if entry != POOL and not (type(entry) is int and entry > 0):
            raise ValueError(f'plan has {entry!r}; its entries are widths above 0 and "{POOL}" for a pool')
    if not plan or plan[0] == POOL:
        raise ValueError(f"plan = {list(plan)[:3]}; it must begin with the width of the first convolution")
    if final_size is not None and final_size < 1:
        raise ValueError(f"final_size = {final_size}; it must be at least 1, or None to pool globally")
    layers: dict[str, nn.Module] = {}
    width, stage, block, index = in_channels, 0, 0, 0
    for entry in plan:
        if entry == POOL:
            layers[f"pool{stage + 1}"] = nn.AvgPool2d(2)
            stage, block = stage + 1, 0
            continue
        number = index + 1
        make = first_conv if index == 0 else conv
        layers[f"conv{number}"] = make(width, int(entry), 3, padding=1)
        layers[f"bn{number}"] = (BatchNorm2d if index == 0 else norm)(int(entry))
        if attention is not None:
            layers[f"att{number}"] = attention(int(entry))
        layers[f"act{number}"] = neuron(Place(f"body.act{number}", stage, block, 0, index, int(entry)))
        width, block, index = int(entry), block + 1, index + 1
    head = nn.Flatten() if final_size is not None else nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Network(
        stem=Sequential({name: layers.pop(name) for name in ("conv1", "bn1")}),
        body=Sequential(layers),
        head=head,
        classifier=nn.Linear(width * (final_size or 1) ** 2, classes),
    )
