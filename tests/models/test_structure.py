"""The places and sizes of what networks have, channel attention among it, and how maps lie in memory."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from cases import every
from hdlif.models import (
    AttentionBlockI,
    AttentionBlockII,
    Network,
    Place,
    PreActBlock,
    resnet,
    resnet18,
    resnet19,
    resnet34,
    reversible_resnet,
    vgg_snn,
)
from hdlif.models.resnet import cifar_stem
from hdlif.nn import HDLIF, SECA, BatchNorm2d, ParallelHDLIF, QuantConv2d, Sequential, Temporal
from small_networks import scatter_norms, tiny_resnet

STEPS, T = 4, 2
EXACT = {"atol": 1e-10, "rtol": 0.0}


def on_meta(make: Callable[..., Network], **arguments: object) -> Network:
    with torch.device("meta"):
        return make(neuron=lambda place: HDLIF(STEPS), **arguments)


def count(network: Network, kind: type[nn.Module]) -> int:
    """Weights and biases of one kind of layer."""
    return sum(p.numel() for m in network.modules() if isinstance(m, kind) for p in m.parameters(recurse=False))


def parameters(network: Network) -> int:
    """Parameters without the neurons' logits."""
    return sum(p.numel() for name, p in network.named_parameters() if not name.endswith("logit"))


def neurons(network: Network, *image: int) -> dict[str, int]:
    """Neurons per layer for an image [C, H, W]."""
    sizes: dict[str, int] = {}

    def record(name: str, module: nn.Module, args: tuple[Tensor, ...]) -> None:
        sizes[name] = args[0].shape[2:].numel()

    for name, module in network.named_modules():
        if isinstance(module, HDLIF | ParallelHDLIF):
            module.register_forward_pre_hook(partial(record, name))
    network.eval()(torch.empty(1, 1, *image, device="meta"), steps=range(1))
    return sizes


VGG_13 = (64, 64, "P", 128, 128, "P", 256, 256, "P", 512, 512, 512, "P", 512)
NETWORKS = {
    "resnet18_cifar10": partial(resnet18, classes=10),
    "resnet18_cifar100": partial(resnet18, classes=100),
    "resnet18_dvs": partial(resnet18, classes=10, in_channels=2),
    "resnet34_imagenet": partial(resnet34, classes=1000),
    "vgg_snn": partial(vgg_snn, classes=10),
    "vgg_13": partial(vgg_snn, classes=200, in_channels=3, plan=VGG_13, final_size=None),
    "resnet19": partial(resnet19, classes=10),
}


@every(
    "name",
    "total",
    "stem",
    "body",
    "norms",
    "classifier",
    "logits",
    of=[
        ("resnet18_cifar10", 11_173_962, 1_728, 11_157_504, 9_600, 5_130, 128),
        ("resnet18_cifar100", 11_220_132, 1_728, 11_157_504, 9_600, 51_300, 128),
        ("resnet18_dvs", 11_173_386, 1_152, 11_157_504, 9_600, 5_130, 128),
        ("resnet34_imagenet", 21_797_672, 9_408, 21_258_240, 17_024, 513_000, 256),
        ("vgg_snn", 9_268_746, 1_152, 9_216_000, 5_504, 46_090, 64),
        ("vgg_13", 9_510_536, 1_728, 9_400_320, 5_888, 102_600, 80),
    ],
)
def test_network_has_the_published_parameters(
    name: str, total: int, stem: int, body: int, norms: int, classifier: int, logits: int
) -> None:
    network = on_meta(NETWORKS[name])
    kinds = (nn.Conv2d, QuantConv2d, BatchNorm2d, nn.Linear)
    assert [count(network, kind) for kind in kinds] == [stem + body, body, norms, classifier]
    assert parameters(network) == total == stem + body + norms + classifier
    assert sum(p.numel() for p in network.parameters()) - total == logits


