"""What each task measures, by hand and beside torchmetrics; what it learns from; what a deployed network says of it."""

import itertools
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.classification import MultilabelF1Score
from torchmetrics.regression import MeanAbsoluteError, R2Score

from cases import every, naming
from deployed_graphs import tiny_network
from hdlif.errors import ArtefactError, InputError
from hdlif.graph.graph import TaskRecord
from hdlif.graph.inference import check_task
from hdlif.learning import STBP, first_step, late_weights, loss_at, loss_over, mean_logits
from hdlif.runtime.answers import alike, answers, in_words
from hdlif.training.tasks import (
    AnswerCounter,
    Classify,
    Confusion,
    Evaluation,
    LabelSequence,
    Multilabel,
    Regress,
    Tally,
    Task,
    balanced_weights,
)
from hdlif.training.tasks.class_weights import WeightedCrossEntropy
from hdlif.training.tasks.task import LearnFrom
from own_tasks import Maps

T, B = 4, 6


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tallied(task: Task, outputs: Tensor, target: Tensor, batches: int) -> Tally:
    tally = task.tally()
    for part in torch.arange(outputs.shape[1]).chunk(batches):
        tally(outputs[:, part], target[part])
    return tally


def measured(task: Task, outputs: Tensor, target: Tensor, *, batches: int = 3) -> Evaluation:
    return tallied(task, outputs, target, batches).evaluation()


def test_a_class_of_the_last_step_is_read_off_its_outputs_alone() -> None:
    outputs = torch.tensor([[[9.0, 0]], [[0, 1]]])
    task = Classify(("a", "b"), 2, "last")
    assert measured(task, outputs, torch.tensor([1])).per_step == (0.0, 1.0)
    assert measured(task, outputs, torch.tensor([1])).accuracy_per_step == (0.0, 1.0)
    assert measured(Classify(("a", "b"), 2), outputs, torch.tensor([1])).accuracy_per_step == (0.0, 0.0)
    expected = F.cross_entropy(outputs[1], torch.tensor([1]))
    torch.testing.assert_close(loss_over(task.criterion(), outputs, torch.tensor([1]), mean_logits), expected)


def test_a_sequence_is_measured_behind_its_delay() -> None:
    # The answers to steps 0, 1 and 2 are read at steps 1, 2 and 3: 0, 1, 1 of the first sample.
    chosen = torch.tensor([[1, 0, 1, 1], [0, 1, 1, 0]])
    target = torch.tensor([[0, 1, 0, 0], [1, 1, 0, 0]])
    found = measured(LabelSequence(("a", "b"), 4, delay=1), F.one_hot(chosen.T, 2).float(), target)
    assert found.accuracy is None
    assert found.metrics == {"accuracy": 5 / 6, "whole_sequences": 0.5}
    assert found.per_step == (1.0, 1.0, 0.5)
    # Rows are true classes, columns the chosen ones.
    drawing = LabelSequence(("a", "b"), 3, delay=1).drawing()
    drawing(F.one_hot(torch.tensor([[0, 1, 0]]).T, 2).float(), torch.tensor([[1, 1, 0]]))
    assert drawing.files()["confusion"] == {"labels": ["a", "b"], "counts": [[0, 0], [1, 1]], "of": "steps"}


@every(combine=["mean", "last", "each"], batches=[1, 3])
def test_errors_of_values_are_those_of_torchmetrics_in_their_units(combine: Any, batches: int) -> None:
    mean, std = (100.0, -3.0), (20.0, 0.5)
    task = Regress(("height", "depth"), T, mean, std, combine=combine)
    outputs, target = drawn(T, B, 2), drawn(*((B, T, 2) if combine == "each" else (B, 2)), seed=1)
    found = measured(task, outputs, target, batches=batches)
    taken = {"mean": outputs.mean(0), "last": outputs[-1], "each": outputs.transpose(0, 1).flatten(0, 1)}
    scale, shift = torch.tensor(std).double(), torch.tensor(mean).double()
    predicted, true = taken[combine].double() * scale + shift, target.flatten(0, -2).double() * scale + shift
    rmse = (predicted - true).square().mean().sqrt().item()
    assert found.metrics["rmse"] == pytest.approx(rmse)
    assert found.mean_rmse == pytest.approx((true - shift).square().mean().sqrt().item())
    for name, oracle in (("mae", MeanAbsoluteError()), ("r2", R2Score())):
        expected = oracle.set_dtype(torch.float64)(predicted, true).item()
        assert found.metrics[name] == pytest.approx(expected, rel=1e-5)
    assert len(found.per_step) == (1 if combine == "last" else T)
    assert combine == "each" or found.per_step[-1] == pytest.approx(rmse)


