"""What several ranks are asked to do, and the processes that do it, joined by gloo as a launcher would start them.

As a program, a training that torchrun starts, and whose workers can be killed: `several_ranks.py OUT`.
"""

import atexit
import itertools
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAUROC, MulticlassCalibrationError, MulticlassF1Score, MulticlassRecall

from hdlif.errors import DataError
from hdlif.learning import NDOT, OTTT, SLTT, STBP, Rule, StochasticStep, StochasticWindow
from hdlif.models import NeuronFactory
from hdlif.nn import GLIF, HDLIF, LIF, AdaptiveHDLIF, GradedLIF, MemBN, ParallelHDLIF, SpikeQuantizer, Ternary
from hdlif.recipe import TrainingConfig
from hdlif.recipe.runs.processes import joined, processes
from hdlif.training import Accelerator, Mix, Ranks, Updater, evaluate, sgd
from hdlif.training.activity import Budget, Density, Penalty, Surplus
from hdlif.training.ranks import gathered
from hdlif.training.tasks import Classify
from small_networks import tiny_resnet
from training import tiny

T, BATCH, UPDATES = 3, 8, 3
RULES: Mapping[str, Rule] = {
    "stbp": STBP(),
    "sltt": SLTT(),
    "sltt each": SLTT("each"),
    "random step": StochasticStep(),
    "random window": StochasticWindow(2),
    "reduced window": StochasticWindow(2, loss="reduced"),
    "sltt-k": StochasticStep(2, complete=True),
    "ottt": OTTT(),
    "ndot each": NDOT("each"),
}
PENALTIES: Mapping[str, Penalty | None] = {
    "free": None,
    "surplus": Surplus(0.1),
    # Between what the shares of the first batch have, so that penalties of the shares would be others.
    "density": Density(0.3, weight=2.0),
    "mean density": Density(0.25, weight=2.0, per_layer=False),
    "sops": Budget(8000.0, T, weight=2.0),
}
NEURONS: Mapping[str, NeuronFactory] = {
    "hdlif": lambda place: HDLIF(T, norm=MemBN(T, place.channels, mix="sigmoid")),
    "quantised hdlif": lambda place: HDLIF(T, quantizer=SpikeQuantizer(learned=True)),
    "hdlif of channels": lambda place: HDLIF(T, channels=place.channels),
    "parallel": lambda place: ParallelHDLIF(T),
    "lif": lambda place: LIF(T, learned=True),
    "graded": lambda place: GradedLIF(T),
    "glif": lambda place: GLIF(T),
    "adaptive": lambda place: AdaptiveHDLIF(T),
}
STOPPED = 7
"""Steps that a training had done when it was stopped."""
Case = tuple[str, str, str]
"""Names of a neuron, a rule and a penalty."""
ALL: Sequence[Case] = (
    *itertools.product(["hdlif"], RULES, PENALTIES),
    *itertools.product(NEURONS, ["stbp", "sltt", "random step"], ["free"]),
)


def learned(accelerator: Accelerator, case: Case) -> dict[str, Tensor]:
    """Gradients of every update, then weights and buffers; losses; and "averagings", where there are several ranks."""
    neuron, rule, penalty = case
    model = tiny_resnet(NEURONS[neuron], quantizer=Ternary()).train()
    optimizer = sgd(model, learning_rate=0.1, momentum=0.9, weight_decay=1e-3)
    found: dict[str, Tensor] = {}
    updates = itertools.count()

    def note(*_: object) -> None:
        update = next(updates)
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            found[f"gradient {update} {name}"] = parameter.grad.clone().cpu()

    optimizer.register_step_pre_hook(note)
    ranks = Ranks(accelerator)
    updater = Updater(accelerator, model, optimizer, RULES[rule], penalty=PENALTIES[penalty])
    averagings = counted(updater._wrapped)
    generator = torch.Generator().manual_seed(1)
    for batch in range(UPDATES):
        # Some images are brighter than others, so that the shares differ.
        x = torch.randn(T, BATCH, 2, 6, 6, generator=generator, dtype=torch.float64)
        x *= torch.linspace(0.2, 2.0, BATCH, dtype=torch.float64).view(1, -1, 1, 1, 1)
        target = torch.randint(3, (BATCH,), generator=generator)
        (share,) = ranks.shares([torch.arange(BATCH)])
        loss = updater(*accelerator.to_device(x[:, share], target[share]), RULES[rule].schedule(T, generator))
        found[f"loss {batch}"] = torch.tensor(loss, dtype=torch.float64)
    assert averagings == ([] if accelerator.world_size == 1 else [True] * next(updates))
    return found | {name: tensor.clone().cpu() for name, tensor in model.state_dict().items()}


