"""A training small enough for many tests."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from after_epoch import AfterEpoch
from hdlif.data import DataSets, synthetic
from hdlif.learning import Plan, Rule, Step, StochasticStep
from hdlif.models import resnet
from hdlif.nn import HDLIF, BatchNorm1d, QuantLinear, Sequential, Ternary
from hdlif.recipe import TrainingConfig
from hdlif.training import (
    Accelerator,
    ActivityPenalty,
    Checkpoints,
    Fit,
    Log,
    Mixing,
    Progress,
    Teaching,
    Trainer,
    progress_bar,
)
from hdlif.training.tasks import Classify

TIME_STEPS, EPOCHS, BATCHES, BATCH_SIZE = 3, 3, 5, 16

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def tiny_network() -> Sequential:
    """A ternary layer with batch statistics, HD-LIF neurons and dropout: everything a resume must get right."""
    torch.manual_seed(0)
    return Sequential(
        {
            "flat": nn.Flatten(),
            "fc": QuantLinear(64, 8, bias=False, quantizer=Ternary()),
            "norm": BatchNorm1d(8),
            "act": HDLIF(TIME_STEPS),
            "drop": nn.Dropout(0.1),
            "out": nn.Linear(8, 10),
        }
    )


def convolutional() -> nn.Module:
    """One block of convolutions."""
    torch.manual_seed(0)
    return resnet(neuron=lambda place: HDLIF(TIME_STEPS), blocks=[1], width=4, classes=10, in_channels=1)


def without_dropout() -> Sequential:
    """The same, for devices and ranks whose noise is of their own."""
    model = tiny_network()
    model.get_submodule("drop").p = 0.0
    return model


def tiny_sets() -> DataSets:
    sets = synthetic(validation=20, augment=["flip", "shift"], seed=0)
    return replace(sets, train=sets.train.first(BATCHES * BATCH_SIZE))


def config(**changes: Any) -> TrainingConfig:
    return TrainingConfig(**{"epochs": 2, "learning_rate": 0.1} | changes)


def float16(device: str = "cpu", **scaler: Any) -> Accelerator:
    """On a CPU too, which computes in bfloat16 if there is no scaler."""
    return Accelerator(device, "16-mixed", scaler=torch.amp.GradScaler(device, **scaler))


def train(out: Path, **changes: Any) -> Fit:
    """`Trainer.fit` on the tiny network; `changes` replace single arguments, of it or of its callbacks."""
    epochs = changes.pop("epochs", EPOCHS)
    precision = changes.pop("precision", "32-true")
    sets = changes.pop("sets", None) or tiny_sets()
    bar = changes.pop("progress", None) or progress_bar(enabled=False)
    added = {"mix": Mixing, "teacher": Teaching, "penalty": ActivityPenalty, "after_epoch": AfterEpoch}
    callbacks = [make(changes.pop(key)) for key, make in added.items() if key in changes]
    last = [changes.pop("after_crash")] if "after_crash" in changes else []
    checkpoints = Checkpoints(
        out,
        recipe=changes.pop("record", {"seed": 7, "training": {"epochs": epochs}}),
        resume=changes.pop("resume", False),
        every=changes.pop("checkpoint_every", 60.0),
    )
    task = changes.pop("task", None) or Classify(sets.classes, changes.pop("time_steps", TIME_STEPS))
    arguments: dict[str, Any] = {
        "rule": StochasticStep(),
        "task": task,
        "config": TrainingConfig(epochs=epochs, learning_rate=0.1, warmup_epochs=1),
        "callbacks": [*callbacks, checkpoints, Log(out), Progress(out.name, bar), *last],
        "batch_size": BATCH_SIZE,
        "seed": 7,
        "accelerator": Accelerator("cpu", precision),
        "log_every": 4,
    }
    model = changes.pop("model", None) or changes.pop("network", tiny_network)()
    return Trainer(model, **(arguments | changes)).fit(sets.train, sets.validation)


class CrashError(Exception):
    """Stands for anything that ends a process without notice."""


def crash() -> None:
    raise CrashError


def stop(out: Path, batch: int, **changes: Any) -> Path:
    """A training that ends without notice before its batch `batch`, with a checkpoint before each."""
    rule = At(batch, crash, changes.pop("rule", StochasticStep()))
    with pytest.raises(CrashError):
        train(out, rule=rule, **{"checkpoint_every": 0, **changes})
    return out


def events(out: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without its times."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def model_bytes(out: Path) -> bytes:
    return (out / "model.safetensors").read_bytes()


def same(one: Path, two: Path) -> bool:
    """Whether two trainings ended with the same network and the same events."""
    return model_bytes(one) == model_bytes(two) and events(one) == events(two)


@dataclass
class At:
    """`rule`, that does something else just before batch number `batch` (from 0) of this process."""

    batch: int
    action: Callable[[], object]
    rule: Rule
    seen: int = 0

    def schedule(self, time_steps: int, generator: torch.Generator) -> Plan:
        if self.seen == self.batch:
            self.action()
        self.seen += 1
        return self.rule.schedule(time_steps, generator)

    def __call__(self, model: nn.Module, x: Tensor, target: Tensor, plan: Plan) -> Iterator[Step]:
        return self.rule(model, x, target, plan)
