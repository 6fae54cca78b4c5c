"""Metrics of torchmetrics beside a task's own figures, the choice of the best epoch by them, and early answers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import (
    MulticlassAUROC,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassRecall,
    MultilabelAUROC,
    MultilabelHammingDistance,
)
from torchmetrics.functional.classification import multiclass_auroc, multiclass_f1_score, multilabel_hamming_distance
from torchmetrics.functional.regression import pearson_corrcoef, spearman_corrcoef
from torchmetrics.regression import PearsonCorrCoef, SpearmanCorrCoef
from torchmetrics.wrappers import ClasswiseWrapper

from cases import every, naming
from hdlif.errors import DataError, InputError
from hdlif.graph.graph import TaskRecord
from hdlif.inputs.series import shown
from hdlif.runtime import Session, Stream
from hdlif.training.tasks import Classify, Evaluation, LabelSequence, Multilabel, Regress, Task
from hdlif.training.tasks.classify import CONFIDENCES, EarlyAnswers
from series_networks import STEPS, series_network
from training.tasks.test_tasks import ABC, CASES, B, T, drawn, measured, tallied

N = 30


def classes(*shape: int) -> Tensor:
    return torch.randint(3, shape, generator=torch.Generator().manual_seed(1))


@every(combine=["mean", "last"])
def test_a_class_is_scored_by_the_probabilities_of_the_outputs_that_are_combined(combine: Any) -> None:
    task = Classify(ABC, T, combine, metrics={"f1": MulticlassF1Score(3), "auroc": MulticlassAUROC(3)})
    outputs, target = drawn(T, N, 3), classes(N)
    found = measured(task, outputs, target)
    taken = (outputs.mean(0) if combine == "mean" else outputs[-1]).double().softmax(-1)
    assert list(found.metrics) == ["accuracy", "f1", "auroc"]
    assert found.metrics["accuracy"] == found.accuracy
    assert found.metrics["f1"] == pytest.approx(multiclass_f1_score(taken, target, 3, average="macro").item())
    assert found.metrics["auroc"] == pytest.approx(multiclass_auroc(taken, target, 3).item())
    # Logits between 0 and 1 would pass for probabilities.
    small = measured(task, outputs.sigmoid(), target)
    scored = outputs.sigmoid()[0 if combine == "mean" else -1 :].mean(0).double().softmax(-1)
    assert small.metrics["auroc"] == pytest.approx(multiclass_auroc(scored, target, 3).item())


def test_a_sequence_is_scored_at_the_steps_that_count() -> None:
    task = LabelSequence(ABC, T, delay=1, metrics={"f1": MulticlassF1Score(3)})
    outputs, target = drawn(T, N, 3), classes(N, T)
    chosen, true = outputs[1:].argmax(-1).flatten(), target[:, :3].T.flatten()
    expected = multiclass_f1_score(chosen, true, 3, average="macro")
    assert measured(task, outputs, target).metrics["f1"] == pytest.approx(expected.item())


@every(combine=["mean", "last", "each"], values=[1, 2])
def test_values_are_scored_in_their_units(values: int, combine: Any) -> None:
    names, mean, std = ABC[:values], (1e6, -3.0)[:values], (20.0, 0.5)[:values]
    # Far from 0: float32 would lose what differs.
    metrics = {"s": SpearmanCorrCoef(values), "p": PearsonCorrCoef(values)}
    task = Regress(names, T, mean, std, combine=combine, metrics=metrics)
    outputs = drawn(T, N, values)
    target = drawn(*((N, T, values) if combine == "each" else (N, values)), seed=1)
    found = measured(task, outputs, target).metrics
    taken = {"mean": outputs.mean(0), "last": outputs[-1], "each": outputs.flatten(0, 1)}[combine].double()
    true = (target.transpose(0, 1).flatten(0, 1) if combine == "each" else target).double()
    for number, name in enumerate(names):
        end = "" if values == 1 else f".{name}"
        pair = taken[:, number], true[:, number]
        assert found[f"s{end}"] == pytest.approx(spearman_corrcoef(*pair).item(), abs=1e-6)
        assert found[f"p{end}"] == pytest.approx(pearson_corrcoef(*pair).item(), abs=1e-6)


def test_labels_are_scored_by_their_probabilities() -> None:
    metrics = {"auroc": MultilabelAUROC(3), "hamming": MultilabelHammingDistance(3, threshold=0.7)}
    task = Multilabel(ABC, T, threshold=0.7, metrics=metrics)
    outputs, target = drawn(T, N, 3), (drawn(N, 3, seed=1) > 0).float()
    found = measured(task, outputs, target).metrics
    expected = multilabel_hamming_distance(outputs.mean(0).sigmoid(), target.int(), 3, threshold=0.7)
    assert found["hamming"] == pytest.approx(expected.item())
    assert found["hamming"] == pytest.approx(1 - found["labels_right"])
    assert list(found) == ["f1", "labels_right", "exact", "auroc", "hamming"]


def test_a_number_for_each_output_has_the_outputs_name_and_given_metrics_stay_as_they_are() -> None:
    recall = MulticlassRecall(3, average=None)
    task = Classify(ABC, T, metrics={"recall": recall, "own": ClasswiseWrapper(recall, labels=["x", "y", "z"])})
    found, again = (measured(task, drawn(T, N, 3), classes(N)).metrics for _ in range(2))
    assert found == again
    assert recall.update_count == 0
    names = [f"recall.{name}" for name in ABC]
    assert list(found) == ["accuracy", *names, *(f"own.multiclassrecall_{name}" for name in "xyz")]
    assert [found[name] for name in names] == [found[f"own.multiclassrecall_{name}"] for name in "xyz"]
    assert replace(task, best="recall.b").metric == "recall.b"


class Several(Metric):
    """Counts samples, and gives what it is told."""

    higher_is_better = None

    def __init__(self, gives: Any) -> None:
        super().__init__()
        self.gives = gives
        self.add_state("count", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, true: Tensor) -> None:
        self.count += len(true)

    def compute(self) -> Any:
        return self.gives


def test_what_gives_no_figures_or_cannot_choose_is_refused_when_the_task_is_made() -> None:
    f1 = MulticlassF1Score(3)
    refused: list[tuple[Mapping[str, Any], str | None]] = [
        ({"c": MulticlassConfusionMatrix(3)}, None),
        ({"c": Several(torch.zeros(2))}, None),
        ({"c": Several("many")}, None),
        ({"c": Several({"x": torch.zeros(2)})}, None),
        ({"f1": MulticlassF1Score(4)}, None),
        ({"accuracy": f1}, None),
        ({"loss": f1}, None),
        ({"": f1}, None),
        ({"f1": MulticlassF1Score}, None),
        ({"r.a": f1, "r": MulticlassRecall(3, average=None)}, None),
        ({"f1": f1}, "f2"),
        # Whether larger or smaller is better is not known.
        ({"s": Several(torch.zeros(()))}, "s"),
        ({"recall": MulticlassRecall(3, average=None)}, "recall"),
    ]
    for metrics, best in refused:
        with naming(metrics), pytest.raises(InputError, match=r"^task\.best = " if best else r"metric|figure|name"):
            Classify(ABC, T, metrics=metrics, best=best)
    names = tuple(f"c{number}" for number in range(101))
    with pytest.raises(InputError, match="for each of 101 outputs, but at most 100 are kept by name"):
        Classify(names, T, metrics={"recall": MulticlassRecall(101, average=None)})


def test_the_best_epoch_is_chosen_by_a_metric_in_its_direction() -> None:
    def at(**figures: float) -> Evaluation:
        return Evaluation(0.5, (0.5,), 0.0, 1, {"accuracy": 0.5, **figures})

    f1 = Classify(ABC, T, metrics={"f1": MulticlassF1Score(3)}, best="f1")
    assert (f1.metric, f1.better(at(f1=0.25))) == ("f1", 0.25)
    assert Classify(ABC, T, metrics={"f1": MulticlassF1Score(3)}).better(at(f1=0.25)) == 0.5
    wrong = Multilabel(ABC, T, metrics={"h": MultilabelHammingDistance(3)}, best="h")
    assert wrong.better(at(h=0.25)) == -0.25
    # And by another of the task's own figures.
    assert Regress(ABC, T, (0.0,) * 3, (1.0,) * 3, best="mae").better(at(mae=2.0, rmse=1.0)) == -2.0
    assert f1.better(at(f1=math.nan)) == -math.inf


class Numbered(Metric):
    """The states of a metric in a metric, which two ranks have to bring together."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = MeanMetric()
        self.add_state("kept", [], dist_reduce_fx="cat")

    def update(self, predicted: Tensor, true: Tensor) -> None:
        self.inner.update(true.float())
        self.kept.append(true)

    def compute(self) -> Tensor:
        kept = torch.cat(self.kept) if isinstance(self.kept, list) else self.kept
        return self.inner.compute() + len(kept)