def test_several_labels_are_measured_as_torchmetrics_does() -> None:
    task = Multilabel(("a", "b", "c"), T)
    outputs, target = drawn(T, 40, 3), (drawn(40, 3, seed=1) > 0).float()
    found = measured(task, outputs, target, batches=3)
    oracle = MultilabelF1Score(num_labels=3)(outputs.mean(0).sigmoid(), target.int())
    assert found.metrics["f1"] == pytest.approx(oracle.item(), abs=1e-6)
    said = outputs.mean(0) >= 0
    assert found.metrics["exact"] == pytest.approx((said == (target > 0.5)).all(-1).double().mean().item())
    assert found.per_step[0] == pytest.approx(((outputs[0] >= 0) == (target > 0.5)).double().mean().item())


ABC = ("a", "b", "c")


def labels(*shape: int) -> Tensor:
    return torch.randint(3, shape, generator=torch.Generator().manual_seed(5))


CASES: list[tuple[Any, Tensor]] = [
    (Classify(ABC, T), labels(B)),
    (Classify(ABC, T, "last"), labels(B)),
    (LabelSequence(ABC, T, delay=1), labels(B, T)),
    (Regress(ABC, T, (1.0, 2.0, 3.0), (1.0, 2.0, 4.0)), drawn(B, 3, seed=1)),
    (Regress(ABC, T, (1.0, 2.0, 3.0), (1.0, 2.0, 4.0), combine="each", delay=2), drawn(B, T, 3, seed=1)),
    (Multilabel(ABC, T, threshold=0.4), (drawn(B, 3, seed=1) > 0).float()),
]


@every("task", "target", of=CASES)
def test_the_runtime_says_what_the_task_measures(task: Task, target: Tensor) -> None:
    # Targets that are just what is said are all right.
    outputs = drawn(T, B, 3)
    said = list(answers(outputs.numpy(), task.record, task.outputs))
    assert all(one is not None and in_words(one) for one in said)
    predicted = torch.stack([_as_target(one, task) for one in said if one is not None])
    expected = {"rmse": 0.0, "mae": 0.0, "r2": 1.0, "f1": 1.0}
    for name, value in measured(task, outputs, predicted).metrics.items():
        assert value == pytest.approx(expected.get(name, 1.0), abs=1e-5), name
    # A network agrees with itself and not with another.
    more, graph = drawn(T, 50, 3).numpy(), replace(tiny_network(), task=task.record)
    assert alike(more, more, graph).tolist() == [1.0] * 50
    assert alike(more, -more, graph).mean() < 0.9


def test_values_beyond_float32_are_no_answer_and_a_variance_of_0_has_no_share() -> None:
    record = TaskRecord("regress", "mean", mean=(3e38,), std=(3e38,))
    assert list(answers(np.ones((1, 1, 1), np.float32), record, ("v",))) == [None]
    task = Regress(("a",), 1, (0.0,), (1.0,))
    assert measured(task, torch.ones(1, 3, 1), torch.zeros(3, 1)).metrics["r2"] == 0


def _as_target(answer: dict[str, Any], task: Any) -> Tensor:
    """The target that an answer of the runtime predicts."""
    prediction = answer.get("prediction")
    match task.target:
        case "class":
            return torch.tensor(answer["class"])
        case "classes":
            return torch.tensor([task.outputs.index(label) for label in [*prediction, *["a"] * task.record.delay]])
        case "labels":
            return torch.tensor([float(label in prediction) for label in task.outputs])
    values = torch.tensor([prediction[name] for name in task.outputs]).transpose(0, -1)
    normalised = (values - torch.tensor(task.record.mean)) / torch.tensor(task.record.std)
    if task.target == "values":
        return normalised
    return torch.cat([normalised, torch.zeros(task.record.delay, 3)])


