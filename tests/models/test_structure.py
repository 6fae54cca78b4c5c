"""The places and sizes of what networks have, channel attention among it, and how maps lie in memory."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cases import every
from hdlif.models import (
    AttentionBlockI,
    AttentionBlockII,
    Network,
    Place,
    PreActBlock,
    detector,
    qk_former,
    resnet,
    resnet18,
    resnet19,
    resnet34,
    reversible_resnet,
    unet,
    vgg_snn,
)
from hdlif.models.resnet import cifar_stem
from hdlif.nn import HDLIF, SECA, BatchNorm2d, ParallelHDLIF, QuantConv2d, Sequential, Temporal
from small_networks import scatter_norms, tiny_resnet

STEPS = 4
EXACT = {"atol": 1e-10, "rtol": 0.0}


def on_meta(make: Callable[..., Network], **arguments: object) -> Network:
    with torch.device("meta"):
        return make(neuron=lambda place: HDLIF(STEPS), **arguments)


def count(network: Network, kind: type[nn.Module]) -> int:
    """Weights and biases of one kind of layer."""
    return sum(p.numel() for m in network.modules() if isinstance(m, kind) for p in m.parameters(recurse=False))


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
    "parts",
    "logits",
    of=[
        # Of the stem, the body, norms and the classifier.
        ("resnet18_cifar10", 11_173_962, (1_728, 11_157_504, 9_600, 5_130), 128),
        ("resnet18_cifar100", 11_220_132, (1_728, 11_157_504, 9_600, 51_300), 128),
        ("resnet18_dvs", 11_173_386, (1_152, 11_157_504, 9_600, 5_130), 128),
        ("resnet34_imagenet", 21_797_672, (9_408, 21_258_240, 17_024, 513_000), 256),
        ("vgg_snn", 9_268_746, (1_152, 9_216_000, 5_504, 46_090), 64),
        ("vgg_13", 9_510_536, (1_728, 9_400_320, 5_888, 102_600), 80),
    ],
)
def test_network_has_the_published_parameters(name: str, total: int, parts: tuple[int, ...], logits: int) -> None:
    network = on_meta(NETWORKS[name])
    convolutions, *found = (count(network, kind) for kind in (nn.Conv2d, QuantConv2d, BatchNorm2d, nn.Linear))
    assert (convolutions - found[0], *found) == parts
    assert sum(parts) == total
    assert sum(p.numel() for p in network.parameters()) - total == logits


@every(
    "name",
    "image",
    "layers",
    "total",
    of=[
        ("resnet18_dvs", (2, 48, 48), 16, 1_234_944),
        ("resnet34_imagenet", (3, 224, 224), 32, 2_935_296),
        ("vgg_snn", (2, 48, 48), 8, 921_600),
        ("vgg_13", (3, 64, 64), 10, 1_024_000),
    ],
)
def test_network_has_the_published_neurons(name: str, image: tuple[int, ...], layers: int, total: int) -> None:
    sizes = neurons(on_meta(NETWORKS[name]), *image)
    assert (len(sizes), sum(sizes.values())) == (layers, total)


def test_neurons_of_each_layer_for_pictures_of_32_pixels() -> None:
    sizes = neurons(on_meta(NETWORKS["resnet18_cifar10"]), 3, 32, 32)
    assert list(sizes.values()) == [65536] * 5 + [32768] * 4 + [16384] * 4 + [8192] * 3
    network = on_meta(NETWORKS["resnet19"])
    # Three stages of 3, 3 and 2 blocks; the first neurons of a stage see the map of the one before.
    assert list(neurons(network, 3, 32, 32).values()) == [131072] * 7 + [65536] * 6 + [32768] * 3 + [256]
    assert sum(p.numel() for name, p in network.named_parameters() if not name.endswith("logit")) == 12_698_250


@every(
    "make",
    "stages",
    of=[
        (partial(resnet18, classes=10), [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4),
        (partial(vgg_snn, classes=10, in_channels=3), [0, 0, 1, 1, 2, 2, 3, 3]),
        (partial(reversible_resnet, classes=10, blocks=(1, 3, 1), width=4), [0, 0, *[1] * 6, 2, 2]),
        (partial(qk_former, classes=10, blocks=(1, 2), width=8, heads=2), [*[0] * 8, *[1] * 14]),
        (partial(unet, classes=3, width=2, depth=2), [0, 0, 1, 1, 2, 2, 3, 3, 3, 4, 4, 4]),
        # Its neck and its heads go back to the stage whose map they read.
        (partial(detector, classes=3, width=4, blocks=(1, 1, 1), strides=(8, 16)), [0, 0, 1, 1, 2, 2, 2, 2, 1, 1, 1]),
    ],
)
def test_places_are_those_of_the_neurons_in_the_order_in_which_they_run(
    make: Callable[..., Network], stages: list[int]
) -> None:
    made: list[tuple[Place, Temporal]] = []
    ran: list[tuple[str, int]] = []

    def neuron(place: Place) -> Temporal:
        made.append((place, HDLIF(2)))
        return made[-1][1]

    with torch.device("meta"):
        network = make(neuron=neuron).eval()
    for name, module in network.named_modules():
        if isinstance(module, HDLIF):
            module.register_forward_hook(lambda _, given, y, name=name: ran.append((name, given[0].shape[2])))
    network(torch.empty(1, 1, 3, 48, 48, device="meta"), steps=range(1))
    assert [(place.name, place.channels) for place, _ in made] == ran
    assert all(network.get_submodule(place.name) is module for place, module in made)
    assert [(place.index, place.stage) for place, _ in made] == list(enumerate(stages))


@every(final_size=[2, None])
def test_vgg_pools_after_the_neuron_attends_before_it_and_reads_the_last_map(final_size: int | None) -> None:
    plan = (4, "P", 6, "P")
    network = vgg_snn(neuron=lambda place: HDLIF(2), classes=3, plan=plan, final_size=final_size, attention=SECA)
    assert [name for name, _ in network.stem.named_children()] == ["conv1", "bn1"]
    names = [name for name, _ in network.body.named_children()]
    assert names == ["att1", "act1", "pool1", "conv2", "bn2", "att2", "act2", "pool2"]
    assert [m.channels for m in network.modules() if isinstance(m, SECA)] == [4, 6]
    # the mean of a 2x2 patch, not its maximum
    assert network.body.pool1(torch.tensor([[[[4.0, 0.0], [0.0, 0.0]]]])).item() == 1.0
    assert network.classifier.in_features == (24 if final_size else 6)
    assert network(torch.zeros(2, 1, 2, 8, 8))[0].shape == (2, 1, 3)


@every(neuron=[HDLIF, ParallelHDLIF], inside=[torch.float64, torch.float32, torch.bfloat16])
def test_logits_are_float32_or_wider_with_one_row_per_step_for_a_constant_input_too(
    neuron: type[HDLIF], inside: torch.dtype
) -> None:
    network = tiny_resnet(lambda place: neuron(3)).to(inside)
    logits, _ = network(torch.ones(1, 2, 2, 8, 8, dtype=inside), steps=range(3))
    assert logits.shape == (3, 2, 3)
    assert logits.dtype == torch.promote_types(inside, torch.float32)


def narrow_strided_stem(in_channels: int, width: int) -> nn.Module:
    first, then = nn.Conv2d(in_channels, 16, 3, padding=1), nn.Conv2d(16, 8, 1)
    return Sequential(first, then, nn.Conv2d(8, width, 1, stride=2, bias=False), BatchNorm2d(width))


@every(change=[{}, {"training": False}, {"batch": 1}, {"width": 8}, {"in_channels": 1}, {"stem": narrow_strided_stem}])
def test_a_wide_stem_that_learns_from_batches_of_coloured_pictures_has_channels_last(change: dict[str, Any]) -> None:
    given = {"training": True, "batch": 4, "width": 16, "in_channels": 3, "stem": cifar_stem, **change}
    training, batch, seen = given.pop("training"), given.pop("batch"), set[bool]()
    network = resnet(neuron=lambda place: HDLIF(2), blocks=(1,), classes=3, **given).train(training)

    def is_last(maps: Tensor) -> bool:
        return not maps.is_contiguous() and maps.is_contiguous(memory_format=torch.channels_last)

    for layer in network.stem.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _, given, y: seen.update(map(is_last, (given[0], y))))
    network(torch.randn(1, batch, given["in_channels"], 8, 8), steps=range(2))
    assert seen == {not change}


BLOCKS = {"I": AttentionBlockI, "II": AttentionBlockII}


def block_of(kind: type[PreActBlock], *, strided: bool, **arguments: object) -> PreActBlock:
    out, stride = (8, 2) if strided else (4, 1)
    places = (Place("act1", 0, 0, 0, 0, 4), Place("act2", 0, 0, 1, 1, out))
    torch.manual_seed(0)
    neuron = lambda place: HDLIF(3, leak=0.75)  # noqa: E731
    block = kind(4, out, stride=stride, neuron=neuron, conv=QuantConv2d, places=places, **arguments)
    return scatter_norms(block.double())


def stateless(module: nn.Module, h: Tensor) -> Tensor:
    return module(h, None, range(3))[0]


def by_formula(block: PreActBlock, h: Tensor, form: str) -> Tensor:
    def convolved(conv: nn.Module, h: Tensor) -> Tensor:
        return torch.stack([conv(step) for step in h])

    # all modules start their sequence here, so that none needs a state
    joins = form == "II" and len(block.shortcut) == 0
    c1 = stateless(block.bn1, convolved(block.conv1, stateless(block.act1, h)))
    c1 = stateless(block.att1, h + c1 if joins else c1)
    c2 = stateless(block.bn2, convolved(block.conv2, stateless(block.act2, c1)))
    c2 = stateless(block.att2, c1 + c2 if form == "II" else c2)
    return c2 + (stateless(block.shortcut, h) if len(block.shortcut) else h)


@every(form=list(BLOCKS), strided=[False, True])
def test_block_is_its_formula_and_with_open_gates_the_plain_one(form: str, strided: bool) -> None:
    block = block_of(BLOCKS[form], strided=strided, attention=SECA)
    h = torch.randn(3, 2, 4, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(stateless(block, h), by_formula(block, h, form), **EXACT)
    if form == "I":
        for attention in (block.att1, block.att2):
            nn.init.zeros_(attention.weight)
            nn.init.constant_(attention.bias, 100.0)
        plain = block_of(PreActBlock, strided=strided)
        plain.load_state_dict({k: v for k, v in block.state_dict().items() if not k.startswith("att")})
        torch.testing.assert_close(stateless(block, h), stateless(plain, h), **EXACT)


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
    attentions = [module for module in network.modules() if isinstance(module, SECA)]
    assert sum(p.numel() for module in attentions for p in module.parameters()) == published
    assert [attentions[place].channels for place in (0, 1, -1)] == [64, 64, 512]


def test_blocks_have_the_inner_channels_that_are_asked_for() -> None:
    for make in (resnet, detector):
        arguments: dict[str, Any] = {"classes": 3, "width": 4, "blocks": [1, 2]}
        network = on_meta(make, inner={"body.stage2.1": 5}, **arguments)
        shapes = {
            f"{name}.{conv}": tuple(getattr(m, conv).weight.shape[:2])
            for name, m in network.named_modules()
            if isinstance(m, PreActBlock)
            for conv in ("conv1", "conv2")
        }
        assert shapes == {
            "body.stage1.0.conv1": (4, 4),
            "body.stage1.0.conv2": (4, 4),
            "body.stage2.0.conv1": (8, 4),
            "body.stage2.0.conv2": (8, 8),
            "body.stage2.1.conv1": (5, 8),
            "body.stage2.1.conv2": (8, 5),
        }
        assert network.get_submodule("body.stage2.1.bn1").weight.shape == (5,)
        for inner in ({"body.stage3.0": 4}, {"body.stage1.0": 0}):
            with pytest.raises(
                ValueError, match=r"give at least 1 channel to some of body\.stage1\.0 to body\.stage2\.1"
            ):
                on_meta(make, inner=inner, **arguments)
        arguments["inner"] = {"body.stage2.1": 5}
        with pytest.raises(ValueError, match=r"choose attention\.form I"):
            on_meta(make, block=partial(AttentionBlockII, attention=SECA), **arguments)
        network = on_meta(make, block=partial(AttentionBlockI, attention=SECA), **arguments)
        assert network.eval()(torch.empty(1, 1, 3, 64, 64, device="meta"), steps=range(1))[0].shape[:2] == (1, 1)
    network = on_meta(unet, classes=3, width=4, depth=1, inner={"body.up0": 2})
    assert network.get_submodule("body.up0.conv1").weight.shape[:2] == (2, 4)
    with pytest.raises(ValueError, match=r"some of body\.down0 to body\.up0"):
        on_meta(unet, classes=3, width=4, depth=1, inner={"body.up1": 2})
