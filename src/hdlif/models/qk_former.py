"""Spiking transformers with Q-K attention, whose cost is linear in the number of tokens."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from hdlif.functional import gate
from hdlif.models.blocks import ConvFactory, Network, NeuronFactory, NormFactory, Place, PreActBlock, default_conv
from hdlif.models.resnet import StemFactory, check_inner, cifar_stem
from hdlif.nn import BatchNorm2d, HeadSum, Scope, Sequential, State, Temporal, TokenSum
from hdlif.nn.state import Paths, Reads

EXPANDED = ("act1", "conv1", "bn1", "act2", "conv2", "bn2")
"""Names of the children of `MLPBlock` in execution order."""


class QKAttention(Temporal):
    """A residual block with Q-K attention on a stream `h` of real-valued currents [K, B, C, H, W].

    The block computes s = act(h), Q = q_act(q_bn(q_conv(s))), K = k_act(k_bn(k_conv(s))), a = a_act(sum(Q)) and y =
    bn(conv(K where a > 0, else 0)) + h.

    Token attention sums over the channels of each head and has one gate per head and token, [K, B, heads, H, W].
    Channel attention sums over the tokens and has one gate per channel, [K, B, C]. All convolutions are 1x1. Spikes are
    never multiplied by spikes, and the cost is not quadratic in the number of tokens.

    >>> import torch
    >>> from hdlif.models import Place, QKAttention
    >>> from hdlif.nn import HDLIF, QuantConv2d
    >>> places = [Place(name, 0, 0, position, position, 4) for position, name in enumerate(QKAttention.NEURONS)]
    >>> block = QKAttention(4, heads=2, neuron=lambda place: HDLIF(2), conv=QuantConv2d, places=places)
    >>> y, state = block(torch.randn(2, 1, 4, 6, 6), None, range(2))
    >>> list(y.shape), list(state["a_act"]["potential"].shape)
    ([2, 1, 4, 6, 6], [1, 2, 6, 6])

    Args:
        channels: C.
        heads: number of heads for token attention, a divisor of C; None for channel attention.
        neuron: makes the neurons from their places.
        conv: makes the convolutions.
        places: places of the neurons in the order of `NEURONS`; the gate neurons have one channel per head, or C.
        norm: makes the batch norms from their channels.
    Raises:
        ValueError: `heads` does not divide C.
    Source: Zhou et al., QKFormer, NeurIPS 2024 (arXiv 2403.16552); the order of a pre-activation block is ours.
    """

    NEURONS = ("act", "q_act", "k_act", "a_act")
    """Names of the neurons in execution order."""

    reads: ClassVar[Reads] = {
        "act": [""],
        "q_conv": ["act"],
        "q_bn": ["q_conv"],
        "q_act": ["q_bn"],
        "k_conv": ["act"],
        "k_bn": ["k_conv"],
        "k_act": ["k_bn"],
        "sum": ["q_act"],
        "a_act": ["sum"],
        "conv": ["k_act", "a_act"],
        "bn": ["conv"],
        "": ["bn", ""],
    }

    def __init__(
        self,
        channels: int,
        *,
        heads: int | None,
        neuron: NeuronFactory,
        conv: ConvFactory,
        places: Sequence[Place],
        norm: NormFactory = BatchNorm2d,
    ) -> None:
        super().__init__()
        if heads is not None and (heads < 1 or channels % heads):
            raise ValueError(f"heads = {heads}; they must divide the {channels} channels")
        self.act, self.q_act, self.k_act, self.a_act = map(neuron, places)
        self.q_conv, self.q_bn = conv(channels, channels, 1), norm(channels)
        self.k_conv, self.k_bn = conv(channels, channels, 1), norm(channels)
        self.sum = TokenSum() if heads is None else HeadSum(heads)
        self.conv, self.bn = conv(channels, channels, 1), norm(channels)

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State | None]:
        run = Scope(self, state, steps)
        s = run("act", x)
        q = run.chain(s, "q_conv", "q_bn", "q_act")
        k = run.chain(s, "k_conv", "k_bn", "k_act")
        a = run("a_act", run("sum", q))
        return run.chain(gate(k, a), "conv", "bn", plus=lambda: x), run.state


class MLPBlock(Temporal):
    """A residual block with two 1x1 convolutions, which computes y = bn2(conv2(act2(bn1(conv1(act1(h)))))) + h.

    `qk_former` has an example.

    Args:
        channels: channels of h and y.
        neuron: makes act1 and act2 from their places.
        conv: makes the convolutions.
        places: places of act1 and act2; the channels of act2 are those between the convolutions.
        norm: makes the batch norms from their channels.
    """

    paths: Paths = (EXPANDED, ())

    def __init__(
        self,
        channels: int,
        *,
        neuron: NeuronFactory,
        conv: ConvFactory,
        places: tuple[Place, Place],
        norm: NormFactory = BatchNorm2d,
    ) -> None:
        super().__init__()
        inner = places[1].channels
        self.act1, self.act2 = map(neuron, places)
        self.conv1, self.bn1 = conv(channels, inner, 1), norm(inner)
        self.conv2, self.bn2 = conv(inner, channels, 1), norm(channels)

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State | None]:
        run = Scope(self, state, steps)
        return run.chain(x, *EXPANDED, plus=lambda: x), run.state


def qk_former(
    *,
    neuron: NeuronFactory,
    classes: int,
    in_channels: int = 3,
    width: int = 64,
    blocks: Sequence[int] = (1, 2),
    strides: Sequence[int] | None = None,
    heads: int = 8,
    mlp_ratio: int = 4,
    conv: ConvFactory = default_conv,
    norm: NormFactory = BatchNorm2d,
    stem: StemFactory = cifar_stem,
    inner: Mapping[str, int] | None = None,
) -> Network:
    """Return a spiking transformer with channel attention in the last stage and token attention in earlier stages.

    Stage i has `width`·2^i channels. Each stage begins with the patch embedding "embed", which is a `PreActBlock` with
    the stage's stride in the first 3x3 convolution. After the embedding, stage i has `blocks[i]` pairs of a
    `QKAttention` and an `MLPBlock`. The stream between blocks is real-valued, and the classifier receives the mean over
    the last map. With default arguments and 10 classes, the network has 722,122 weights and biases.

    Temporal truncation changes the gradient slightly more than in a ResNet. In the untrained network of
    `digits_qk_former_w1p5_s4`, the cosine between the gradients of SLTT and STBP is 0.970 to 0.978 (64 digits, seeds 0
    to 4). For the ResNet of `digits_hdlif_w1p5_s4`, the cosine between the gradients of SLTT and STBP is 0.996 to
    0.997. The fraction of open attention gates in the untrained network is 0.59 for token attention and 0.98 for
    channel attention. With LIF in place of HD-LIF, the cosine between the gradients of SLTT and STBP is 0.847 to 0.873.

    >>> import torch
    >>> from hdlif.models import qk_former
    >>> from hdlif.nn import HDLIF
    >>> neuron = lambda place: HDLIF(time_steps=2)
    >>> network = qk_former(neuron=neuron, classes=10, width=8, blocks=[1, 1], heads=2)
    >>> logits, state = network(torch.rand(1, 1, 3, 16, 16), steps=range(2))
    >>> list(logits.shape), list(network.body.stage2._modules)
    ([2, 1, 10], ['embed', '0'])

    Args:
        neuron: makes each neuron layer from its `Place`.
        classes: number of logits.
        in_channels: channels of the image.
        width: channels of the stem and the first stage.
        blocks: number of pairs per stage.
        strides: strides of the patch embeddings, one per stage; 2 by default.
        heads: number of heads for token attention, a divisor of `width`.
        mlp_ratio: channels between the convolutions of an `MLPBlock`, as a multiple of its stage's channels.
        conv: makes the body's convolutions.
        norm: makes the body's batch norms. The stem's batch norm shares running statistics between steps, because its
            input may be constant in time.
        stem: makes the stem from (in_channels, width).
        inner: channels between the convolutions of single patch embeddings, such as {"body.stage1.embed": 48}.
    Raises:
        ValueError: there is no stage or block, or a stride, a head or a channel is missing.
    """
    strides = [2] * len(blocks) if strides is None else strides
    if not blocks or min(blocks) < 1 or min(width, heads, mlp_ratio) < 1:
        raise ValueError(
            f"blocks = {list(blocks)}, width = {width}, heads = {heads}, mlp_ratio = {mlp_ratio}; give at least one "
            "stage of at least one block, and at least 1 of each"
        )
    if len(strides) != len(blocks) or min(strides) < 1:
        raise ValueError(f"strides = {list(strides)}; give a stride of at least 1 for each of the {len(blocks)} stages")
    check_inner(inner or {}, [f"body.stage{stage + 1}.embed" for stage in range(len(blocks))])
    parts: dict[str, Any] = {"neuron": neuron, "conv": conv, "norm": norm}
    stages: dict[str, nn.Module] = {}
    channels, index = width, 0
    for stage, (depth, stride) in enumerate(zip(blocks, strides, strict=True)):
        path, out = f"body.stage{stage + 1}", width * 2**stage
        between = (inner or {}).get(f"{path}.embed", out)
        places = _places(f"{path}.embed", stage, 0, index, act1=channels, act2=between)
        embed = PreActBlock(channels, out, stride=stride, places=(places[0], places[1]), **parts)
        members: dict[str, nn.Module] = {"embed": embed}
        channels, index = out, index + 2
        of_attention = heads if stage + 1 < len(blocks) else None
        for number in range(depth):
            gates = dict.fromkeys(QKAttention.NEURONS, out) | {"a_act": of_attention or out}
            places = _places(f"{path}.{number}.attention", stage, number + 1, index, **gates)
            attention = QKAttention(out, heads=of_attention, places=places, **parts)
            of_mlp = {"act1": out, "act2": out * mlp_ratio}
            first, second = _places(f"{path}.{number}.mlp", stage, number + 1, index + 4, **of_mlp)
            mlp = MLPBlock(out, places=(first, second), **parts)
            members[str(number)] = Sequential({"attention": attention, "mlp": mlp})
            index += 6
        stages[f"stage{stage + 1}"] = Sequential(members)
    return Network(
        stem=stem(in_channels, width),
        body=Sequential(stages),
        head=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        classifier=nn.Linear(channels, classes),
    )


def _places(path: str, stage: int, block: int, index: int, **channels: int) -> list[Place]:
    """Return the `Place` of each neuron layer in a block, given the channels of each layer by name."""
    return [
        Place(f"{path}.{name}", stage, block, position, index + position, of)
        for position, (name, of) in enumerate(channels.items())
    ]