def test_a_record_or_an_argument_that_none_may_have_is_refused() -> None:
    for changed, key in (
        ({"kind": "boxes"}, "task.kind"),
        ({"combine": "most"}, "task.combine"),
        ({"combine": "each"}, "task.combine"),
        ({"kind": "sequence", "combine": "each", "delay": 4}, "task.delay"),
        ({"delay": 1}, "task.delay"),
        ({"kind": "regress"}, "task.mean"),
        ({"kind": "regress", "mean": (0.0,) * 3, "std": (1.0, 0.0, 1.0)}, "task.std"),
        ({"threshold": 1.0}, "task.threshold"),
        ({"ahead": 1}, "task.ahead"),
        ({"strides": (8,)}, "task.strides"),
        ({"overlap": 0.5}, "task.overlap"),
        ({"kind": "detect"}, "task.strides"),
        ({"kind": "detect", "strides": (16, 8)}, "task.strides"),
        ({"kind": "detect", "strides": (8,), "overlap": 0.0}, "task.overlap"),
    ):
        changes: dict[str, Any] = dict(changed)
        with naming(changes), pytest.raises(ArtefactError, match=key):
            check_task(replace(TaskRecord(), **changes), 4, 3)
    refused: list[tuple[Any, dict[str, Any], str]] = [
        (LabelSequence, {"delay": 4}, "delay = 4; it must be at least 0, and less than time_steps = 4"),
        (Regress, {"mean": (0.0,), "std": (1.0,), "delay": 1}, "delay = 1 applies only to values at each step"),
        (Classify, {"learn_from": "first"}, "learn_from = 'first'; choose one of every, last, late"),
        (Classify, {"own_steps": True, "combine": "last"}, "classified by the mean of their own steps"),
        (Classify, {"own_steps": True, "learn_from": "last"}, "classified by the mean of their own steps"),
    ]
    for make, arguments, words in refused:
        with naming(arguments), pytest.raises(ValueError, match=words):
            make(ABC, 4, **arguments).criterion()


def test_a_confusion_counts_by_true_and_chosen_class_after_all_steps() -> None:
    confusion = Confusion(ABC)
    # The last step alone would choose otherwise for the second image.
    logits = torch.tensor([[[1.0, 0, 0], [0, 5, 0]], [[1.0, 0, 0], [0, 0, 1]]])
    confusion(logits, torch.tensor([0, 1]))
    confusion(logits, torch.tensor([0, 0]))
    assert confusion.counts.tolist() == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
    # A class without images has no accuracy.
    assert confusion.accuracy_per_class == [2 / 3, 1.0, None]


def test_right_answers_in_training_are_counted_at_the_steps_that_count() -> None:
    # A perfect network: its answers to steps 0 and 1 are given at steps 2 and 3.
    target = torch.tensor([[0, 1, 1, 1], [1, 1, 0, 0]])
    outputs = F.one_hot(torch.tensor([[0, 0, 0, 1], [0, 0, 1, 1]]).T, 2).float()
    right, counted = LabelSequence(("a", "b"), 4, delay=2).right(outputs, (0, 1, 2, 3), target)
    assert (int(right), counted) == (4, 4)
    # Right at the last step alone.
    last = torch.tensor([[[9.0, 0]], [[0, 1]]])
    assert int(Classify(("a", "b"), 2, "last").right(last, (0, 1), torch.tensor([1]))[0]) == 1
    several = torch.tensor([[[9.0, 9]], [[-1, 1]]])
    assert int(Multilabel(("a", "b"), 2, "last").right(several, (0, 1), torch.tensor([[0.0, 1.0]]))[0]) == 2


@every("task", "target", of=[case for case in CASES if case[0] != Classify(ABC, T, "last")])
def test_the_task_says_which_steps_have_a_loss(task: Any, target: Tensor) -> None:
    plain, outputs, rule = task.criterion(), drawn(T, B, 3), STBP(loss="each")
    losses = torch.stack([loss_at(plain, outputs[t], target, t) for t in range(first_step(plain), T)])
    last = [0.0] * (len(losses) - 1) + [1.0]
    shares = {"every": [1 / len(losses)] * len(losses), "last": last, "late": late_weights(len(losses))}

    def network(x: Tensor, state: None, steps: range) -> tuple[Tensor, None]:
        return outputs, None

    for learn_from, weights in shares.items():
        changed = replace(task, learn_from=learn_from)
        taught = replace(rule, criterion=changed.criterion())
        (step,) = taught(network, torch.zeros(1, B, 1), target, rule.schedule(T, torch.Generator()))  # type: ignore[arg-type]
        torch.testing.assert_close(step.loss, (losses * torch.tensor(weights)).sum())
        # What is answered does not depend on it, nor is it measured elsewhere.
        assert measured(changed, outputs, target).metrics == measured(task, outputs, target).metrics


def exact(*shape: int) -> Tensor:
    # Multiples of 1/16, whose sums are the same in any order.
    return torch.randint(-32, 32, shape, generator=torch.Generator().manual_seed(0)) / 16


COUNTED = [*CASES, (Classify(ABC, T), F.one_hot(labels(B)).float())]


