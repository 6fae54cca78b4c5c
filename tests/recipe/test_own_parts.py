"""Rules, optimisers, schedules and other parts of one's own, by `package.module:Name`."""

from pathlib import Path

import pytest
import torch

import own_parts
from hdlif.errors import RecipeError, TrainingError
from hdlif.recipe import builders
from hostile import one_printable_line
from small_recipes import recipe
from trainings import train


def test_a_rule_of_one_s_own_is_given_the_loss_and_its_arguments() -> None:
    chosen = recipe('rule={kind: "own_parts:LastStep", weight: 0.5}', "training.label_smoothing=0.1")
    builders.check(chosen)
    rule = builders.build_rule(chosen)
    assert isinstance(rule, own_parts.LastStep)
    assert rule.weight == 0.5
    assert rule.criterion.keywords == {"label_smoothing": 0.1}  # type: ignore[attr-defined]
    network = builders.build_model(chosen)
    x, target = builders.random_batch(chosen, torch.Generator().manual_seed(0))
    (step,) = rule(network, x, target, rule.schedule(4, torch.Generator()))
    step.loss.backward()
    assert network.classifier.weight.grad.any()


def test_optimisers() -> None:
    """Weight decay acts on the weights alone, whoever takes it."""
    for stated, kind, options in (
        ("{kind: sgd}", torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
        ("{kind: adamw, beta2: 0.95}", torch.optim.AdamW, {"betas": (0.9, 0.95)}),
        ("{kind: adam}", torch.optim.Adam, {"betas": (0.9, 0.999)}),
        ('{kind: "torch.optim:RMSprop", alpha: 0.5}', torch.optim.RMSprop, {"alpha": 0.5}),
        ('{kind: "own_parts:SignSGD", scale: 2.0}', own_parts.SignSGD, {"scale": 2.0}),
    ):
        chosen = recipe(f"training.optimizer={stated}", "training.weight_decay=0.125", "training.learning_rate=0.5")
        builders.check(chosen)
        optimizer = builders.build_optimization(chosen.training).optimizer(builders.build_model(chosen))
        assert type(optimizer) is kind
        decays, spares = optimizer.param_groups
        assert (decays["weight_decay"], spares["weight_decay"]) == (0.125, 0.0)
        assert all(group["lr"] == 0.5 for group in optimizer.param_groups)
        assert {key: decays[key] for key in options} == options


def test_schedules() -> None:
    for stated, factors in (
        ("{kind: constant}", [1, 1, 1, 1]),
        ("{kind: drops, at: [0.5], factor: 0.5}", [1, 1, 0.5, 0.5]),
        ('{kind: "own_parts:halving", every: 1}', [1, 0.5, 0.25, 0.125]),
    ):
        chosen = recipe(f"training.schedule={stated}")
        builders.check(chosen)
        schedule = builders.build_optimization(chosen.training).schedule
        assert [schedule(step, 4) for step in range(4)] == factors, stated


def test_a_schedule_that_fails_late_is_named_in_one_line() -> None:
    for gives, words in (
        ("text", "\"own_parts:at_ten\" gives '1' at step 10 of 40; it must make a function of"),
        ("nan", '"own_parts:at_ten" gives nan at step 10 of 40'),
        ("fault", "training.schedule: IndexError: list index out of range; own_parts:at_ten fails so at step 10 of 40"),
    ):
        chosen = recipe(f'training.schedule={{kind: "own_parts:at_ten", gives: {gives}}}')
        builders.check(chosen)
        schedule = builders.build_optimization(chosen.training).schedule
        assert schedule(9, 40) == 1.0
        with pytest.raises(TrainingError) as caught:
            schedule(10, 40)
        assert words in one_printable_line(caught.value)


def test_a_training_ends_so_where_its_schedule_fails(tmp_path: Path) -> None:
    chosen = recipe(
        "data.batch_size=16", "data.train=192", 'training.schedule={kind: "own_parts:at_ten", gives: fault}'
    )
    with pytest.raises(TrainingError, match=r"own_parts:at_ten fails so at step 10 of "):
        train(chosen, out=tmp_path / "run", memory_repeats=0)


def breaks(time_steps: int, is_own: bool = False, section: str = "") -> None:
    raise KeyError("no such\nkey")


def test_a_part_that_fails_is_named_in_one_line() -> None:
    for stated in ("", ", is_own: true, section: x"):
        with pytest.raises(RecipeError) as caught:
            builders.check(recipe(f'norm={{kind: "recipe.test_own_parts:breaks"{stated}}}'))
        assert one_printable_line(caught.value).startswith("norm: KeyError: ")