@every(
    "name",
    "image",
    "layers",
    "total",
    of=[
        ("resnet18_cifar10", (3, 32, 32), 16, 548_864),
        ("resnet18_dvs", (2, 48, 48), 16, 1_234_944),
        ("resnet34_imagenet", (3, 224, 224), 32, 2_935_296),
        ("vgg_snn", (2, 48, 48), 8, 921_600),
        ("vgg_13", (3, 64, 64), 10, 1_024_000),
        ("resnet19", (3, 32, 32), 17, 1_409_280),
    ],
)
def test_network_has_the_published_neurons(name: str, image: tuple[int, ...], layers: int, total: int) -> None:
    network = on_meta(NETWORKS[name])
    sizes = neurons(network, *image)
    assert (len(sizes), sum(sizes.values())) == (layers, total)
    if name == "resnet19":
        # Three stages of 3, 3 and 2 blocks; the first neurons of a stage see the map of the one before.
        assert list(sizes.values()) == [131072] * 7 + [65536] * 6 + [32768] * 3 + [256]
        assert parameters(network) == 12_698_250
    if name == "resnet18_cifar10":
        assert list(sizes.values()) == [65536] * 5 + [32768] * 4 + [16384] * 4 + [8192] * 3
        assert sum(size for place, size in sizes.items() if place.endswith("act2")) == 245_760


@every(
    "make",
    "layers",
    of=[(resnet18, 16), (resnet34, 32), (vgg_snn, 8), (partial(reversible_resnet, blocks=(1, 3, 1), width=4), 10)],
)
def test_every_place_names_its_neuron_and_is_numbered_in_order(make: Callable[..., Network], layers: int) -> None:
    made: list[tuple[Place, Temporal]] = []

    def neuron(place: Place) -> Temporal:
        made.append((place, HDLIF(1)))
        return made[-1][1]

    with torch.device("meta"):
        network = make(neuron=neuron, classes=10)
    assert [place.index for place, _ in made] == list(range(layers))
    for place, module in made:
        assert network.get_submodule(place.name) is module
    in_tree = [name for name, module in network.named_modules() if isinstance(module, HDLIF)]
    assert in_tree == [place.name for place, _ in made]


@every(final_size=[2, None])
def test_vgg_pools_after_the_neuron_and_reads_the_last_map(final_size: int | None) -> None:
    network = vgg_snn(neuron=lambda place: HDLIF(2), classes=3, plan=(4, "P", 6, "P"), final_size=final_size)
    assert [name for name, _ in network.body.named_children()] == ["act1", "pool1", "conv2", "bn2", "act2", "pool2"]
    # the mean of a 2x2 patch, not its maximum
    assert network.body.pool1(torch.tensor([[[[4.0, 0.0], [0.0, 0.0]]]])).item() == 1.0
    assert network.classifier.in_features == (24 if final_size else 6)
    assert network(torch.zeros(2, 1, 2, 8, 8))[0].shape == (2, 1, 3)


@every(
    "inside",
    "outside",
    of=[(torch.float64, torch.float64), (torch.float32, torch.float32), (torch.bfloat16, torch.float32)],
)
def test_logits_are_float32_or_wider_with_one_row_per_step_for_a_constant_input_too(
    inside: torch.dtype, outside: torch.dtype
) -> None:
    for neuron in (partial(HDLIF, 3), partial(ParallelHDLIF, 3)):
        network = tiny_resnet(lambda place, neuron=neuron: neuron()).to(inside)
        logits, _ = network(torch.ones(1, 2, 2, 8, 8, dtype=inside), steps=range(3))
        assert logits.shape == (3, 2, 3)
        assert logits.dtype == outside


def narrow_strided_stem(in_channels: int, width: int) -> nn.Module:
    first, then = nn.Conv2d(in_channels, 16, 3, padding=1), nn.Conv2d(16, 8, 1)
    return Sequential(first, then, nn.Conv2d(8, width, 1, stride=2, bias=False), BatchNorm2d(width))


def network_of(width: int = 16, channels: int = 3, stem: Callable[[int, int], nn.Module] = cifar_stem) -> Network:
    torch.manual_seed(0)
    return resnet(neuron=lambda place: HDLIF(T), blocks=(1,), width=width, classes=3, in_channels=channels, stem=stem)


@every(
    "arguments",
    "batch",
    "training",
    "last",
    of=[
        ({}, 4, True, True),
        ({}, 4, False, False),
        ({}, 1, True, False),
        ({"width": 8}, 4, True, False),
        ({"channels": 1}, 4, True, False),
        ({"stem": narrow_strided_stem}, 4, True, False),
    ],
)
def test_a_wide_stem_that_learns_from_batches_of_coloured_pictures_has_channels_last(
    arguments: dict[str, object], batch: int, training: bool, last: bool
) -> None:
    network, seen = network_of(**arguments).train(training), set()  # type: ignore[arg-type]

    def is_last(maps: Tensor) -> bool:
        return not maps.is_contiguous() and maps.is_contiguous(memory_format=torch.channels_last)

    for layer in network.stem.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _, given, y: seen.update(map(is_last, (given[0], y))))
    network(torch.randn(1, batch, arguments.get("channels", 3), 8, 8), steps=range(T))
    assert seen == {last}


