"""Rules, optimisers, schedules and other parts of one's own, by `package.module:Name`."""

from pathlib import Path

import pytest
import torch

import own_parts
from hdlif import builders
from hdlif.errors import RecipeError, TrainingError
from hdlif.nn import BatchNorm2d
from small_recipes import built, recipe
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


def test_a_norm_of_one_s_own_is_made_from_the_channels() -> None:
    network = built('norm={kind: "own_parts:quiet_norm", eps: 0.25}')
    norms = [one for name, one in network.named_modules() if isinstance(one, BatchNorm2d) and name.startswith("body")]
    assert norms
    assert {norm.eps for norm in norms} == {0.25}


@pytest.mark.parametrize(
    ("stated", "kind", "options"),
    [
        ("{kind: sgd}", torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
        ("{kind: adamw, beta2: 0.95}", torch.optim.AdamW, {"betas": (0.9, 0.95)}),
        ("{kind: adam}", torch.optim.Adam, {"betas": (0.9, 0.999)}),
        ('{kind: "torch.optim:RMSprop", alpha: 0.5}', torch.optim.RMSprop, {"alpha": 0.5}),
        ('{kind: "own_parts:SignSGD", scale: 2.0}', own_parts.SignSGD, {"scale": 2.0}),
    ],
)
def test_optimisers(stated: str, kind: type, options: dict[str, object]) -> None:
    """Weight decay acts on the weights alone, whoever takes it."""
    chosen = recipe(f"training.optimizer={stated}", "training.weight_decay=0.125", "training.learning_rate=0.5")
    builders.check(chosen)
    optimizer = builders.build_optimization(chosen.training).optimizer(builders.build_model(chosen))
    assert type(optimizer) is kind
    decays, spares = optimizer.param_groups
    assert (decays["weight_decay"], spares["weight_decay"]) == (0.125, 0.0)
    assert all(group["lr"] == 0.5 for group in optimizer.param_groups)
    assert {key: decays[key] for key in options} == options


@pytest.mark.parametrize(
    ("stated", "factors"),
    [
        ("{kind: constant}", [1, 1, 1, 1]),
        ("{kind: drops, at: [0.5], factor: 0.5}", [1, 1, 0.5, 0.5]),
        ('{kind: "own_parts:halving", every: 1}', [1, 0.5, 0.25, 0.125]),
    ],
)
def test_schedules(stated: str, factors: list[float]) -> None:
    chosen = recipe(f"training.schedule={stated}")
    builders.check(chosen)
    schedule = builders.build_optimization(chosen.training).schedule
    assert [schedule(step, 4) for step in range(4)] == factors


@pytest.mark.parametrize(
    ("gives", "words"),
    [
        ("text", "\"own_parts:at_ten\" gives '1' at step 10 of 40; it must make a function of"),
        ("nan", '"own_parts:at_ten" gives nan at step 10 of 40'),
        ("fault", "training.schedule: IndexError: list index .*; own_parts:at_ten fails so at step 10 of 40"),
    ],
)
def test_a_schedule_that_fails_late_is_named_in_one_line(gives: str, words: str) -> None:
    chosen = recipe(f'training.schedule={{kind: "own_parts:at_ten", gives: {gives}}}')
    builders.check(chosen)
    schedule = builders.build_optimization(chosen.training).schedule
    assert schedule(9, 40) == 1.0
    with pytest.raises(TrainingError, match=words) as caught:
        schedule(10, 40)
    assert "\n" not in str(caught.value)


def test_a_training_ends_so_where_its_schedule_fails(tmp_path: Path) -> None:
    chosen = recipe(
        "data.batch_size=16", "data.train=192", 'training.schedule={kind: "own_parts:at_ten", gives: fault}'
    )
    with pytest.raises(TrainingError, match=r"own_parts:at_ten fails so at step 10 of "):
        train(chosen, out=tmp_path / "run", memory_repeats=0)


def test_what_is_by_default_is_not_written_out() -> None:
    assert "optimizer" not in recipe().model_dump()["training"]
    assert recipe("training.optimizer={kind: adam}").model_dump()["training"]["optimizer"] == {"kind": "adam"}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.optimizer={kind: sdg}", r'training.optimizer.kind = "sdg" is unknown; .*did you mean "sgd"'),
        ("training.optimizer={kind: adam, beta: 0.9}", "training.optimizer.beta is unknown"),
        ("training.optimizer={kind: adam, beta1: 2.0}", "training.optimizer: Invalid beta parameter"),
        ("training.optimizer={kind: adam, lr: 0.1}", "training.learning_rate is a key of its own"),
        ("training.optimizer={kind: sgd, momentum: 0.1}", "training.momentum is a key of its own"),
        ('training.optimizer={kind: "torch.optim:LBFGS"}', "LBFGS doesn't support per-parameter options"),
        ('training.optimizer={kind: "own_parts:halving"}', "it must be an optimiser as those of torch.optim"),
        ('training.optimizer={kind: "own_parts:NUMBER"}', "it must be a class or a function"),
        ('training.optimizer={kind: "torch.optim:Adafactor"}', r"keeps 'row_var' of shape .*choose another optimiser"),
        ('training.optimizer={kind: "own_parts:GroupState"}', "changes 'steps' of its groups in a step"),
        ('training.optimizer={kind: "own_parts:KeepsNumber"}', "keeps 'step' as 1, which is not a tensor"),
        ('training.optimizer={kind: "own_parts:NamesOddly"}', "keeps 'a.b' under a name that is not an identifier"),
        ('training.schedule={kind: "own_parts:late"}', "training.schedule: ZeroDivisionError: division by zero"),
        ('rule={kind: "own_parts:NoPlan"}', "its schedule gives a int; it must give a hdlif.learning.Plan"),
        ('rule={kind: "own_parts:NoSchedule"}', "AttributeError: .*a rule has schedule"),
        ("training.schedule={kind: drops}", "training.schedule.at is missing"),
        ("training.schedule={kind: drops, at: [2.0]}", "training.schedule: at = "),
        ('training.schedule={kind: "own_parts:wrong_schedule"}', "gives -1.0 at step 0 of 10"),
        ('rule={kind: "own_parts:Missing"}', "own_parts has no Missing"),
        ('rule={kind: "own_parts:LastStep", wieght: 1.0}', 'rule.wieght is unknown; .*did you mean "weight"'),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(override: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words) as caught:
        builders.check(recipe(override))
    assert "\n" not in str(caught.value)
