"""On a GPU as on a CPU: gradients, figures, files, the compiler, and several ranks joined by NCCL.

In float64 both agree as two ranks do with one process. In float32 sums differ in their last bits, by which a spike or a
ternary weight may flip and the next update be another: trainings are compared by how far they end from each other, as
a share of how far they came.
"""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hdlif.learning import SLTT, STBP, Rule, StochasticStep
from hdlif.training import checkpoint, evaluate
from hdlif.training.tasks import Classify
from small_networks import assert_close, name_of
from small_recipes import recipe
from training.several_ranks import ALL, FEW, STOPPED, Case, learn, learned, on_ranks
from training.test_extras import EXTRAS, config, float16, moved, single, updated
from training.test_ranks import TRAININGS, agree, agree_on_files, stop_alone
from training.tiny import (
    BATCHES,
    TIME_STEPS,
    At,
    CrashError,
    crash,
    events,
    needs_gpu,
    tiny_network,
    tiny_sets,
    train,
    without_dropout,
)
from trainings import train as train_recipe

pytestmark = [needs_gpu, pytest.mark.usefixtures("comparable_sums")]

DEVICE = "cuda"


def weights(out: Path, name: str = "last.safetensors") -> dict[str, Tensor]:
    return checkpoint.load(out / name)[0]


def apart(one: Path, other: Path) -> float:
    """Distance between the ends of two trainings, as a share of the way that the first one went."""
    start = dict(tiny_network().named_parameters())
    first, second = weights(one), weights(other)
    way = torch.cat([(first[f"model.{name}"] - p.detach()).flatten() for name, p in start.items()])
    distance = torch.cat([(first[f"model.{name}"] - second[f"model.{name}"]).flatten() for name in start])
    return float(distance.norm() / way.norm())


@pytest.mark.parametrize("case", ALL, ids=" ".join)
def test_every_rule_penalty_and_neuron_learns_as_on_a_cpu(case: Case) -> None:
    assert_close(learned(single("64-true", DEVICE), case), learned(single("64-true"), case))


def test_batches_that_workers_make_are_pinned() -> None:
    batches = list(tiny_sets().made_by(1).train.stream(torch.arange(64).split(32)))
    assert len(batches) == 2
    assert all(x.is_pinned() and target.is_pinned() for x, target in batches)


def test_evaluation_equals_that_of_a_cpu() -> None:
    def seen(device: str) -> list[float]:
        found = evaluate(
            tiny_network().to(device),
            tiny_sets().validation.sequences(16),
            task=Classify(tiny_sets().classes, TIME_STEPS),
            device=torch.device(device),
        )
        return [found.loss, *found.accuracy_per_step]

    assert seen(DEVICE) == pytest.approx(seen("cpu"), abs=1e-3)


SLOW = {"learning_rate": 1e-3}
NEAR = 0.02
"""Noise of 1e-6 in a checkpoint puts ends 0.0004 apart at this learning rate, a momentum that was lost 0.05."""


@pytest.mark.parametrize("extra", ["none", *EXTRAS])
def test_resumed_training_ends_as_one_that_was_never_stopped(extra: str, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"config": config(), "rule": StochasticStep()} | EXTRAS.get(extra, {})
    arguments |= {"config": arguments["config"].model_copy(update=SLOW), "accelerator": single(device=DEVICE)}
    rule, one, two = arguments.pop("rule"), tmp_path / "one", tmp_path / "two"
    # Never met: they count batches.
    whole, rest = (At(-1, lambda: None, rule) for _ in range(2))
    train(one, rule=whole, **arguments)
    with pytest.raises(CrashError):
        train(two, rule=At(STOPPED, crash, rule), checkpoint_every=0, **arguments)
    train(two, rule=rest, resume=True, **arguments)
    # An update of three batches begins again.
    assert rest.seen <= whole.seen - STOPPED + 2
    assert apart(one, two) < NEAR
    for mine, other in zip(events(one), events(two), strict=True):
        assert all(mine[key] == other[key] for key in ("event", "epoch", "step"))
        assert mine["loss"] == pytest.approx(other["loss"], rel=1e-2)


def test_float16_training_goes_on_with_its_scale(tmp_path: Path) -> None:
    def accelerator() -> Any:
        return float16(DEVICE, init_scale=2.0**24, growth_interval=4)

    rule = At(STOPPED, crash, StochasticStep())
    with pytest.raises(CrashError):
        train(tmp_path, config=config(), accelerator=accelerator(), rule=rule, checkpoint_every=0)
    kept = checkpoint.load(tmp_path / "last.safetensors")[1]["precision"]
    assert kept["scale"] < 2.0**24
    again = accelerator()
    seen: list[float] = []

    def note() -> None:
        seen.append(again.strategy.precision.state_dict()["scale"])

    train(tmp_path, config=config(), accelerator=again, rule=At(0, note, StochasticStep()), resume=True)
    assert seen == [kept["scale"]]
    skipped = [event["skipped_updates"] for event in events(tmp_path) if event["event"] == "train"]
    assert skipped == sorted(skipped)
    assert skipped[-1] < 2 * BATCHES


@pytest.mark.parametrize(("begun", "ended"), [(DEVICE, "cpu"), ("cpu", DEVICE)])
def test_training_goes_on_on_the_other_device(begun: str, ended: str, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    common, rule = {"config": config(**SLOW)}, At(STOPPED, crash, StochasticStep())
    train(one, model=without_dropout(), accelerator=single(device=begun), **common)
    with pytest.raises(CrashError):
        train(two, model=without_dropout(), accelerator=single(device=begun), rule=rule, checkpoint_every=0, **common)
    train(two, model=without_dropout(), accelerator=single(device=ended), resume=True, **common)
    assert apart(one, two) < NEAR


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_recipe_trains_and_is_measured(precision: str, tmp_path: Path) -> None:
    small = recipe("training.epochs=1", "data.batch_size=128", f"training.precision={precision}")
    summary = train_recipe(small, out=tmp_path, memory_repeats=0)
    assert summary is not None
    assert len(summary.accuracy_per_step) == small.time_steps
    assert summary.sops is not None
    assert summary.sops > 0


@pytest.mark.slow
@pytest.mark.parametrize("rule", [STBP(), SLTT("each"), StochasticStep(2)], ids=name_of)
def test_network_compiled_by_inductor_trains_alike(rule: Rule) -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    plain, fused = (moved(updated(rule, single(device=DEVICE), compiled=by)[0]) for by in (None, "inductor"))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    # Fused sums round differently, and a spike may flip.
    assert F.cosine_similarity(plain, fused, dim=0) > 0.999
    assert 0.99 < fused.norm() / plain.norm() < 1.01


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_ranks_joined_by_nccl_learn_as_one_process(tmp_path: Path) -> None:
    stop_alone(tmp_path)
    on_ranks(2, tmp_path, partial(learn, cases=FEW), *TRAININGS, gpus=True)
    agree(2, tmp_path, FEW)
    agree_on_files(tmp_path)
