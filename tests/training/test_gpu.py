"""On a GPU as on a CPU: gradients, figures, files, the compiler, and several ranks joined by NCCL.

In float64 both agree as two ranks do with one process. In float32 sums differ in their last bits, by which a spike or a
ternary weight may flip and the next update be another: trainings are compared by how far they end from each other, as
a share of how far they came.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hdlif.learning import SLTT, STBP, Rule, StochasticStep
from hdlif.training import checkpoint, evaluate
from hdlif.training.tasks import Classify
from small_networks import assert_close, name_of
from training.several_ranks import ALL, STOPPED, Case, learn, learned, on_ranks
from training.test_extras import moved, single, updated
from training.test_interruption import EXTRAS
from training.test_ranks import TRAININGS, agree, agree_on_files, stop_alone
from training.tiny import (
    BATCHES,
    TIME_STEPS,
    At,
    config,
    events,
    float16,
    needs_gpu,
    stop,
    tiny_network,
    tiny_sets,
    train,
    without_dropout,
)

pytestmark = [needs_gpu, pytest.mark.usefixtures("comparable_sums")]

DEVICE = "cuda"


def apart(one: Path, other: Path, network: Callable[[], nn.Module] = tiny_network) -> float:
    """Distance between the ends of two trainings, as a share of the way that the first one went."""
    start = dict(network().named_parameters())
    first, second = (checkpoint.load(out / "last.safetensors")[0] for out in (one, other))
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
    sets, found = tiny_sets(), []
    for device in (DEVICE, "cpu"):
        batches, task = sets.validation.sequences(16), Classify(sets.classes, TIME_STEPS)
        seen = evaluate(tiny_network().to(device), batches, task=task, device=torch.device(device))
        found.append([seen.loss, *seen.accuracy_per_step])
    assert found[0] == pytest.approx(found[1], abs=1e-3)


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
    stop(two, STOPPED, rule=rule, **arguments)
    train(two, rule=rest, resume=True, **arguments)
    # An update of three batches begins again.
    assert rest.seen <= whole.seen - STOPPED + 2
    assert apart(one, two, arguments.get("network", tiny_network)) < NEAR
    for mine, other in zip(events(one), events(two), strict=True):
        assert all(mine[key] == other[key] for key in ("event", "epoch", "step"))
        assert mine["loss"] == pytest.approx(other["loss"], rel=1e-2)


def test_float16_training_goes_on_with_its_scale(tmp_path: Path) -> None:
    def scaled() -> Any:
        return float16(DEVICE, init_scale=2.0**24, growth_interval=4)

    stop(tmp_path, STOPPED, config=config(), accelerator=scaled())
    kept = checkpoint.load(tmp_path / "last.safetensors")[1]["precision"]["scale"]
    assert kept < 2.0**24
    again, seen = scaled(), []
    rule = At(0, lambda: seen.append(again.strategy.precision.state_dict()["scale"]), StochasticStep())
    train(tmp_path, config=config(), accelerator=again, rule=rule, resume=True)
    assert seen == [kept]
    skipped = [event["skipped_updates"] for event in events(tmp_path) if event["event"] == "train"]
    assert skipped == sorted(skipped)
    assert skipped[-1] < 2 * BATCHES


@pytest.mark.parametrize(("begun", "ended"), [(DEVICE, "cpu"), ("cpu", DEVICE)])
def test_training_goes_on_on_the_other_device(begun: str, ended: str, tmp_path: Path) -> None:
    one, two, slowly = tmp_path / "one", tmp_path / "two", config(**SLOW)
    train(one, model=without_dropout(), accelerator=single(device=begun), config=slowly)
    stop(two, STOPPED, model=without_dropout(), accelerator=single(device=begun), config=slowly)
    train(two, model=without_dropout(), accelerator=single(device=ended), config=slowly, resume=True)
    assert apart(one, two) < NEAR


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
    on_ranks(2, tmp_path, partial(learn, cases=ALL[:6]), *TRAININGS, gpus=True)
    agree(2, tmp_path, ALL[:6])
    agree_on_files(tmp_path)
