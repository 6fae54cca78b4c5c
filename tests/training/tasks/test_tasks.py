"""What each task measures, by hand and beside torchmetrics; what it learns from; what a deployed network says of it."""

import itertools
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.classification import MultilabelF1Score
from torchmetrics.regression import MeanAbsoluteError, R2Score

from cases import naming
from hdlif.errors import ArtefactError, DataError
from hdlif.graph.ops import TaskRecord
from hdlif.graph.ops.inference import check_task
from hdlif.learning import STBP, first_step, late_weights, loss_at, loss_over, mean_logits
from hdlif.runtime.answers import alike, answers, in_words
from hdlif.training.tasks import Classify, Evaluation, LabelSequence, Multilabel, Regress, Task

T, B = 4, 6


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def measured(task: Task, outputs: Tensor, target: Tensor, *, batches: int = 1) -> Evaluation:
    tally = task.tally()
    for part in torch.arange(outputs.shape[1]).chunk(batches):
        tally(outputs[:, part], target[part])
    return tally.evaluation()


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
    drawing = LabelSequence(("a", "b"), 3, delay=1).drawing()
    drawing(F.one_hot(torch.tensor([[0, 1, 0]]).T, 2).float(), torch.tensor([[1, 1, 0]]))
    assert drawing.files()["confusion"] == {"labels": ["a", "b"], "counts": [[0, 0], [1, 1]], "of": "steps"}


def test_errors_of_values_are_those_of_torchmetrics_in_their_units() -> None:
    mean, std = (100.0, -3.0), (20.0, 0.5)
    combines: tuple[Any, ...] = ("mean", "last", "each")
    for combine, batches in itertools.product(combines, (1, 3)):
        with naming(combine, batches):
            task = Regress(("height", "depth"), T, mean, std, combine=combine)
            outputs, target = drawn(T, B, 2), drawn(*((B, T, 2) if combine == "each" else (B, 2)), seed=1)
            found = measured(task, outputs, target, batches=batches)
            taken = {"mean": outputs.mean(0), "last": outputs[-1], "each": outputs.transpose(0, 1).flatten(0, 1)}
            scale, shift = torch.tensor(std).double(), torch.tensor(mean).double()
            predicted, true = taken[combine].double() * scale + shift, target.flatten(0, -2).double() * scale + shift
            rmse = (predicted - true).square().mean().sqrt().item()
            assert found.metrics["rmse"] == pytest.approx(rmse)
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


TASKS = [
    Classify(("a", "b", "c"), T),
    Classify(("a", "b", "c"), T, "last"),
    LabelSequence(("a", "b", "c"), T, delay=1),
    Regress(("a", "b", "c"), T, (1.0, 2.0, 3.0), (1.0, 2.0, 4.0)),
    Regress(("a", "b", "c"), T, (1.0, 2.0, 3.0), (1.0, 2.0, 4.0), combine="each", delay=2),
    Multilabel(("a", "b", "c"), T, threshold=0.4),
]


def target_of(task: Task, samples: int = B) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    if task.target in ("class", "classes"):
        shape = (samples,) if task.target == "class" else (samples, T)
        return torch.randint(3, shape, generator=generator)
    if task.target == "labels":
        return torch.randint(2, (samples, 3), generator=generator).float()
    return torch.randn(samples, *((T,) if task.target == "values_each" else ()), 3, generator=generator)


def test_two_ranks_add_up_to_what_one_measures() -> None:
    for task in TASKS:
        with naming(task):
            outputs, target = drawn(T, B, 3), target_of(task)
            whole = measured(task, outputs, target)
            halves = [task.tally(), task.tally()]
            for tally, part in zip(halves, torch.arange(B).chunk(2), strict=True):
                tally(outputs[:, part], target[part])
            sent: list[Tensor] = []
            halves[1].evaluation(lambda sums, sent=sent: sent.append(sums) or sums)
            both = halves[0].evaluation(lambda sums, sent=sent: sums + sent[0])
            assert both.metrics == pytest.approx(dict(whole.metrics))
            assert both.per_step == pytest.approx(whole.per_step)
            assert (both.n, both.loss) == (whole.n, pytest.approx(whole.loss))


def test_no_sample_is_refused() -> None:
    for task in TASKS:
        with naming(task), pytest.raises(DataError):
            task.tally().evaluation()


def test_a_network_agrees_with_itself_and_not_with_another() -> None:
    outputs = drawn(T, 50, 3).numpy()
    for task in TASKS:
        assert alike(outputs, outputs, task.record).tolist() == [1.0] * 50, task
        assert alike(outputs, -outputs, task.record).mean() < 0.9, task