def test_answers_of_steps_one_by_one_are_those_of_all_at_once_and_nothing_is_kept() -> None:
    for (task, target), steps, length in itertools.product(COUNTED, [tuple(range(T)), (1, 3), (3,), (0,)], [1, 2, T]):
        with naming(task, steps, length):
            outputs = exact(len(steps), B, 3)
            answered, heard = AnswerCounter(task, steps, target), []
            for part in outputs.split(length):
                copy = part.clone()
                answered(copy)
                heard.append(weakref.ref(copy))
            del copy
            right, of = task.right(outputs, steps, target)
            assert answered.right() == (int(right), of)
            assert answered.losses == -(-len(steps) // length)
            assert not any(one() is not None for one in heard)


def test_outputs_that_no_step_has_are_not_counted_and_those_of_a_task_of_ones_own_are_kept_whole() -> None:
    for count in (T - 1, T + 1):
        answered = AnswerCounter(LabelSequence(ABC, T), tuple(range(T)), labels(B, T))
        answered(exact(count, B, 3))
        assert answered.right() == (0, 0)
    maps, outputs = torch.randint(2, (B, 4, 4)), exact(2, B, 2, 4, 4)
    answered = AnswerCounter(Maps(("dark", "light"), T), (0, 2), maps)
    for one in outputs:
        answered(one[None])
    assert answered.right() == (int((outputs.mean(0).argmax(1) == maps).sum()), maps.numel())


LENGTHS = (5, 2, 1, 4)
OWN = Classify(ABC, max(LENGTHS), own_steps=True)
CLASSES = torch.tensor([0, 2, 1, 2])
TARGET = torch.stack([CLASSES, torch.tensor(LENGTHS)], 1)


@pytest.fixture
def outputs() -> Tensor:
    return torch.randn(max(LENGTHS), len(LENGTHS), 3, generator=torch.Generator().manual_seed(0), requires_grad=True)


def own_means(outputs: Tensor) -> Tensor:
    return torch.stack([outputs[:length, sample].mean(0) for sample, length in enumerate(LENGTHS)])


def test_the_loss_of_all_steps_is_that_of_each_samples_own_mean(outputs: Tensor) -> None:
    loss = loss_over(OWN.criterion(), outputs, TARGET, mean_logits)
    torch.testing.assert_close(loss, F.cross_entropy(own_means(outputs), CLASSES))
    (gradient,) = torch.autograd.grad(loss, outputs)
    for sample, length in enumerate(LENGTHS):
        assert gradient[length:, sample].count_nonzero() == 0 < gradient[:length, sample].count_nonzero()


def test_the_loss_of_a_step_is_of_the_samples_that_have_it(outputs: Tensor) -> None:
    for t in range(max(LENGTHS)):
        own = [sample for sample, length in enumerate(LENGTHS) if length > t]
        wanted = F.cross_entropy(outputs[t, own], CLASSES[own], reduction="sum") / len(LENGTHS)
        torch.testing.assert_close(loss_at(OWN.criterion(), outputs[t], TARGET, t), wanted)
    nobody = TARGET.clone()
    nobody[:, 1] = 1
    assert loss_at(OWN.criterion(), outputs[3], nobody, 3) == 0


def test_accuracy_confusion_and_metrics_are_of_each_samples_own_steps(outputs: Tensor) -> None:
    outputs = outputs.detach()
    chosen = own_means(outputs).argmax(1)
    right = int((chosen == CLASSES).sum())
    drawing, evaluation = OWN.drawing(), measured(OWN, outputs, TARGET)
    drawing(outputs, TARGET)
    assert evaluation.accuracy == right / len(LENGTHS)
    # After step t, a sample that has ended is classified as at its end.
    for t, accuracy in enumerate(evaluation.per_step):
        so_far = [outputs[: min(t + 1, length), sample].mean(0).argmax() for sample, length in enumerate(LENGTHS)]
        assert accuracy == sum(int(one == true) for one, true in zip(so_far, CLASSES, strict=True)) / len(LENGTHS)
    assert drawing.counts.sum() == len(LENGTHS)
    assert all(drawing.counts[true, one] for true, one in zip(CLASSES, chosen, strict=True))
    probabilities, classes = OWN.scored(outputs, TARGET)
    torch.testing.assert_close(probabilities.float(), own_means(outputs).softmax(-1))
    assert classes.tolist() == CLASSES.tolist()
    counted, of = OWN.right(outputs, tuple(range(max(LENGTHS))), TARGET)
    assert (int(counted), of) == (right, len(LENGTHS))
    # Of step 3 alone, two samples have none.
    assert OWN.right(outputs[3:4], (3,), TARGET)[1] == 2


# Class weights: the loss beside its plain sum, and what is refused

WEIGHTS = (0.5, 2.0, 3.0)
LOGITS = drawn(B, 3).double()
LABELS = torch.tensor([0, 1, 1, 2, 0, 2])


def test_each_sample_counts_by_the_weight_of_its_class() -> None:
    for smoothing in (0.0, 0.3):
        wanted = torch.zeros((), dtype=torch.float64)
        for logits, label in zip(LOGITS.log_softmax(1), LABELS.tolist(), strict=True):
            for c in range(3):
                share = (1 - smoothing) * (c == label) + smoothing / 3
                wanted -= WEIGHTS[label] * share * logits[c] / B
        criterion = WeightedCrossEntropy(WEIGHTS, smoothing)
        torch.testing.assert_close(criterion(LOGITS, LABELS), wanted)
        # A mixed sample has the weights of both classes.
        mixed = 0.7 * F.one_hot(LABELS, 3) + 0.3 * F.one_hot(LABELS.flip(0), 3)
        both = 0.7 * criterion(LOGITS, LABELS) + 0.3 * criterion(LOGITS, LABELS.flip(0))
        torch.testing.assert_close(criterion(LOGITS, mixed.double()), both)


def test_balanced_weights_let_all_classes_count_alike() -> None:
    labels = torch.tensor([0] * 6 + [2] * 3 + [1] * 1)
    weights = balanced_weights(labels, 3)
    shares = [weights[c] * int((labels == c).sum()) for c in range(3)]
    assert shares == pytest.approx([len(labels) / 3] * 3, abs=1e-5)
    assert Classify(ABC, T, class_weights="balanced").counted(labels).class_weights == weights
    # Of a class that is not there nothing follows.
    assert balanced_weights(torch.tensor([[0, 0], [0, 2]]), 4) == pytest.approx((2 / 3, 1, 2, 1), abs=1e-6)


def test_steps_of_a_sequence_with_a_loss_are_counted_and_weighed() -> None:
    many = torch.randint(3, (200, T), generator=torch.Generator().manual_seed(2))
    many[:, 3] = 0
    outputs, target = drawn(T, B, 3).double(), many[:B]
    # The answer to step t is read at step t + 1.
    steps = [WeightedCrossEntropy(WEIGHTS)(outputs[t + 1], target[:, t]) for t in range(T - 1)]
    shares: dict[LearnFrom, list[float]] = {"every": [1 / 3] * 3, "last": [0, 0, 1], "late": [1 / 6, 2 / 6, 3 / 6]}
    for learn_from, of_steps in shares.items():
        task = LabelSequence(ABC, T, delay=1, learn_from=learn_from, class_weights=WEIGHTS)
        expected = sum(share * step for share, step in zip(of_steps, steps, strict=True))
        torch.testing.assert_close(loss_over(task.criterion(), outputs, target, mean_logits), expected)
        balanced = replace(task, class_weights="balanced").counted(many).class_weights
        assert balanced == balanced_weights(many[:, [t for t in range(3) if of_steps[t]]], 3), learn_from


def test_what_is_measured_counts_all_samples_alike() -> None:
    outputs = drawn(T, B, 3)
    for make, target in ((Classify, LABELS), (LabelSequence, LABELS[:, None].expand(B, T))):
        weighed, plain = (make(ABC, T, class_weights=weights).tally() for weights in (WEIGHTS, None))
        for tally in (weighed, plain):
            tally(outputs, target)
        assert weighed.evaluation() == plain.evaluation(), make


def test_class_weights_that_are_none_are_refused() -> None:
    refused: list[Any] = [(1.0, 2.0), (1.0,), (1.0, 0.0, 1.0), (1.0, 1.0, float("inf")), (1.0, 1.0, float("nan"))]
    refused += ["equal", "123", {"a": 1.0, "b": 1.0, "c": 1.0}, [1.0, None, 1.0], 3]
    for make in (Classify, LabelSequence):
        for weights in refused:
            with naming(make, weights), pytest.raises(InputError, match=r"^task\.class_weights"):
                make(ABC, T, class_weights=weights)
    uncounted = Classify(ABC, T, class_weights="balanced")
    with pytest.raises(InputError, match=r"follows from the training samples; .* task\.counted\(sets"):
        uncounted.criterion()(LOGITS, LABELS)
