"""Penalties on activity: their values by hand, what they see, and that they silence neurons in a training."""

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor

from hdlif.learning import SLTT, STBP, Rule, StochasticStep
from hdlif.nn import HDLIF, Ternary
from hdlif.training import Updater, sgd
from hdlif.training.activity import Budget, Density, Penalty, Seen, Surplus, count, watching
from small_networks import tiny_resnet

T = 4
TARGET = torch.tensor([0, 1, 2, 0])


def frames() -> Tensor:
    return torch.randn(1, len(TARGET), 2, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_count_is_differentiated_as_a_triangle_above_silence() -> None:
    spikes = torch.tensor([0.0, 0.25, 0.75, 3.0], requires_grad=True)
    counted = count(spikes)
    counted.sum().backward()
    assert counted.tolist() == [0.0, 1.0, 1.0, 1.0]
    assert spikes.grad is not None
    assert spikes.grad.tolist() == [0.0, 0.75, 0.25, 0.0]


def test_penalties_by_hand() -> None:
    # Densities ½ and ¼; means ¾ and ½.
    seen = Seen(spikes={"a": [torch.tensor([0.0, 1.5])], "b": [torch.tensor([0.0, 0.0, 0.0, 2.0])]})
    assert Surplus(0.1)(seen).item() == pytest.approx(0.125)
    assert Density(0.3)(seen).item() == pytest.approx(0.2)
    assert Density(0.0, weight=2.0)(seen).item() == pytest.approx(1.5)
    # The network's density is 2 of 6 neurons.
    whole = Seen(spikes={"a": [torch.tensor([[0.0, 1.5]])], "b": [torch.tensor([[0.0, 0.0, 0.0, 2.0]])]})
    assert Density(0.25, per_layer=False)(whole).item() == pytest.approx(1 / 3 - 0.25)


def test_steps_seen_count_alike() -> None:
    seen = Seen(spikes={"a": [torch.tensor([1.0, 1.0]), torch.tensor([0.0, 0.0])]})
    assert Density(0.0)(seen).item() == 0.5
    assert Surplus(1.0)(seen).item() == 0.5


def test_penalty_of_a_share_has_the_value_of_the_batch_and_the_gradient_of_the_share() -> None:
    # The share's density is ½, above the target, that of the whole batch ¼, below it.
    spikes = torch.tensor([0.0, 0.5], requires_grad=True)
    below = Seen(spikes={"a": [spikes]}, mean=lambda _: torch.tensor([0.25]))
    assert Density(0.3)(below).item() == 0
    above = Density(0.1)(Seen(spikes={"a": [spikes]}, mean=lambda _: torch.tensor([0.25])))
    assert above.item() == pytest.approx(0.15)
    above.backward()
    assert spikes.grad is not None
    assert spikes.grad.tolist() == [0.0, 0.25]


def test_budget_is_the_sops_of_the_network_over_it() -> None:
    from hdlif.accounting import profile

    network = tiny_resnet(lambda place: HDLIF(T), quantizer=Ternary()).eval().float()
    x = frames().float()
    watched: list[float] = []
    with watching(network, Budget(1.0, T)) as watch:
        network(x, steps=range(T))
        watched.append(watch.penalty().item() + 1)
    # The estimate takes every spike's fan-out as the average one: padding and strides make the difference.
    assert watched[0] == pytest.approx(profile(network, x, time_steps=T).sops, rel=0.3)


def test_only_steps_with_a_graph_are_seen_and_each_once() -> None:
    network = tiny_resnet(lambda place: HDLIF(T))
    with watching(network, Surplus(1.0)) as watch:
        with torch.no_grad():
            _, state = network(frames(), steps=range(2))
        assert watch.seen.spikes == {}
        network(frames(), state, steps=range(2, 3))
        assert {name: len(spikes) for name, spikes in watch.seen.spikes.items()} == dict.fromkeys(
            ("body.stage1.0.act1", "body.stage1.0.act2", "body.stage2.0.act1", "body.stage2.0.act2"), 1
        )
        assert watch.penalty() > 0
        assert watch.penalty() == 0
    network(frames(), steps=range(1))
    assert watch.seen.spikes == {}


def density(network: torch.nn.Module) -> float:
    with watching(network, Density(0.0, per_layer=False)) as watch:
        network(frames(), steps=range(T))
        return watch.penalty().item()


@pytest.mark.parametrize("rule", [STBP(), SLTT(), SLTT("each"), StochasticStep(2)], ids=repr)
@pytest.mark.parametrize(
    "penalty", [Surplus(3.0), Density(0.02, weight=20.0), Budget(100.0, T, weight=5.0)], ids=lambda p: type(p).__name__
)
def test_penalty_lowers_the_density_of_a_training(rule: Rule, penalty: Penalty) -> None:
    fabric = Fabric(accelerator="cpu", devices=1, precision="64-true")
    densities = []
    for chosen in (None, penalty):
        network = tiny_resnet(lambda place: HDLIF(T))
        optimizer = sgd(network, learning_rate=0.05, momentum=0.0, weight_decay=0.0)
        update = Updater(fabric, network, optimizer, rule, penalty=chosen)
        generator = torch.Generator().manual_seed(0)
        for _ in range(12):
            update(frames(), TARGET, rule.schedule(T, generator))
        densities.append(density(network))
    assert densities[1] < 0.8 * densities[0]


def test_loss_that_is_reported_has_no_penalty() -> None:
    fabric = Fabric(accelerator="cpu", devices=1, precision="64-true")
    losses = []
    for penalty in (None, Surplus(5.0)):
        network = tiny_resnet(lambda place: HDLIF(T))
        update = Updater(
            fabric, network, sgd(network, learning_rate=1e-9, momentum=0, weight_decay=0), STBP(), penalty=penalty
        )
        losses.append(update(frames(), TARGET, STBP().schedule(T, torch.Generator()))[0])
    assert losses[0] == losses[1]


def test_targets_and_budgets_without_meaning_are_refused() -> None:
    with pytest.raises(ValueError, match=r"target = 1.5; a spike density lies in 0\.\.1"):
        Density(1.5)
    with pytest.raises(ValueError, match="sops = 0; a budget is above 0"):
        Budget(0, T)
