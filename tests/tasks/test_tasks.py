"""What each task measures, by hand and beside torchmetrics; what it learns from; what a deployed network says of it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.classification import MultilabelF1Score
from torchmetrics.regression import MeanAbsoluteError, R2Score

from hdlif.errors import ArtefactError, DataError
from hdlif.learning import STBP, first_step, late_weights, loss_at, loss_over, mean_logits
from hdlif.ops import TaskRecord
from hdlif.ops.inference import check_task
from hdlif.runtime.answers import alike, answers, in_words
from hdlif.tasks import Classify, Evaluation, LabelSequence, Multilabel, Regress, Task

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


def test_the_confusion_of_a_sequence_counts_steps() -> None:
    drawing = LabelSequence(("a", "b"), 3, delay=1).drawing()
    drawing(F.one_hot(torch.tensor([[0, 1, 0]]).T, 2).float(), torch.tensor([[1, 1, 0]]))
    assert drawing.files()["confusion"] == {"labels": ["a", "b"], "counts": [[0, 0], [1, 1]], "of": "steps"}


@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize("combine", ["mean", "last", "each"])
def test_errors_of_values_are_those_of_torchmetrics_in_their_units(combine: Any, batches: int) -> None:
    mean, std = (100.0, -3.0), (20.0, 0.5)
    task = Regress(("height", "depth"), T, mean, std, combine=combine)
    outputs, target = drawn(T, B, 2), drawn(*((B, T, 2) if combine == "each" else (B, 2)), seed=1)
    found = measured(task, outputs, target, batches=batches)
    taken = {"mean": outputs.mean(0), "last": outputs[-1], "each": outputs.transpose(0, 1).flatten(0, 1)}[combine]
    scale, shift = torch.tensor(std).double(), torch.tensor(mean).double()
    predicted, true = taken.double() * scale + shift, target.flatten(0, -2).double() * scale + shift
    assert found.metrics["rmse"] == pytest.approx((predicted - true).square().mean().sqrt().item())
    oracle = MeanAbsoluteError().set_dtype(torch.float64)
    assert found.metrics["mae"] == pytest.approx(oracle(predicted, true).item(), rel=1e-5)
    r2 = R2Score().set_dtype(torch.float64)
    assert found.metrics["r2"] == pytest.approx(r2(predicted, true).item(), rel=1e-5)
    last = (predicted - true).square().mean().sqrt() if combine != "each" else None
    assert len(found.per_step) == (1 if combine == "last" else T)
    assert last is None or found.per_step[-1] == pytest.approx(last.item())


def test_values_that_never_vary_have_no_share_of_variance() -> None:
    task = Regress(("a",), 1, (0.0,), (1.0,))
    assert measured(task, torch.ones(1, 3, 1), torch.zeros(3, 1)).metrics["r2"] == 0


def test_several_labels_are_measured_as_torchmetrics_does() -> None:
    task = Multilabel(("a", "b", "c"), T)
    outputs, target = drawn(T, 40, 3), (drawn(40, 3, seed=1) > 0).float()
    found = measured(task, outputs, target, batches=3)
    oracle = MultilabelF1Score(num_labels=3)(outputs.mean(0).sigmoid(), target.int())
    assert found.metrics["f1"] == pytest.approx(oracle.item(), abs=1e-6)
    said = outputs.mean(0) >= 0
    assert found.metrics["exact"] == pytest.approx((said == (target > 0.5)).all(-1).double().mean().item())
    assert found.per_step[0] == pytest.approx(((outputs[0] >= 0) == (target > 0.5)).double().mean().item())


def test_a_threshold_decides_which_labels_are_said() -> None:
    task = Multilabel(("a",), 1, threshold=0.9)
    found = measured(task, torch.tensor([[[1.0], [3.0]]]), torch.tensor([[1.0], [1.0]]))
    assert found.metrics["exact"] == 0.5


TASKS = [
    Classify(("a", "b", "c"), T),
    Classify(("a", "b", "c"), T, "last"),
    LabelSequence(("a", "b", "c"), T, delay=1),
    Regress(("a", "b", "c"), T, (1.0, 2.0, 3.0), (1.0, 2.0, 4.0)),
    Regress(("a", "b", "c"), T, (1.0, 2.0, 3.0), (1.0, 2.0, 4.0), combine="each", delay=2),
    Multilabel(("a", "b", "c"), T, threshold=0.4),
]
IDS = [f"{task.record.kind} {task.record.combine}" for task in TASKS]


def target_of(task: Task, samples: int = B) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    if task.target in ("class", "classes"):
        shape = (samples,) if task.target == "class" else (samples, T)
        return torch.randint(3, shape, generator=generator)
    if task.target == "labels":
        return torch.randint(2, (samples, 3), generator=generator).float()
    return torch.randn(samples, *((T,) if task.target == "values_each" else ()), 3, generator=generator)


@pytest.mark.parametrize("task", TASKS, ids=IDS)
def test_two_ranks_add_up_to_what_one_measures(task: Task) -> None:
    outputs, target = drawn(T, B, 3), target_of(task)
    whole = measured(task, outputs, target)
    halves = [task.tally(), task.tally()]
    for tally, part in zip(halves, torch.arange(B).chunk(2), strict=True):
        tally(outputs[:, part], target[part])
    sent: list[Tensor] = []
    halves[1].evaluation(lambda sums: sent.append(sums) or sums)  # type: ignore[func-returns-value]
    both = halves[0].evaluation(lambda sums: sums + sent[0])
    assert both.metrics == pytest.approx(dict(whole.metrics))
    assert both.per_step == pytest.approx(whole.per_step)
    assert (both.n, both.loss) == (whole.n, pytest.approx(whole.loss))


@pytest.mark.parametrize("task", TASKS, ids=IDS)
def test_no_sample_is_refused(task: Task) -> None:
    with pytest.raises(DataError, match="no sample to evaluate"):
        task.tally().evaluation()


@pytest.mark.parametrize("task", TASKS, ids=IDS)
def test_a_network_agrees_with_itself_and_not_with_another(task: Task) -> None:
    outputs = drawn(T, 50, 3)
    one, other = outputs.numpy(), -outputs.numpy()
    assert alike(one, one, task.record).tolist() == [1.0] * 50
    assert alike(one, other, task.record).mean() < 0.9


@pytest.mark.parametrize("task", TASKS, ids=IDS)
def test_the_runtime_says_what_the_task_measures(task: Task) -> None:
    # Targets that are just what is said are all right.
    outputs = drawn(T, B, 3)
    said = list(answers(outputs.numpy(), task.record, task.outputs))
    assert all(one is not None and in_words(one) for one in said)
    true = {"class": [], "classes": [], "values": [], "values_each": [], "labels": []}  # type: ignore[var-annotated]
    for one in said:
        assert one is not None
        prediction = one.get("prediction")
        match task.target:
            case "class":
                true["class"].append(one["class"])
            case "classes":
                padded = [*prediction, *["a"] * task.record.delay]
                true["classes"].append([task.outputs.index(label) for label in padded])
            case "labels":
                true["labels"].append([float(label in prediction) for label in task.outputs])
            case kind:
                values = torch.tensor([prediction[name] for name in task.outputs])
                normalised = (values.transpose(0, -1) - torch.tensor(task.record.mean)) / torch.tensor(task.record.std)
                missing = torch.zeros(task.record.delay, 3) if kind == "values_each" else torch.zeros(0)
                true[kind].append(torch.cat([normalised, missing]) if kind == "values_each" else normalised)
    given = true[task.target]
    target = torch.stack(given) if task.target.startswith("values") else torch.tensor(given)
    found = measured(task, outputs, target)
    expected = {"rmse": 0.0, "mae": 0.0, "r2": 1.0, "f1": 1.0}
    for name, value in found.metrics.items():
        assert value == pytest.approx(expected.get(name, 1.0), abs=1e-5), name


def test_an_answer_that_is_not_finite_is_none() -> None:
    outputs = np.zeros((2, 2, 3), np.float32)
    outputs[1, 1, 0] = np.nan
    first, second = answers(outputs, TaskRecord(), ("a", "b", "c"))
    assert first is not None
    assert second is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "boxes"}, "task.kind = 'boxes' is unknown"),
        ({"combine": "most"}, "task.combine = 'most' is unknown"),
        ({"combine": "each"}, 'task.combine = "each" does not go with task.kind = "classify"'),
        ({"kind": "sequence", "combine": "each", "delay": 4}, "task.delay = 4"),
        ({"delay": 1}, "task.delay = 1"),
        ({"kind": "regress"}, r"task.mean = \[\]; it must be 3 finite numbers"),
        ({"kind": "regress", "mean": (0.0,) * 3, "std": (1.0, 0.0, 1.0)}, "task.std"),
        ({"threshold": 1.0}, "task.threshold = 1.0"),
        ({"ahead": 1}, "task.ahead = 1"),
    ],
)
def test_a_record_that_none_may_have_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtefactError, match=message):
        check_task(replace(TaskRecord(), **change), 4, 3)


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


def test_a_value_beyond_float32_is_no_answer() -> None:
    record = TaskRecord("regress", "mean", mean=(3e38,), std=(3e38,))
    assert list(answers(np.ones((1, 1, 1), np.float32), record, ("v",))) == [None]


TASKS: dict[str, tuple[Task, Tensor]] = {
    "class": (Classify(("a", "b"), T), torch.arange(B) % 2),
    "classes": (LabelSequence(("a", "b"), T, delay=1), torch.arange(B * T).view(B, T) % 2),
    "value": (Regress(("u", "w"), T, (0.0, 0.0), (1.0, 1.0)), drawn(B, 2, seed=1)),
    "values": (Regress(("u", "w"), T, (0.0, 0.0), (1.0, 1.0), combine="each", delay=1), drawn(B, T, 2, seed=1)),
    "labels": (Multilabel(("a", "b"), T), (drawn(B, 2, seed=1) > 0).float()),
}


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("learn_from", ["every", "last", "late"])
def test_the_task_says_which_steps_have_a_loss(name: str, learn_from: Any) -> None:
    task, target = TASKS[name]
    plain = task.criterion()
    task = replace(task, learn_from=learn_from)  # type: ignore[type-var]
    outputs, first = drawn(T, B, 2), first_step(plain)
    losses = torch.stack([loss_at(plain, outputs[t], target, t) for t in range(first, T)])
    weights = {
        "every": [1 / len(losses)] * len(losses),
        "last": [0.0] * (len(losses) - 1) + [1.0],
        "late": late_weights(len(losses)),
    }[learn_from]
    x = torch.zeros(1, B, 1)
    rule = STBP(task.criterion(), loss="each")
    (step,) = rule(lambda x, state, steps: (outputs, None), x, target, rule.schedule(T, torch.Generator()))  # type: ignore[arg-type]
    torch.testing.assert_close(step.loss, (losses * torch.tensor(weights)).sum())
    # What is answered does not depend on it, nor is it measured elsewhere.
    figures, those = (measured(one, outputs, target).metrics for one in (task, TASKS[name][0]))
    assert figures == those


def test_an_answer_of_the_last_step_may_be_learned_from_every_step() -> None:
    assert first_step(Classify(("a", "b"), T, "last").criterion()) == T - 1
    assert first_step(Classify(("a", "b"), T, "last", learn_from="every").criterion()) == 0
    with pytest.raises(ValueError, match="learn_from = 'first'; choose one of every, last, late"):
        Classify(("a", "b"), T, learn_from="first").criterion()  # type: ignore[arg-type]
