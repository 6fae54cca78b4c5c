"""The optimiser and the scheduler that a training is given, or that its config names."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from hdlif.errors import CheckpointError, InputError
from hdlif.learning import STBP
from hdlif.nn import HDLIF, Sequential
from hdlif.recipe import TrainingConfig
from hdlif.tasks import Classify
from hdlif.training import Callback, Checkpoints, Fit, Trainer, Training, checkpoint
from hdlif.training.optim import Drops, constant, groups

DRAWS = torch.Generator().manual_seed(1)
X, Y = torch.randn(32, 2, 4, generator=DRAWS), torch.arange(32) % 3
CONFIG = TrainingConfig(epochs=4, learning_rate=0.05)


def network() -> nn.Module:
    torch.manual_seed(0)
    return Sequential(nn.Flatten(), nn.Linear(8, 16), HDLIF(3), nn.Linear(16, 3))


class Rates(Callback):
    """Notes the learning rates of each batch; ends the training after one of them."""

    def __init__(self, end_after: int | None = None) -> None:
        self.seen: list[list[float]] = []
        self.end_after = end_after

    def on_batch_end(self, training: Training) -> None:
        self.seen.append([group["lr"] for group in training.optimizer.param_groups])
        if training.counters.step == self.end_after:
            raise KeyboardInterrupt


def fit(model: nn.Module, *callbacks: Callback, config: TrainingConfig = CONFIG, **arguments: Any) -> Fit:
    """Train for four batches per epoch."""
    task = Classify(("a", "b", "c"), 3)
    given = {"cores": 0, **arguments}
    trainer = Trainer(model, rule=STBP(), task=task, config=config, callbacks=callbacks, batch_size=8, **given)
    return trainer.fit((X, Y), (X, Y))


def test_the_optimiser_that_the_config_names_is_that_of_torch() -> None:
    config = {"epochs": 1, "learning_rate": 0.01, "weight_decay": 0.02}
    named = config | {"optimizer": {"kind": "adamw", "beta1": 0.8}, "schedule": {"kind": "drops", "at": [0.5]}}
    one, two = network(), network()
    fit(one, config=TrainingConfig.model_validate(named))
    optimizer = torch.optim.AdamW(groups(two, 0.02), lr=0.01, betas=(0.8, 0.999))
    fit(two, config=TrainingConfig.model_validate(config), optimizer=optimizer, scheduler=Drops([0.5]))
    assert all(map(torch.equal, one.state_dict().values(), two.state_dict().values()))


def test_an_optimiser_has_its_own_rates_and_a_function_multiplies_them() -> None:
    model, rates = network(), Rates()
    weights, biases = ([p for p in model.parameters() if p.ndim == n] for n in (2, 1))
    optimizer = torch.optim.Adam([{"params": weights, "lr": 0.4}, {"params": biases}], lr=0.2)
    arguments: dict[str, Any] = {"optimizer": optimizer, "scheduler": lambda step, total: 1 - step / total}
    fit(model, rates, **arguments)
    assert rates.seen == [[0.4 * (1 - step / 16), 0.2 * (1 - step / 16)] for step in range(16)]
    # Trained again, it begins with the same rates.
    fit(model, rates, **arguments)
    assert rates.seen[:16] == rates.seen[16:]


def test_a_scheduler_of_torch_is_stepped_once_per_epoch() -> None:
    halved = [0.4] * 4 + [0.2] * 4 + [0.1] * 4 + [0.05] * 4
    for factory in (partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5), _plateau):
        rates, model = Rates(), network()
        fit(model, rates, optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=0.4), scheduler=factory)
        assert [rate for (rate,) in rates.seen] == pytest.approx(halved)
    rates, model = Rates(), network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.4)
    fit(model, rates, optimizer=optimizer, scheduler=lr_scheduler.ExponentialLR(optimizer, gamma=0.5))
    assert [rate for (rate,) in rates.seen] == pytest.approx(halved)


def _plateau(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    """Halves the rate after each epoch, since no loss is below -1."""
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    scheduler.best = -1.0
    return scheduler


def _warmed_up(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    parts: list[lr_scheduler.LRScheduler] = [
        lr_scheduler.LinearLR(optimizer, 0.1, total_iters=2),
        lr_scheduler.MultiStepLR(optimizer, [1, 1, 2], gamma=0.3),
    ]
    return lr_scheduler.SequentialLR(optimizer, parts, [2])


def test_a_training_with_a_scheduler_of_torch_resumes_exactly(tmp_path: Path) -> None:
    schedulers: dict[str, Callable[..., lr_scheduler.LRScheduler]] = {
        "plateau": partial(lr_scheduler.ReduceLROnPlateau, factor=0.5, patience=0),
        "sequence": _warmed_up,
        "cosine": partial(lr_scheduler.CosineAnnealingLR, T_max=4),
    }

    def run(name: str, folder: str, end_after: int | None = None, *, resume: bool = False) -> None:
        model = network()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        kept = Checkpoints(tmp_path / name / folder, recipe={}, resume=resume, every=0)
        fit(model, kept, Rates(end_after), optimizer=optimizer, scheduler=schedulers[name](optimizer))

    for name in schedulers:
        run(name, "straight")
        with pytest.raises(KeyboardInterrupt):
            run(name, "stopped", 11)
        run(name, "stopped", resume=True)
        files = [(tmp_path / name / folder / "model.safetensors").read_bytes() for folder in ("straight", "stopped")]
        assert files[0] == files[1], name
    last = tmp_path / "cosine" / "stopped" / "last.safetensors"
    tensors, record = checkpoint.load(last)
    checkpoint.save(last, tensors=tensors, record=record | {"scheduled_losses": []})
    with pytest.raises(CheckpointError):
        run("cosine", "stopped", resume=True)


def test_the_choice_of_threads_leaves_an_optimiser_as_it_is() -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    updates = fit(model, optimizer=optimizer, cores=2, scheduler=constant).steps
    steps: list[Tensor] = [state["step"] for state in optimizer.state.values()]
    assert len(steps) == len(list(model.parameters()))
    assert {int(step) for step in steps} == {updates}


def test_what_is_no_optimiser_or_scheduler_of_the_model_is_refused() -> None:
    model = network()
    foreign = torch.optim.Adam(network().parameters())
    own = torch.optim.Adam(model.parameters())
    warm = TrainingConfig(epochs=2, learning_rate=0.1, warmup_epochs=1)
    unknown = TrainingConfig.model_validate({"epochs": 1, "learning_rate": 0.1, "optimizer": {"kind": "my:Lion"}})
    wrong = TrainingConfig.model_validate(
        {"epochs": 1, "learning_rate": 0.1, "optimizer": {"kind": "adam", "beta3": 1}}
    )
    refused: list[dict[str, Any]] = [
        {"optimizer": torch.optim.Adam},
        {"optimizer": "adam"},
        {"optimizer": foreign},
        {"optimizer": lambda model: 3},
        {"scheduler": lr_scheduler.StepLR},
        {"scheduler": "cosine"},
        {"scheduler": lr_scheduler.StepLR(own, 1)},
        {"optimizer": own, "scheduler": lr_scheduler.StepLR(foreign, 1)},
        {"scheduler": lambda optimizer: 3},
        {"config": warm, "scheduler": partial(lr_scheduler.StepLR, step_size=1)},
        {"config": unknown},
        {"config": wrong},
    ]
    for arguments in refused:
        try:
            fit(model, **arguments)
        except InputError:
            continue
        raise AssertionError(arguments)