BLOCKS = {"I": AttentionBlockI, "II": AttentionBlockII}


def block_of(kind: type[PreActBlock], *, strided: bool = False, width: int = 4, **arguments: object) -> PreActBlock:
    out = 2 * width if strided else width
    places = (Place("act1", 0, 0, 0, 0, width), Place("act2", 0, 0, 1, 1, out))
    torch.manual_seed(0)
    block = kind(
        width,
        out,
        stride=2 if strided else 1,
        neuron=lambda place: HDLIF(3, leak=0.75),
        conv=partial(QuantConv2d),
        places=places,
        **arguments,
    )
    return scatter_norms(block.double())


def currents(*, width: int = 4, size: int = 6) -> Tensor:
    g = torch.Generator().manual_seed(1)
    return torch.randn(3, 2, width, size, size, generator=g, dtype=torch.float64)


def stateless(module: nn.Module, h: Tensor) -> Tensor:
    return module(h, None, range(3))[0]


def folded(module: nn.Module, h: Tensor) -> Tensor:
    return torch.stack([module(step) for step in h])


def by_formula(block: PreActBlock, h: Tensor, form: str, *, gated: bool) -> Tensor:
    def attended(name: str, c: Tensor) -> Tensor:
        return stateless(getattr(block, name), c) if gated else c

    # all modules start their sequence here, so that none needs a state
    joins = form == "II" and len(block.shortcut) == 0
    c1 = stateless(block.bn1, folded(block.conv1, stateless(block.act1, h)))
    c1 = attended("att1", h + c1 if joins else c1)
    c2 = stateless(block.bn2, folded(block.conv2, stateless(block.act2, c1)))
    c2 = attended("att2", c1 + c2 if form == "II" else c2)
    return c2 + (stateless(block.shortcut, h) if len(block.shortcut) else h)


@every(form=list(BLOCKS), strided=[False, True])
def test_block_is_its_formula_with_and_without_gates(form: str, strided: bool) -> None:
    block, h = block_of(BLOCKS[form], strided=strided, attention=SECA), currents()
    torch.testing.assert_close(stateless(block, h), by_formula(block, h, form, gated=True), **EXACT)
    for attention in (block.att1, block.att2):
        nn.init.zeros_(attention.weight)
        nn.init.constant_(attention.bias, 100.0)
    y = stateless(block, h)
    torch.testing.assert_close(y, by_formula(block, h, form, gated=False), **EXACT)
    if form == "I":
        plain = block_of(PreActBlock, strided=strided)
        plain.load_state_dict({k: v for k, v in block.state_dict().items() if not k.startswith("att")})
        torch.testing.assert_close(y, stateless(plain, h), **EXACT)


def attentions(network: Network) -> list[SECA]:
    return [module for module in network.modules() if isinstance(module, SECA)]


@every(
    "make",
    "attention",
    "published",
    of=[
        (resnet18, SECA, 96),
        (resnet34, SECA, 192),
        (resnet18, partial(SECA, bias=False), 80),
        (resnet34, partial(SECA, bias=False), 160),
        (resnet18, partial(SECA, time_steps=4), 384),
    ],
)
def test_attention_has_the_published_parameters(make, attention, published: int) -> None:  # type: ignore[no-untyped-def]
    block = partial(AttentionBlockII, attention=attention)
    with torch.device("meta"):
        network = make(neuron=lambda place: HDLIF(4), classes=10, block=block)
    assert sum(p.numel() for module in attentions(network) for p in module.parameters()) == published
    assert [m.channels for m in attentions(network)][:2] == [64, 64]
    assert attentions(network)[-1].channels == 512


def test_vgg_attends_between_batch_norm_and_neuron() -> None:
    network = vgg_snn(neuron=lambda place: HDLIF(2), classes=3, plan=(4, "P", 6), final_size=4, attention=SECA)
    assert [name for name, _ in network.stem.named_children()] == ["conv1", "bn1"]
    names = [name for name, _ in network.body.named_children()]
    assert names == ["att1", "act1", "pool1", "conv2", "bn2", "att2", "act2"]
    assert [m.channels for m in attentions(network)] == [4, 6]
    assert network(torch.ones(2, 1, 2, 8, 8))[0].shape == (2, 1, 3)