TASKS: Sequence[tuple[Any, Tensor]] = (
    *CASES,
    (Classify(ABC, T, metrics={"f1": MulticlassF1Score(3), "auroc": MulticlassAUROC(3)}), classes(B)),
    (Classify(ABC, T, metrics={"recall": MulticlassRecall(3, average=None), "own": Numbered()}), classes(B)),
    (Regress(ABC, T, (0.0,) * 3, (1.0,) * 3, metrics={"p": PearsonCorrCoef(3)}), drawn(B, 3)),
)


@every("task", "target", of=TASKS)
def test_ranks_bring_their_parts_together(task: Task, target: Tensor) -> None:
    outputs, whole = drawn(T, B, 3), measured(task, drawn(T, B, 3), target)
    # Parts of two sizes, as two ranks have them; each state is asked for in the same order.
    first, second = (tallied(task, outputs[:, part], target[part], 1) for part in (torch.arange(2), torch.arange(2, B)))
    sums: list[Tensor] = []
    sent: list[Tensor] = []

    def send(tensor: Tensor) -> list[Tensor]:
        sent.append(tensor)
        return [tensor, tensor]

    second.evaluation(lambda own: sums.append(own) or own, send)
    theirs = iter(sent)
    both = first.evaluation(lambda own: own + sums[0], lambda tensor: [tensor, next(theirs)])
    assert both.metrics == pytest.approx(dict(whole.metrics), abs=1e-6)
    assert both.per_step == pytest.approx(whole.per_step)
    assert (both.n, both.loss) == (whole.n, pytest.approx(whole.loss))
    assert next(theirs, None) is None
    with pytest.raises(DataError):
        task.tally().evaluation()


