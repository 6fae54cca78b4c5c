"""`task.metrics` and `task.best`: names, arguments, and what is refused before a training."""

from typing import Any

import pytest
from torchmetrics.classification import MulticlassMatthewsCorrCoef, MultilabelHammingDistance

from hdlif.errors import RecipeError
from hdlif.recipe import builders, load_recipe
from hdlif.recipe.builders.metrics import METRICS, build_metrics
from hdlif.recipe.builders.task import learned_arguments
from hdlif.training.tasks import Classify, Measured

MCC = "torchmetrics.classification:MulticlassMatthewsCorrCoef"


def built(section: str, recipe: str = "digits_hdlif") -> Measured:
    task = builders.build_measured_task(load_recipe(recipe, [f"task={{kind: classify, {section}}}"]))
    assert isinstance(task, Measured)
    return task


def test_names_and_parts_are_metrics_by_their_names() -> None:
    every = "[f1, balanced_accuracy, {kind: top_k, k: 5}, auroc, calibration_error, mcc]"
    names = ["f1", "balanced_accuracy", "top_5", "auroc", "calibration_error", "mcc"]
    assert list(built(f"metrics: {every}").metrics) == names
    task = built(f'metrics: [{{kind: "{MCC}"}}, {{kind: "{MCC}", name: mcc}}], best: mcc')
    assert [type(metric) for metric in task.metrics.values()] == 2 * [MulticlassMatthewsCorrCoef]
    assert (list(task.metrics), task.metric) == (["MulticlassMatthewsCorrCoef", "mcc"], "mcc")


def test_each_kind_of_task_has_its_names() -> None:
    for kind, names in (
        ("sequence", ["f1", "auroc", "mcc"]),
        ("regress", ["spearman", "pearson", "mape"]),
        ("multilabel", ["auroc", "average_precision", "hamming"]),
    ):
        metrics = build_metrics(kind, {"metrics": names, "threshold": 0.25}, ("a", "b", "c"))
        assert list(metrics) == names
        assert set(names) <= set(METRICS)
        if kind == "multilabel":
            assert isinstance(metrics["hamming"], MultilabelHammingDistance)
            assert metrics["hamming"].threshold == 0.25


def test_one_of_the_users_gets_what_it_takes() -> None:
    task = built('metrics: [{kind: "own_metrics:Sure", power: 2.0}], best: Sure')
    assert (task.metrics["Sure"].num_classes, task.metrics["Sure"].power) == (10, 2.0)
    general = built('metrics: [{kind: "torchmetrics:F1Score", average: macro}]').metrics["F1Score"]
    assert general.num_classes == 10
    # Of what it may be, int | list[float] | Tensor, a recipe can say a part.
    binned = 'metrics: [{kind: "torchmetrics.classification:MulticlassAUROC", thresholds: 20}]'
    assert len(built(binned).metrics["MulticlassAUROC"].thresholds) == 20


def test_metrics_say_nothing_of_what_is_learned() -> None:
    recipe = load_recipe(
        "digits_hdlif", ["task={kind: classify, metrics: [f1], best: f1}", "rule={kind: ottt, mse_share: 0.1}"]
    )
    builders.check_names(recipe)
    assert learned_arguments(recipe) == {}
    task = builders.build_task(recipe)
    assert isinstance(task, Classify)
    assert (dict(task.metrics), task.best) == ({}, None)


def test_a_task_of_the_users_takes_metrics_if_it_says_so() -> None:
    own = 'task={kind: "hdlif.training.tasks:Classify", metrics: [{kind: "own_metrics:Sure"}], best: Sure}'
    task: Any = builders.build_measured_task(load_recipe("digits_hdlif", [own]))
    assert (list(task.metrics), task.metric) == (["Sure"], "Sure")
    with pytest.raises(RecipeError, match=r'"f1" is of .*; name one by package\.module:Name'):
        builders.build_measured_task(load_recipe("digits_hdlif", [own.replace('{kind: "own_metrics:Sure"}', "f1")]))
    refusing = 'task={kind: "own_metrics:no_metric", metrics: [f1]}'
    with pytest.raises(RecipeError, match='the task "own_metrics:no_metric"; let it take an argument `metrics`'):
        builders.check_names(load_recipe("digits_hdlif", [refusing]))
