"""Where channel attention stands: both forms of the residual block, VGG, parameter counts."""

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
    resnet18,
    resnet34,
    vgg_snn,
)
from hdlif.nn import HDLIF, SECA, QuantConv2d
from small_networks import scatter_norms

EXACT = {"atol": 1e-10, "rtol": 0.0}
BLOCKS = {"I": AttentionBlockI, "II": AttentionBlockII}
STEPS = range(3)


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
    return torch.randn(len(STEPS), 2, width, size, size, generator=g, dtype=torch.float64)


def stateless(module: nn.Module, h: Tensor) -> Tensor:
    return module(h, None, STEPS)[0]


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
