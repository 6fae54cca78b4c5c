"""What stands where in a network: places, names, factories, and the block's equation."""

from functools import partial

import torch
from torch import Tensor, nn

from cases import every
from hdlif.models import Network, Place, resnet18, resnet34, vgg_snn
from hdlif.nn import HDLIF, ParallelHDLIF, Temporal
from small_networks import tiny_resnet


def with_places(make, **arguments: object) -> tuple[Network, list[tuple[Place, Temporal]]]:  # type: ignore[no-untyped-def]
    made: list[tuple[Place, Temporal]] = []

    def neuron(place: Place) -> Temporal:
        made.append((place, HDLIF(1)))
        return made[-1][1]

    with torch.device("meta"):
        return make(neuron=neuron, classes=10, **arguments), made


@every("make", "layers", of=[(resnet18, 16), (resnet34, 32), (vgg_snn, 8)])
def test_every_place_names_its_neuron_and_is_numbered_in_order(make, layers: int) -> None:  # type: ignore[no-untyped-def]
    network, made = with_places(make)
    assert [place.index for place, _ in made] == list(range(layers))
    for place, neuron in made:
        assert network.get_submodule(place.name) is neuron
    in_tree = [name for name, module in network.named_modules() if isinstance(module, HDLIF)]
    assert in_tree == [place.name for place, _ in made]


def test_block_adds_the_real_valued_current_to_its_branch() -> None:
    network = tiny_resnet(lambda place: HDLIF(1)).eval()
    x = torch.randn(1, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def fires(m: Tensor) -> Tensor:
        return torch.relu(m - 0.5)

    def normed(norm: nn.Module, h: Tensor) -> Tensor:
        return norm(h[None], None, range(1))[0][0]

    for block, strided in ((network.body.stage1[0], False), (network.body.stage2[0], True)):
        h = normed(block.bn1, block.conv1(fires(x[0])))
        h = normed(block.bn2, block.conv2(fires(h)))
        shortcut = normed(block.shortcut.bn, block.shortcut.conv(x[0])) if strided else x[0]
        torch.testing.assert_close(block(x, None, range(1))[0][0], h + shortcut, atol=1e-7, rtol=0)


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