def counted(module: nn.Module) -> list[bool]:
    """A list that gets longer with every averaging of the gradients; empty where there is one process."""
    found: list[bool] = []

    def hook(group: object, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
        if bucket.is_last():
            found.append(True)
        return allreduce_hook(None, bucket)

    if isinstance(module, DistributedDataParallel):
        module.register_comm_hook(None, hook)
    return found


def learn(accelerator: Accelerator, folder: Path, cases: Sequence[Case]) -> None:
    """What comes of each of `cases`, into one file for each rank."""
    found = {f"{case} {name}": tensor for case in cases for name, tensor in learned(accelerator, case).items()}
    save_file(found, folder / f"rank{accelerator.rank}.safetensors")


def train_and_stop(accelerator: Accelerator, folder: Path) -> None:
    """A training to its end, and one that stops."""
    train(accelerator, folder / "straight")
    stop(accelerator, folder / "stopped")


def stop(accelerator: Accelerator, out: Path) -> None:
    """A training that a signal to the last rank stops in its second epoch, after `STOPPED` steps."""
    last = accelerator.rank == accelerator.world_size - 1
    rule = tiny.At(STOPPED - 1, lambda: os.kill(os.getpid(), signal.SIGTERM) if last else None, StochasticStep())
    with pytest.raises(SystemExit) as stopped:
        train(accelerator, out, rule=rule)
    assert stopped.value.code == (143 if accelerator.rank == 0 else 0)


def go_on(accelerator: Accelerator, folder: Path) -> None:
    """The rest of a training that one process has stopped."""
    # Never met: it counts the batches.
    rule = tiny.At(-1, lambda: None, StochasticStep())
    train(accelerator, folder / "stopped alone", rule=rule, resume=True)
    assert rule.seen == 2 * tiny.BATCHES - STOPPED


EXTRAS = TrainingConfig(epochs=2, learning_rate=0.1, accumulate=2, clip_norm=0.05, ema_decay=0.8)


def train_with_extras(accelerator: Accelerator, folder: Path) -> None:
    """A training with what changes an update, and one whose samples are mixed, with noise of each rank's own."""
    train(accelerator, folder / "extras", config=EXTRAS)
    model = tiny.without_dropout()
    weights = list(model.parameters())
    start = [weight.detach().clone() for weight in weights]

    def same_everywhere(*_: object) -> None:
        assert all((gathered(weight.detach()) == weight).all() for weight in weights)
        assert not torch.equal(weights[0], start[0])

    mix = Mix(classes=10, mixup_alpha=0.4, cutmix_alpha=0.0, prob=1.0, switch_prob=0.0)
    tiny.train(folder / "mixed", accelerator=accelerator, model=model, epochs=1, mix=mix, after_epoch=same_everywhere)


METRICS = ("f1", "auroc", "ece", *(f"recall.class {number}" for number in range(10)))
"""Names of what `asking` asks for."""


def asking(metrics: Mapping[str, Metric] | None = None, *, best: str | None = "ece") -> Classify:
    """The task of `tiny.train` with metrics."""
    recall = MulticlassRecall(10, average=None)
    every = {"f1": MulticlassF1Score(10), "auroc": MulticlassAUROC(10), "ece": MulticlassCalibrationError(10)}
    labels = tuple(f"class {number}" for number in range(10))
    return Classify(labels, tiny.TIME_STEPS, metrics=metrics or {**every, "recall": recall}, best=best)


def train_with_metrics(accelerator: Accelerator, folder: Path) -> None:
    """A training whose best epoch a metric chooses, and a measurement by the first rank alone."""
    out = folder / "metrics"
    train(accelerator, out, task=asking())
    if accelerator.rank == 0:
        samples = ((x.double(), target) for x, target in tiny.tiny_sets().test.sequences(64))
        found = evaluate(tiny.without_dropout().double(), samples, task=asking())
        (out / "alone.json").write_text(json.dumps(found.metrics))


def train(accelerator: Accelerator, out: Path, **changes: Any) -> None:
    """`tiny.train` without its dropout, which is of each rank's own."""
    tiny.train(out, accelerator=accelerator, model=tiny.without_dropout(), epochs=2, **changes)


def fail_together(accelerator: Accelerator, folder: Path) -> None:
    """A failure on the last rank is the first one's, and the others end in silence."""
    ranks = Ranks(accelerator)

    def action() -> int:
        if ranks.index == ranks.count - 1:
            raise DataError("this rank's file is damaged")
        return ranks.index

    with pytest.raises(DataError if ranks.first else SystemExit, match="file is damaged" if ranks.first else "0"):
        ranks.together(action)
    assert ranks.led(lambda: f"from {ranks.index}") == "from 0"
    order = folder / "order"
    ranks.in_turn(lambda: order.open("a").write(f"{ranks.index}\n"))
    assert order.read_text().startswith("0\n")
    assert ranks.highest(ranks.index) == ranks.count - 1
    assert ranks.sum(torch.tensor([1, ranks.index])).tolist() == [ranks.count, sum(range(ranks.count))]
    assert not torch.tensor(ranks.mean_value(float("inf") if ranks.index == 1 else 1.0)).isfinite()
    with torch.random.fork_rng(), pytest.raises(DataError if ranks.first else SystemExit):
        # Three images for more ranks would leave some without any; two for two would not.
        ranks.together(lambda: ranks.shares([torch.arange(ranks.count - 1)]))


Work = Callable[[Accelerator, Path], None]
NO_GPUS = {"CUDA_VISIBLE_DEVICES": ""}
"""Environment of ranks that are more than there are GPUs."""


def on_ranks(count: int, folder: Path, *works: Work, gpus: bool = False) -> None:
    """Each of `works` with the accelerator of `count` ranks, in float64; fails where one of them does."""
    with patch.dict(os.environ, {} if gpus else NO_GPUS):
        torch.multiprocessing.spawn(_rank, (count, free_port(), folder, works), nprocs=count)
    assert [(folder / f"parted{rank}").read_text() for rank in range(count)] == ["True"] * count


def _rank(index: int, count: int, port: int, folder: Path, works: tuple[Work, ...]) -> None:
    torch.set_num_threads(1)
    place = {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "LOCAL_RANK": index, "NODE_RANK": 0}
    os.environ.update({name: str(value) for name, value in place.items()})
    # Exit handlers run in the reverse of their order: this one last.
    atexit.register(lambda: (folder / f"parted{index}").write_text(str(not dist.is_initialized())))
    accelerator = joined(count, 1, "64-true")
    for work in works:
        work(accelerator, folder)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        port: int = listener.getsockname()[1]
        return port


if __name__ == "__main__":
    out = Path(sys.argv[1])
    torch.set_num_threads(1)
    accelerator = joined(*processes(None, None), "32-true")
    out.with_suffix(f".{accelerator.rank}").write_text(str(os.getpid()))
    tiny.train(out, accelerator=accelerator, epochs=8, resume=True, checkpoint_every=0.02)