# Early answers: beside a loop over samples and steps, and beside what a stream says of the same windows


def plain(outputs: np.ndarray, target: list[int], confidence: float, first: int) -> tuple[float, float]:
    """Mean steps and accuracy, sample by sample."""
    steps, right = [], []
    for sample, true in enumerate(target):
        for t in range(len(outputs)):
            counted = outputs[t : t + 1, sample] if t < first else outputs[first : t + 1, sample]
            mean = counted.astype(np.float64).mean(0)
            powers = np.exp(mean - mean.max())
            if powers.max() / powers.sum() >= confidence:
                break
        steps.append(t + 1)
        right.append(mean.argmax() == true)
    return float(np.mean(steps)), float(np.mean(right))


@every(first=[0, 2, 6])
def test_early_answers_are_those_of_a_loop_over_samples_and_steps(first: int) -> None:
    rng = np.random.default_rng(0)
    outputs = rng.normal(0, 2, (7, 50, 4)).astype(np.float32)
    outputs[:, 0] = [9, 0, 0, 0]
    target = rng.integers(0, 4, 50).tolist()
    counts = EarlyAnswers(7, first)
    for part in (slice(0, 20), slice(20, 50)):
        counts(torch.from_numpy(outputs[:, part]), torch.tensor(target[part]))
    found = counts.files()["early"]
    assert (found["time_steps"], found["confidence"]) == (7, list(CONFIDENCES))
    wanted = [plain(outputs, target, confidence, first) for confidence in CONFIDENCES]
    np.testing.assert_allclose(list(zip(found["steps"], found["accuracy"], strict=True)), wanted, rtol=1e-12)
    assert found["steps"][0] == 1
    assert len(set(found["steps"])) > 5


@every(combine=["mean", "last"])
def test_early_answers_are_those_of_a_stream(combine: str) -> None:
    graph = series_network("conv1d", task=TaskRecord(combine=combine))
    session, x = Session(graph), np.random.default_rng(0).normal(0.5, 4, (20 * STEPS, 2)).astype(np.float32)
    frames = shown(x, graph.input.mean, graph.input.std)
    outputs = session.run(frames.reshape(20, STEPS, *frames.shape[1:]).swapaxes(0, 1).copy())
    task = Classify(("a", "b", "c"), STEPS, combine=combine)
    drawing = task.drawing()
    target = torch.arange(20) % 3
    drawing(torch.from_numpy(outputs), target)
    found = drawing.files()["early"]
    for confidence, steps, accuracy in zip(found["confidence"], found["steps"], found["accuracy"], strict=True):
        said = Stream(session, confidence=confidence).push(x)
        assert np.mean([one.step for one in said]) == steps
        right = [one.answer["class"] == int(true) for one, true in zip(said, target, strict=True) if one.answer]
        assert np.mean(right) == accuracy
