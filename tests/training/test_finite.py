"""A loss or a weight that is not finite: it is named, and neither learned from nor written."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from hdlif.errors import TrainingError
from hdlif.learning import STBP, StochasticStep
from hdlif.training import checkpoint
from training.tiny import At, tiny_network, train


def poisoned(model: nn.Module, name: str, value: float, batch: int) -> At:
    def poison() -> None:
        with torch.no_grad():
            model.get_parameter(name).fill_(value)

    return At(batch, poison, StochasticStep())


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("body.stage1.0.bn1.weight", math.nan, r"the parameter body\.stage1\.0\.bn1\.weight"),
        ("stem.conv.weight", 3e38, r"the output of stem\.conv \(Conv2d\)"),
    ],
)
def test_loss_not_finite_names_step_and_first_layer(tmp_path: Path, name: str, value: float, found: str) -> None:
    model = tiny_network()
    with pytest.raises(TrainingError, match=rf"step 7: the loss is (nan|inf).*{found};.*last good state"):
        train(tmp_path, model=model, rule=poisoned(model, name, value, 7), checkpoint_every=0)
    tensors, record = checkpoint.load(tmp_path / "last.safetensors")
    assert record["counters"]["step"] == 7
    assert all(tensor.isfinite().all() for tensor in tensors.values())


def test_loss_not_finite_is_not_learned_from(tmp_path: Path) -> None:
    model = tiny_network()

    class Infinite(StochasticStep):
        def __call__(self, model, x, target, plan):  # type: ignore[no-untyped-def]
            for step in super().__call__(model, x, target, plan):
                yield type(step)(step.loss * math.inf, step.logits, step.update)

    before = [parameter.detach().clone() for parameter in model.parameters()]
    with pytest.raises(TrainingError, match=r"the loss itself, every layer is finite.*no checkpoint"):
        train(tmp_path, model=model, rule=Infinite())
    for old, new in zip(before, model.parameters(), strict=True):
        assert torch.equal(old, new)


def test_weight_not_finite_is_never_written(tmp_path: Path) -> None:
    model = tiny_network()
    name = "body.stage1.0.act1.leak.logit"
    assert name in dict(model.named_parameters())

    def nan_gradient() -> None:
        model.get_parameter(name).register_hook(lambda gradient: gradient * math.nan)

    # The loss is still finite when the weight is not: only the writing can notice.
    with pytest.raises(TrainingError, match=rf"step 4: {name.replace('.', '[.]')} is not finite"):
        train(tmp_path, model=model, rule=At(3, nan_gradient, STBP()), checkpoint_every=0)
    assert checkpoint.load(tmp_path / "last.safetensors")[1]["counters"]["step"] == 3
