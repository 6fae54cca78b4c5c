"""Right answers of a training batch, counted step by step, against all of its outputs at once."""

import itertools
import weakref

import torch
from torch import Tensor

from cases import naming
from hdlif.training.tasks import AnswerCounter, Classify, LabelSequence, Multilabel, Regress, Task
from own_tasks import Maps

T, B, CLASSES = 6, 5, 3
NAMES = ("a", "b", "c")


def noise(*shape: int, seed: int = 0) -> Tensor:
    # Multiples of 1/16, whose sums are exact in any order.
    return torch.randint(-32, 32, shape, generator=torch.Generator().manual_seed(seed)) / 16


def classes(*shape: int) -> Tensor:
    return torch.randint(CLASSES, shape, generator=torch.Generator().manual_seed(1))


CASES: list[tuple[Task, Tensor]] = [
    (Classify(NAMES, T), classes(B)),
    (Classify(NAMES, T), torch.nn.functional.one_hot(classes(B)).float()),
    (Classify(NAMES, T, combine="last", learn_from="every"), classes(B)),
    (Multilabel(NAMES, T), torch.nn.functional.one_hot(classes(B)).float()),
    (Multilabel(NAMES, T, combine="last"), torch.nn.functional.one_hot(classes(B)).float()),
    (LabelSequence(NAMES, T), classes(B, T)),
    (LabelSequence(NAMES, T, delay=2), classes(B, T)),
    (Regress(NAMES, T, (0.0,) * 3, (1.0,) * 3), noise(B, 3)),
]


def test_answers_of_steps_one_by_one_are_those_of_all_at_once() -> None:
    for (task, target), steps, length in itertools.product(CASES, [tuple(range(T)), (1, 3, 4), (5,), (0,)], [1, 2, T]):
        with naming(task, steps, length):
            outputs = noise(len(steps), B, CLASSES)
            answered = AnswerCounter(task, steps, target)
            for part in outputs.split(length):
                answered(part)
            right, of = task.right(outputs, steps, target)
            assert answered.right() == (int(right), of)
            assert answered.losses == -(-len(steps) // length)


def test_nothing_is_kept_of_earlier_steps() -> None:
    for task, target in CASES:
        answered = AnswerCounter(task, tuple(range(T)), target)
        heard = []
        for step in range(T):
            outputs = noise(1, B, CLASSES, seed=step)
            answered(outputs)
            heard.append(weakref.ref(outputs))
        del outputs
        assert not any(one() is not None for one in heard), task


def test_outputs_that_no_step_has_are_not_counted_and_those_of_a_task_of_ones_own_are_kept_whole() -> None:
    for count in (T - 1, T + 1):
        answered = AnswerCounter(LabelSequence(NAMES, T), tuple(range(T)), classes(B, T))
        answered(noise(count, B, CLASSES))
        assert answered.right() == (0, 0)
    maps, outputs = torch.randint(2, (B, 4, 4)), noise(2, B, 2, 4, 4)
    answered = AnswerCounter(Maps(("dark", "light"), T), (0, 2), maps)
    for one in outputs:
        answered(one[None])
    assert answered.right() == (int((outputs.mean(0).argmax(1) == maps).sum()), maps.numel())
