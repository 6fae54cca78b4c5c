"""Whatever a training has, one that stops and goes on ends with the bytes of one that nothing stopped."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import own_parts
from hdlif.learning import SLTT, STBP, Distillation, StochasticStep
from hdlif.recipe import TrainingConfig
from hdlif.training import Accelerator, Mix, Teacher
from hdlif.training.optim import Drops
from training.tiny import convolutional, events, same, stop, train


def config(**changes: Any) -> TrainingConfig:
    return TrainingConfig(**{"epochs": 2, "learning_rate": 0.1} | changes)


def float16(device: str = "cpu", **scaler: Any) -> Accelerator:
    """On a CPU too, which computes in bfloat16 if there is no scaler."""
    return Accelerator(device, "16-mixed", scaler=torch.amp.GradScaler(device, **scaler))


def teacher() -> Teacher:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 10))
    return Teacher(network, shown=([0.5], [0.5]), taken=([0.0] * 3, [1.0] * 3))


EXTRAS: dict[str, dict[str, Any]] = {
    "accumulation, clipping, average": {
        "config": config(accumulate=3, clip_norm=0.1, ema_decay=0.9),
        "batch_size": 8,
    },
    "channels last, mixup": {
        "config": config(channels_last=True),
        "network": convolutional,
        "mix": Mix(classes=10, mixup_alpha=0.8, cutmix_alpha=1.0, prob=1.0, switch_prob=0.5),
    },
    "compiled": {"config": config(compile=True), "compile_backend": "eager", "network": convolutional},
    "teacher": {"teacher": teacher(), "rule": StochasticStep(criterion=Distillation(F.cross_entropy, 4.0, 0.5))},
}


def by(kind: Any) -> dict[str, Any]:
    return {"optimizer": lambda model: kind(model.parameters(), lr=0.01), "scheduler": Drops([0.5])}


TRAININGS: dict[str, dict[str, Any]] = {
    "stbp": {"rule": STBP()},
    "sltt in float64": {"rule": SLTT("each"), "precision": "64-true"},
    "two steps in bfloat16": {"rule": StochasticStep(2), "precision": "bf16-mixed"},
    **EXTRAS,
    "adam": by(torch.optim.Adam),
    "an optimiser of one's own": by(own_parts.SignSGD),
    "adamw": by(torch.optim.AdamW),
    "rmsprop": by(torch.optim.RMSprop),
    "adagrad": by(torch.optim.Adagrad),
    "nadam": by(torch.optim.NAdam),
}
SLOW = {"compiled", "adamw", "rmsprop", "adagrad", "nadam"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in TRAININGS])
def test_a_resumed_training_ends_with_the_same_bytes(name: str, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    arguments = {"config": config()} | TRAININGS[name]
    train(one, **arguments)
    stop(two, 7, **arguments)
    train(two, resume=True, **arguments)
    assert same(one, two)


def test_resume_is_exact_in_float16_with_skipped_updates(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    scaled = partial(float16, init_scale=2.0**24, growth_interval=2)
    train(one, config=config(), accelerator=scaled())
    stop(two, 7, config=config(), accelerator=scaled())
    train(two, config=config(), accelerator=scaled(), resume=True)
    assert same(one, two)
    skipped = [event["skipped_updates"] for event in events(one) if event["event"] == "train"]
    assert 0 < skipped[0] <= skipped[-1] < 10
