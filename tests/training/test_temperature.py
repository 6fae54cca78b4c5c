"""Dspike's temperature: it moves to the truer gradient, and a training carries it."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cases import every
from hdlif.learning import StochasticStep
from hdlif.nn import LIF, Dspike, Sequential
from hdlif.training import checkpoint
from hdlif.training.temperature import adapt_temperatures, dspikes
from small_networks import tiny_resnet
from training.tiny import BATCHES, EPOCHS, TIME_STEPS, At, model_bytes, train


class Line(nn.Module):
    """A loss that is linear in a weight, and a gradient that is right at one temperature alone."""

    def __init__(self, right: float) -> None:
        super().__init__()
        self.layer, self.right, self.surrogate = nn.Linear(2, 1, bias=False), right, Dspike(3.0)

    def loss(self) -> Tensor:
        weight = self.layer.weight[0]
        true = weight @ torch.tensor([1.0, 2.0])
        # Turned away from the truth the further the temperature is from `right`.
        turned = weight @ torch.tensor([1.0, 2.0 + 5 * (float(self.surrogate.temperature) - self.right)])
        return turned + (true - turned).detach()


def adapted(model: nn.Module, loss: Callable[[], Tensor], **options: Any) -> float:
    return adapt_temperatures(model, loss, generator=torch.Generator().manual_seed(0), **options)


@every("right", "start", "expected", of=[(3.2, 3.0, 3.2), (3.0, 3.0, 3.0), (1.5, 3.0, 2.8), (0.0, 1.1, 1.0)])
def test_moves_one_step_towards_the_truest_gradient(right: float, start: float, expected: float) -> None:
    torch.manual_seed(0)
    model = Line(right)
    model.surrogate.temperature.fill_(start)
    before = model.layer.weight.detach().clone()
    assert adapted(model, model.loss) == pytest.approx(expected)
    assert float(model.surrogate.temperature) == pytest.approx(expected)
    assert torch.equal(model.layer.weight, before)


def test_all_ranks_choose_by_the_mean_of_what_their_shares_say() -> None:
    torch.manual_seed(0)
    of_batch: list[Tensor] = []
    adapted(whole := Line(3.2), whole.loss, mean=lambda values: of_batch.append(values) or values)
    torch.manual_seed(0)
    # By its own share this rank would turn to 2.8.
    share, answers = Line(1.5), iter(of_batch)
    assert adapted(share, share.loss, mean=lambda _: next(answers)) == pytest.approx(3.2)
    assert next(answers, None) is None


def test_all_layers_share_it_and_buffers_stay() -> None:
    network = tiny_resnet(lambda place: LIF(4, surrogate=Dspike(3.0)))
    x, target = torch.randn(1, 4, 2, 6, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    before = {name: b.clone() for name, b in network.named_buffers() if "temperature" not in name}

    def loss() -> Tensor:
        return F.cross_entropy(network(x, steps=range(4))[0].mean(0), target)

    chosen = adapted(network, loss)
    assert len(dspikes(network)) == 4
    assert [float(surrogate.temperature) for surrogate in dspikes(network)] == pytest.approx([chosen] * 4)
    assert all(torch.equal(b, before[name]) for name, b in network.named_buffers() if name in before)
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())


def network() -> nn.Module:
    torch.manual_seed(0)
    neurons = (LIF(TIME_STEPS, surrogate=Dspike(3.0)) for _ in range(2))
    return Sequential(nn.Flatten(), nn.Linear(64, 8), next(neurons), nn.Linear(8, 8), next(neurons), nn.Linear(8, 10))


def test_training_adapts_it_once_an_epoch_also_if_it_stops_between_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[float] = []

    def noting(*arguments: Any, **more: Any) -> float:
        chosen.append(adapt_temperatures(*arguments, **more))
        return chosen[-1]

    monkeypatch.setattr("hdlif.training.loop.adapt_temperatures", noting)
    train(tmp_path / "straight", model=network())
    assert len(chosen) == EPOCHS
    tensors, _ = checkpoint.load(tmp_path / "straight" / "last.safetensors")
    kept = [float(value) for name, value in tensors.items() if name.endswith("surrogate.temperature")]
    assert kept == [pytest.approx(chosen[-1])] * 2
    # Heard of before the first batch of the second epoch.
    stopping = At(BATCHES - 1, lambda: os.kill(os.getpid(), signal.SIGINT), StochasticStep())
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "stopped", model=network(), rule=stopping)
    train(tmp_path / "stopped", model=network(), resume=True)
    assert model_bytes(tmp_path / "stopped") == model_bytes(tmp_path / "straight")
    assert len(chosen) == 2 * EPOCHS