def test_the_runtime_says_what_the_task_measures() -> None:
    # Targets that are just what is said are all right.
    for task in TASKS:
        with naming(task):
            outputs = drawn(T, B, 3)
            said = list(answers(outputs.numpy(), task.record, task.outputs))
            assert all(one is not None and in_words(one) for one in said)
            target = torch.stack([_as_target(one, task) for one in said if one is not None])
            expected = {"rmse": 0.0, "mae": 0.0, "r2": 1.0, "f1": 1.0}
            for name, value in measured(task, outputs, target).metrics.items():
                assert value == pytest.approx(expected.get(name, 1.0), abs=1e-5), name


def test_an_answer_that_is_not_finite_is_none() -> None:
    outputs = np.zeros((2, 2, 3), np.float32)
    outputs[1, 1, 0] = np.nan
    first, second = answers(outputs, TaskRecord(), ("a", "b", "c"))
    assert (first is None, second is None) == (False, True)
    record = TaskRecord("regress", "mean", mean=(3e38,), std=(3e38,))
    assert list(answers(np.ones((1, 1, 1), np.float32), record, ("v",))) == [None]
    # Nor is there a share of a variance of 0.
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


def test_a_record_that_none_may_have_is_refused() -> None:
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
    ):
        changes: dict[str, Any] = dict(changed)
        with naming(changes), pytest.raises(ArtefactError, match=key):
            check_task(replace(TaskRecord(), **changes), 4, 3)


def test_a_delay_beyond_the_sequence_is_refused() -> None:
    with pytest.raises(ValueError, match="delay = 4; it must be at least 0, and less than time_steps = 4"):
        LabelSequence(("a", "b"), 4, delay=4)
    with pytest.raises(ValueError, match="delay = 1 is of values at each step"):
        Regress(("a",), 4, (0.0,), (1.0,), delay=1)


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


BY_TARGET: dict[str, tuple[Task, Tensor]] = {
    "class": (Classify(("a", "b"), T), torch.arange(B) % 2),
    "classes": (LabelSequence(("a", "b"), T, delay=1), torch.arange(B * T).view(B, T) % 2),
    "value": (Regress(("u", "w"), T, (0.0, 0.0), (1.0, 1.0)), drawn(B, 2, seed=1)),
    "values": (Regress(("u", "w"), T, (0.0, 0.0), (1.0, 1.0), combine="each", delay=1), drawn(B, T, 2, seed=1)),
    "labels": (Multilabel(("a", "b"), T), (drawn(B, 2, seed=1) > 0).float()),
}


def test_the_task_says_which_steps_have_a_loss() -> None:
    learned: tuple[Any, ...] = ("every", "last", "late")
    for (name, (original, target)), learn_from in itertools.product(BY_TARGET.items(), learned):
        with naming(name, learn_from):
            plain = original.criterion()
            task = replace(original, learn_from=learn_from)  # type: ignore[type-var]
            outputs, first = drawn(T, B, 2), first_step(plain)
            losses = torch.stack([loss_at(plain, outputs[t], target, t) for t in range(first, T)])
            weights = {
                "every": [1 / len(losses)] * len(losses),
                "last": [0.0] * (len(losses) - 1) + [1.0],
                "late": late_weights(len(losses)),
            }[learn_from]
            x = torch.zeros(1, B, 1)
            rule = STBP(task.criterion(), loss="each")
            gives = partial(_gives, outputs)
            (step,) = rule(gives, x, target, rule.schedule(T, torch.Generator()))  # type: ignore[arg-type]
            torch.testing.assert_close(step.loss, (losses * torch.tensor(weights)).sum())
            # What is answered does not depend on it, nor is it measured elsewhere.
            figures, those = (measured(one, outputs, target).metrics for one in (task, original))
            assert figures == those


def _gives(outputs: Tensor, x: Tensor, state: None, steps: range) -> tuple[Tensor, None]:
    return outputs, None


def test_an_answer_of_the_last_step_may_be_learned_from_every_step() -> None:
    assert first_step(Classify(("a", "b"), T, "last").criterion()) == T - 1
    assert first_step(Classify(("a", "b"), T, "last", learn_from="every").criterion()) == 0
    with pytest.raises(ValueError, match="learn_from = 'first'; choose one of every, last, late"):
        Classify(("a", "b"), T, learn_from="first").criterion()  # type: ignore[arg-type]
