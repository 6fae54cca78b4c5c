"""A class, or an object, at each pixel; and maps by a task and a network of the user's own, by every kind of rule."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.classification import MulticlassF1Score, MulticlassJaccardIndex

import hdlif
import own_tasks
from cases import every
from hdlif.errors import ArtefactError
from hdlif.graph.artefact import InputRecord
from hdlif.inputs.fitting import IGNORED
from hdlif.inputs.objects import BOUNDARY, INSIDE, PARTS, matched, objects_of
from hdlif.learning import NDOT, OTTT, SLTT, STBP, Rule, StochasticStep
from hdlif.report.evaluation import evaluate_network
from hdlif.runtime import Session
from hdlif.training import Callback, Checkpoints, Log
from hdlif.training.tasks import Instances, Segment
from hdlif.training.tasks.segment import CrossEntropyAndDice

T, B, SIDE = 3, 4, 12
ABC = ("a", "b", "c")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def classes(count: int = 3, seed: int = 1) -> Tensor:
    """Some of the pixels are ignored."""
    return torch.randint(IGNORED, count, (B, SIDE, SIDE), generator=torch.Generator().manual_seed(seed))


def squares() -> Tensor:
    """Maps of two objects that touch, a third one, and a row that is ignored."""
    maps = torch.zeros(B, SIDE, SIDE, dtype=torch.int64)
    maps[:, 1:6, 1:5], maps[:, 1:7, 5:9], maps[:, 8:11, 2:8] = 5, 2, 9
    maps[:, 11] = IGNORED
    return maps


def one_hot(parts: Tensor, count: int = 3, size: float = 9.0) -> Tensor:
    return size * F.one_hot(parts.clamp_min(0), count).movedim(-1, 1).float()


def test_the_loss_is_that_of_the_formula_and_leaves_out_ignored_pixels() -> None:
    logits, target = drawn(B, 3, SIDE, SIDE), classes()
    losses = []
    for one, true in zip(logits.movedim(1, -1), target, strict=True):
        valid = true >= 0
        p, g = one[valid].softmax(-1), F.one_hot(true[valid], 3)
        dice = [(2 * (p[:, c] * g[:, c]).sum() + 1) / (p[:, c].sum() + g[:, c].sum() + 1) for c in range(3)]
        losses.append(F.cross_entropy(one[valid], true[valid]) + 0.5 * (1 - torch.stack(dice).mean()))
    torch.testing.assert_close(CrossEntropyAndDice(0.5)(logits, target), torch.stack(losses).mean())


def test_a_batch_has_the_mean_loss_of_its_halves() -> None:
    """As ranks and accumulated batches need; halves have other numbers of ignored pixels."""
    logits, target = drawn(B, 3, SIDE, SIDE), classes()
    criterion = CrossEntropyAndDice()
    halves = [criterion(logits[half], target[half]) for half in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close(criterion(logits, target), torch.stack(halves).mean())
    assert criterion(logits[:1], torch.full_like(target[:1], IGNORED)).item() == 0


def evaluated(task: Segment, outputs: Tensor, target: Tensor, *, batches: int = 2) -> Any:
    tally = task.tally()
    for one, true in zip(outputs.chunk(batches, 1), target.chunk(batches), strict=True):
        tally(one, true)
    return tally.evaluation()


@every(combine=["mean", "last"])
def test_overlaps_are_those_of_torchmetrics(combine: Any) -> None:
    outputs, target = drawn(T, B, 3, SIDE, SIDE), classes()
    found = evaluated(Segment(ABC, T, combine), outputs, target)
    for step in range(T):
        chosen = (outputs[step] if combine == "last" else outputs[: step + 1].mean(0)).argmax(1)
        iou = MulticlassJaccardIndex(3, ignore_index=IGNORED)(chosen, target).item()
        assert found.per_step[step] == pytest.approx(iou, abs=1e-6)
    assert found.metrics["miou"] == found.per_step[-1]
    dice = MulticlassF1Score(3, ignore_index=IGNORED)(chosen, target).item()
    assert found.metrics["dice"] == pytest.approx(dice, abs=1e-6)
    seen = target >= 0
    assert found.metrics["pixel_accuracy"] == pytest.approx((chosen == target)[seen].float().mean().item())


def test_a_class_that_is_neither_there_nor_predicted_is_not_in_the_mean() -> None:
    target = classes(2)
    found = evaluated(Segment(ABC, T), one_hot(target).expand(T, -1, -1, -1, -1), target)
    assert found.metrics == {"miou": 1, "dice": 1, "pixel_accuracy": 1}


def test_the_boundary_of_an_object_is_where_another_number_is_at_an_edge() -> None:
    numbers = squares()
    parts = Instances(PARTS, 1).learned(numbers)
    assert torch.equal(parts < 1, numbers < 1)
    assert torch.equal(parts[numbers == IGNORED], numbers[numbers == IGNORED])
    # A pixel beside the ignored row has no boundary there: nothing is known of its neighbour.
    assert (parts[0, 10, 3:7] == INSIDE).all()
    assert parts[0, 2:5, 2:4].unique().tolist() == [INSIDE]
    assert parts[0, 1:6, 4:6].unique().tolist() == [BOUNDARY]
    assert torch.equal(parts, Instances(PARTS, 1).learned(3 * numbers.clamp_min(0) + numbers.clamp_max(0)))


@every(combine=["mean", "last"])
def test_objects_are_counted_as_the_runtimes_function_finds_them(combine: Any) -> None:
    task, numbers = Instances(PARTS, T, combine), squares()
    outputs = one_hot(task.learned(numbers), size=1.0)[None] + 0.6 * drawn(T, B, 3, SIDE, SIDE)
    found = evaluated(task, outputs, numbers)
    logits = (outputs[-1] if combine == "last" else outputs.mean(0)).numpy()
    pairs = zip(logits, numbers.numpy(), strict=True)
    counts = np.sum([matched(objects_of(one), true) for one, true in pairs], axis=0)
    assert counts[0] > 0
    assert counts[1:].sum() > 0
    assert found.metrics["ap50"] == task.better(found) == pytest.approx(counts[0] / counts.sum())
    foreground = torch.from_numpy(logits).softmax(1)[:, 0] < 0.5
    seen = numbers >= 0
    common, either = ((foreground & (numbers > 0))[seen].sum(), (foreground | (numbers > 0))[seen].sum())
    assert found.metrics["iou"] == pytest.approx((common / either).item())
    assert found.metrics["dice"] == pytest.approx((2 * common / (common + either)).item())
    assert found.per_step[-1] == found.metrics["iou"]


@every("task", "target", of=[(Segment(ABC, T), classes()), (Instances(PARTS, T), squares())])
def test_right_answers_metrics_and_drawings_are_of_pixels_that_count(task: Segment, target: Tensor) -> None:
    wanted = task.learned(target)
    outputs = one_hot(wanted).expand(T, -1, -1, -1, -1)
    valid = int((target >= 0).sum())
    right, of = task.right(outputs, tuple(range(T)), target)
    assert (int(right), of) == (valid, valid)
    probabilities, true = task.scored(outputs, target)
    assert probabilities.shape == (valid, 3)
    assert torch.equal(probabilities.argmax(1), true)
    drawing = task.drawing()
    drawing(outputs, target)
    counts = torch.tensor(drawing.files()["confusion"]["counts"])
    assert counts.sum() == counts.diagonal().sum() == valid


def test_further_metrics_may_choose_the_best_epoch() -> None:
    task = Segment(ABC, T, metrics={"f1": MulticlassF1Score(3)}, best="f1")
    target = classes()
    found = evaluated(task, one_hot(target).expand(T, -1, -1, -1, -1), target)
    assert task.better(found) == found.metrics["f1"] == 1


def test_a_weight_below_0_is_refused() -> None:
    with pytest.raises(ValueError, match="dice = -1"):
        Segment(ABC, T, dice=-1)


def test_the_images_with_the_worst_answers_are_kept_whatever_the_batches() -> None:
    task, numbers = Instances(PARTS, T), squares()[:1].expand(10, -1, -1).contiguous()
    outputs = one_hot(task.learned(numbers)).expand(T, -1, -1, -1, -1).clone()
    # The second image misses one object, the eighth all of them.
    outputs[:, 1, :, 8:11] = one_hot(torch.zeros(1, 3, SIDE, dtype=torch.int64))[0]
    outputs[:, 7] = one_hot(torch.zeros(1, SIDE, SIDE, dtype=torch.int64))[0]
    for size in (1, 3, 10):
        drawing = task.drawing()
        for part in torch.arange(10).split(size):
            drawing(outputs[:, part], numbers[part])
        assert [(one.index, one.score) for one in drawing.worst] == [
            (7, 0),
            (1, 2 / 3),
            *((n, 1) for n in (0, 2, 3, 4)),
        ]
        assert drawing.worst[0].answer.max() == 0
        assert drawing.worst[1].answer.max() == 2


# A task and a network of the user's own, through the trainer

BATCH = 8
OWN = own_tasks.Maps(("ground", "square"), T, metrics={"iou": MulticlassJaccardIndex(2)}, best="iou")


def fitted(rule: Rule, *, epochs: int = 1, callbacks: tuple[Callback, ...] = (), samples: int = 2 * BATCH) -> Any:
    torch.manual_seed(0)
    model = own_tasks.segmenter(T, 2)
    trainer = hdlif.Trainer(
        model,
        rule=rule,
        task=OWN,
        config=hdlif.TrainingConfig(epochs=epochs, learning_rate=0.5),
        callbacks=callbacks,
        batch_size=BATCH,
    )
    return trainer.fit(own_tasks.squares(samples), own_tasks.squares(BATCH, seed=1)), model


@every(rule=[STBP(), SLTT(), SLTT("each"), StochasticStep(), OTTT(), NDOT()])
def test_a_network_of_maps_takes_two_updates(rule: Rule) -> None:
    fit, model = fitted(rule)
    assert fit.steps == 2
    assert fit.metrics.keys() == {"pixels_right", "iou"}
    assert len(fit.per_step) == T
    outputs, _ = model(own_tasks.squares(5).sequence(torch.arange(5))[0], steps=range(T))
    assert outputs.shape == (T, 5, 2, 6, 6)


def test_a_task_of_ones_own_is_learned_and_resumed(tmp_path: Path) -> None:
    def callbacks(*, resume: bool) -> tuple[Callback, ...]:
        return Checkpoints(tmp_path, recipe={"maps": 1}, resume=resume), Log(tmp_path)

    fit, model = fitted(STBP(), epochs=6, samples=64, callbacks=callbacks(resume=False))
    assert fit.metrics["pixels_right"] > 0.9
    again, _ = fitted(STBP(), epochs=6, samples=64, callbacks=callbacks(resume=True))
    assert (again.best_epoch, again.metrics) == (fit.best_epoch, fit.metrics)
    measured = evaluate_network(model, own_tasks.squares(BATCH, seed=1), task=OWN, batch_size=BATCH).result
    assert measured.metrics == pytest.approx(dict(fit.metrics))


def test_a_network_of_maps_is_deployed(tmp_path: Path) -> None:
    record, path = InputRecord(shape=(1, 6, 6), mean=(0.2,), std=(0.2,)), tmp_path / "net.hdlif.safetensors"
    model, data = fitted(STBP())[1].eval(), own_tasks.squares(BATCH, seed=1)
    given = {"input": record, "labels": OWN.outputs, "time_steps": T}
    with pytest.raises(ArtefactError, match=r"output has shape \[2, 6, 6\]; 2 labels need \[2\]"):
        hdlif.deploy.export(model, path, **given)
    assert not path.exists()
    hdlif.deploy.export(model, path, **given, task=OWN.record)
    x = data.sequence(torch.arange(BATCH))[0]
    with torch.no_grad():
        expected, _ = model(x, steps=range(T))
    found = Session(path, 1).run(x.numpy(), T)
    # Batch norms are folded into the convolutions.
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)
