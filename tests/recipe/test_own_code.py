"""Rules, optimisers, schedules, metrics, networks and neurons of one's own, by `package.module:Name`."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torchmetrics.classification import MulticlassMatthewsCorrCoef

import own_parts
from cases import every, naming
from hdlif.cli.neurons import show, text
from hdlif.errors import RecipeError, TrainingError
from hdlif.nn import QuantConv2d, SpikeQuantizer
from hdlif.recipe import builders, load_recipe
from hdlif.recipe.builders.metrics import build_metrics
from hdlif.recipe.builders.task import learned_arguments
from hdlif.training.tasks import Classify
from hostile import one_printable_line
from own_neurons import AdaptiveHDLIF
from small_recipes import load, neurons, recipe
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


@every(
    "stated",
    "kind",
    "options",
    of=[
        ("{kind: sgd}", torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
        ("{kind: adamw, beta2: 0.95}", torch.optim.AdamW, {"betas": (0.9, 0.95)}),
        ("{kind: adam}", torch.optim.Adam, {"betas": (0.9, 0.999)}),
        ('{kind: "torch.optim:RMSprop", alpha: 0.5}', torch.optim.RMSprop, {"alpha": 0.5}),
        ('{kind: "own_parts:SignSGD", scale: 2.0}', own_parts.SignSGD, {"scale": 2.0}),
    ],
)
def test_weight_decay_of_every_optimiser_acts_on_the_weights_alone(
    stated: str, kind: type[torch.optim.Optimizer], options: dict[str, object]
) -> None:
    chosen = recipe(f"training.optimizer={stated}", "training.weight_decay=0.125", "training.learning_rate=0.5")
    builders.check(chosen)
    optimizer = builders.build_optimization(chosen.training).optimizer(builders.build_model(chosen))
    assert type(optimizer) is kind
    decays, spares = optimizer.param_groups
    assert (decays["weight_decay"], spares["weight_decay"]) == (0.125, 0.0)
    assert all(group["lr"] == 0.5 for group in optimizer.param_groups)
    assert {key: decays[key] for key in options} == options


@every(
    "stated",
    "factors",
    of=[
        ("{kind: constant}", [1, 1, 1, 1]),
        ("{kind: drops, at: [0.5], factor: 0.5}", [1, 1, 0.5, 0.5]),
        ('{kind: "own_parts:halving", every: 1}', [1, 0.5, 0.25, 0.125]),
    ],
)
def test_a_schedule_is_made_with_its_arguments(stated: str, factors: list[float]) -> None:
    chosen = recipe(f"training.schedule={stated}")
    builders.check(chosen)
    schedule = builders.build_optimization(chosen.training).schedule
    assert [schedule(step, 4) for step in range(4)] == factors


@every("gives", "words", of=[("text", "gives '1' at step"), ("nan", "gives nan at step"), ("fault", "IndexError")])
def test_a_schedule_that_fails_late_is_named_in_one_line_and_ends_its_training(
    gives: str, words: str, tmp_path: Path
) -> None:
    late = f'training.schedule={{kind: "own_parts:at_ten", gives: {gives}}}'
    chosen = recipe("data.batch_size=16", "data.train=192", late)
    builders.check(chosen)
    with pytest.raises(TrainingError, match="own_parts:at_ten") as caught:
        train(chosen, out=tmp_path / gives, memory_repeats=0)
    assert words in one_printable_line(caught.value)


def breaks(time_steps: int, is_own: bool = False, section: str = "") -> None:
    raise KeyError("no such\nkey")


def test_a_part_that_fails_is_named_in_one_line() -> None:
    for stated in ("", ", is_own: true, section: x"):
        with pytest.raises(RecipeError) as caught:
            builders.check(recipe(f'norm={{kind: "recipe.test_own_code:breaks"{stated}}}'))
        assert one_printable_line(caught.value).startswith("norm: KeyError: ")


MCC = "torchmetrics.classification:MulticlassMatthewsCorrCoef"


def task_of(section: str) -> Any:
    return builders.build_measured_task(load_recipe("digits_hdlif", [f"task={{kind: classify, {section}}}"]))


def test_metrics_are_made_by_their_names_and_get_what_they_take() -> None:
    plain = "[f1, balanced_accuracy, {kind: top_k, k: 5}, auroc, calibration_error, mcc]"
    names = ["f1", "balanced_accuracy", "top_5", "auroc", "calibration_error", "mcc"]
    assert list(task_of(f"metrics: {plain}").metrics) == names
    task = task_of(f'metrics: [{{kind: "{MCC}"}}, {{kind: "{MCC}", name: mcc}}], best: mcc')
    assert [type(metric) for metric in task.metrics.values()] == 2 * [MulticlassMatthewsCorrCoef]
    assert (list(task.metrics), task.metric) == (["MulticlassMatthewsCorrCoef", "mcc"], "mcc")
    task = task_of('metrics: [{kind: "own_metrics:Sure", power: 2.0}], best: Sure')
    assert (task.metrics["Sure"].num_classes, task.metrics["Sure"].power) == (10, 2.0)
    general = task_of('metrics: [{kind: "torchmetrics:F1Score", average: macro}]').metrics["F1Score"]
    assert general.num_classes == 10
    # Of what it may be, int | list[float] | Tensor, a recipe can say a part.
    binned = 'metrics: [{kind: "torchmetrics.classification:MulticlassAUROC", thresholds: 20}]'
    assert len(task_of(binned).metrics["MulticlassAUROC"].thresholds) == 20
    for kind, names in (
        ("sequence", ["f1", "auroc", "mcc"]),
        ("regress", ["spearman", "pearson", "mape"]),
        ("multilabel", ["auroc", "average_precision", "hamming"]),
    ):
        metrics = build_metrics(kind, {"metrics": names, "threshold": 0.25}, ("a", "b", "c"))
        assert list(metrics) == names
    assert metrics["hamming"].threshold == 0.25


def test_metrics_say_nothing_of_what_is_learned() -> None:
    task = "task={kind: classify, metrics: [f1], best: f1}"
    recipe = load_recipe("digits_hdlif", [task, "rule={kind: ottt, mse_share: 0.1}"])
    builders.check_names(recipe)
    assert learned_arguments(recipe) == {}
    plain = builders.build_task(recipe)
    assert isinstance(plain, Classify)
    assert (dict(plain.metrics), plain.best) == ({}, None)


def test_a_task_of_the_users_takes_metrics_if_it_says_so() -> None:
    own = 'task={kind: "hdlif.training.tasks:Classify", metrics: [{kind: "own_metrics:Sure"}], best: Sure}'
    task: Any = builders.build_measured_task(load_recipe("digits_hdlif", [own]))
    assert (list(task.metrics), task.metric) == (["Sure"], "Sure")
    with pytest.raises(RecipeError, match=r'"f1" is of .*; name one by package\.module:Name'):
        builders.build_measured_task(load_recipe("digits_hdlif", [own.replace('{kind: "own_metrics:Sure"}', "f1")]))
    refusing = 'task={kind: "own_metrics:no_metric", metrics: [f1]}'
    with pytest.raises(RecipeError, match='the task "own_metrics:no_metric"; let it take an argument `metrics`'):
        builders.check_names(load_recipe("digits_hdlif", [refusing]))


RULES = ("stbp", "sltt", "ottt", "ndot", "stochastic_step", "stochastic_window, length: 2")


def own(name: str, *overrides: str, **arguments: object) -> object:
    text = "".join(f", {key}: {value}" for key, value in arguments.items())
    return load(f'model={{kind: "own_models:{name}"{text}}}', *overrides)


@every(name=["tiny", "Branched"], rule=RULES)
def test_it_trains_under_every_rule(name: str, rule: str) -> None:
    recipe = own(name, f"rule={{kind: {rule}}}")
    builders.check(recipe)
    torch.manual_seed(0)
    network, chosen = builders.build_model(recipe), builders.build_rule(recipe)
    draws = torch.Generator().manual_seed(0)
    x, target = builders.random_batch(recipe, draws)
    for step in chosen(network, x, target, chosen.schedule(recipe.time_steps, draws)):
        step.loss.backward()
    assert all(value.grad is not None and value.grad.any() for value in network.parameters() if value.ndim > 1)


def test_it_is_given_the_parts_that_it_takes() -> None:
    adaptive = 'neuron={kind: "own_neurons:AdaptiveHDLIF", rise: 0.3, leak: 0.25, granularity: channel}'
    layers = neurons(builders.build_model(own("Branched", adaptive)))
    assert all(type(layer) is AdaptiveHDLIF and layer.leak.channels and not layer.quantizer for layer in layers)
    assert all(float(layer.rise.values()[0, 0]) == pytest.approx(0.3) for layer in layers)
    quantised = "spikes={kind: quantised, bits: 4, step: 0.25}"
    network = builders.build_model(own("Branched", "weights={kind: ternary}", quantised, width=6))
    layers = neurons(network)
    assert all(layer.leak.channels is None and isinstance(layer.quantizer, SpikeQuantizer) for layer in layers)
    low_bit = [name for name, one in network.named_modules() if isinstance(one, QuantConv2d) and one.quantizer]
    assert low_bit == ["network.left.0", "network.right.0"]
    assert network.network.out.in_features == 2 * 6 * 64


def test_what_is_no_network_is_refused_in_one_line() -> None:
    for name, words in (
        ("Missing", "own_models has no Missing"),
        ("NOT_A_NETWORK", "it must be a class or a function"),
        ("a_tensor", "Tensor is not a network over time"),
        ("no_logits", "Sequential gives [1, 1, 3, 6, 6]"),
        ("other_classes", "gives 3 outputs, and digits has 10 classes"),
        ("residual", "Residual holds HDLIF, which knows time"),
        ("shared", "has one parameter at two places, network.1.leak"),
        ("Forgets", "gives other logits for two steps at once than for one after the other"),
        ("Nothing", "does not run: TypeError: "),
        ("Typo", "does not run: AttributeError: Typo has no attribute"),
        ("needs_more", "model.depth is missing"),
        ('tiny", widht: "4', 'model.widht = "4" is unknown'),
    ):
        with naming(name), pytest.raises(RecipeError) as caught:
            builders.check(own(name))
        assert words in one_printable_line(caught.value)
    named = "neuron={kind: hdlif, parallel: [network.act2]}"
    with pytest.raises(RecipeError, match=r"neuron.parallel: 'network.act2' was made by its channels"):
        builders.check(own("Branched", named))


def test_a_module_that_fails_or_has_no_neuron_says_how_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    vector = "from hdlif.nn import EquationNeuron, Parameter\nclass A(EquationNeuron):\n    leak = Parameter([0.5])\n"
    for name, code, words in (
        ("failing_neurons", "import a_library_that_is_not_there\n", "No module named 'a_library"),
        ("raising_neurons", "raise ValueError('bad\\nthings')\n", "bad"),
        ("vector_neurons", vector, r"start = \[0.5\]; a parameter starts"),
    ):
        (tmp_path / f"{name}.py").write_text(code)
        overrides = [f'neuron={{kind: "{name}:A"}}']
        with pytest.raises(RecipeError, match=f"importing {name} failed: {words}"):
            builders.check(recipe(*overrides))
        with pytest.raises(RecipeError, match=f"importing {name} failed: "):
            train("digits_hdlif", overrides=overrides, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_neuron_is_shown_by_its_equation() -> None:
    counts = {"lif": 3, "glif": 5, "graded_lif": 3, "hdlif": 3, "parallel_hdlif": 1}
    states = {kind: ["potential"] for kind in counts} | {"glif": ["potential", "fired"], "parallel_hdlif": []}
    for kind, operations in counts.items():
        shown = show(kind)
        assert (shown["counts"]["operations"], shown["states"]) == (operations, states[kind]), kind
        assert shown["equation"].startswith("def ")
        learned = {parameter["name"]: parameter["learned"] for parameter in shown["parameters"]}
        assert learned["threshold"] == (kind != "lif")
    for kind, layer in builders.EQUATIONS.items():
        assert show(kind) | {"kind": layer.place} == show(layer.place), kind
    assert counts.keys() | builders.EQUATIONS.keys() == builders.CLASSES.keys() == builders.NEURONS.keys()
    own = show("own_neurons:AdaptiveHDLIF")
    assert (own["states"], own["counts"]["operations"], own["surrogates"]) == (["potential", "adaptation"], 7, [])
    # v, and a bit for whether it fired, and the adaptation, whose leak is learned
    assert (own["counts"]["state_bytes"], own["saved_bytes"]) == (8, 8.125)
    assert "7 operations a neuron and step" in text(own)
    for kind in ("own_neurons:LongWay", "hdlif.nn:EquationNeuron"):
        with pytest.raises(RecipeError):
            show(kind)
