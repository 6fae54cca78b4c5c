"""Rules, optimisers, schedules, metrics, networks and neurons of the user, by `package.module:Name`, and `spiking`."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchmetrics.classification import MulticlassMatthewsCorrCoef

import own_parts
from cases import every, naming
from hdlif.cli.neurons import show
from hdlif.data.augment import Augmentation
from hdlif.errors import CheckpointError, RecipeError, TrainingError
from hdlif.nn import HDLIF, QuantConv2d, SpikeQuantizer, Ternary
from hdlif.recipe import Recipe, builders, load_recipe
from hdlif.recipe.builders.augment import build_augment
from hdlif.recipe.builders.metrics import build_metrics
from hostile import one_printable_line
from own_neurons import AdaptiveHDLIF
from small_recipes import load, neurons, recipe
from torch_networks import Residual
from trainings import train


def test_a_rule_of_one_s_own_is_given_the_loss_and_its_arguments() -> None:
    chosen = recipe('rule={kind: "own_parts:LastStep", weight: 0.5}', "training.label_smoothing=0.1")
    builders.check(chosen)
    rule = builders.build_rule(chosen)
    assert isinstance(rule, own_parts.LastStep)
    assert rule.weight == 0.5
    assert rule.criterion.keywords == {"label_smoothing": 0.1}  # type: ignore[attr-defined]


def test_weight_decay_of_any_optimiser_acts_on_the_weights_alone() -> None:
    for stated, kind, option in (
        ("{kind: adamw, beta2: 0.95}", torch.optim.AdamW, ("betas", (0.9, 0.95))),
        ('{kind: "torch.optim:RMSprop", alpha: 0.5}', torch.optim.RMSprop, ("alpha", 0.5)),
        ('{kind: "own_parts:SignSGD", scale: 2.0}', own_parts.SignSGD, ("scale", 2.0)),
    ):
        chosen = recipe(f"training.optimizer={stated}", "training.weight_decay=0.125", "training.learning_rate=0.5")
        builders.check(chosen)
        optimizer = builders.build_optimization(chosen.training).optimizer(builders.build_model(chosen))
        assert type(optimizer) is kind
        assert [group["weight_decay"] for group in optimizer.param_groups] == [0.125, 0.0]
        assert all((group["lr"], group[option[0]]) == (0.5, option[1]) for group in optimizer.param_groups)


def test_a_schedule_is_made_with_its_arguments() -> None:
    for stated, factors in (
        ("{kind: constant}", [1, 1, 1, 1]),
        ("{kind: drops, at: [0.5], factor: 0.5}", [1, 1, 0.5, 0.5]),
        ('{kind: "own_parts:halving", every: 1}', [1, 0.5, 0.25, 0.125]),
    ):
        chosen = recipe(f"training.schedule={stated}")
        builders.check(chosen)
        schedule = builders.build_optimization(chosen.training).schedule
        assert [schedule(step, 4) for step in range(4)] == factors, stated


def test_a_schedule_that_fails_late_is_named_in_one_line_and_ends_its_training(tmp_path: Path) -> None:
    for gives, words in (("text", "gives '1' at step"), ("nan", "gives nan at step"), ("fault", "IndexError")):
        chosen = recipe(f'training.schedule={{kind: "own_parts:at_ten", gives: {gives}}}')
        builders.check(chosen)
        with naming(gives), pytest.raises(TrainingError, match="own_parts:at_ten") as caught:
            builders.build_optimization(chosen.training).schedule(10, 12)
        assert words in one_printable_line(caught.value)
    short = ["model.blocks=[1]", "data.batch_size=4", "data.train=48", "rule={kind: stochastic_step}"]
    late = 'training.schedule={kind: "own_parts:at_ten", gives: text}'
    with pytest.raises(TrainingError, match="own_parts:at_ten"):
        train(recipe(*short, late), out=tmp_path / "run", memory_repeats=0)


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


def test_a_task_of_the_users_takes_metrics_if_it_says_so() -> None:
    own = 'task={kind: "hdlif.training.tasks:Classify", metrics: [{kind: "own_metrics:Sure"}], best: Sure}'
    task: Any = builders.build_measured_task(load_recipe("digits_hdlif", [own]))
    assert (list(task.metrics), task.metric) == (["Sure"], "Sure")
    with pytest.raises(RecipeError, match=r'"f1" is for .*; give one as package\.module:Name'):
        builders.build_measured_task(load_recipe("digits_hdlif", [own.replace('{kind: "own_metrics:Sure"}', "f1")]))
    refusing = 'task={kind: "own_metrics:no_metric", metrics: [f1]}'
    with pytest.raises(RecipeError, match='the task "own_metrics:no_metric"; add an argument `metrics` to it'):
        builders.check_names(load_recipe("digits_hdlif", [refusing]))


RULES = ("stbp", "sltt", "ottt", "ndot", "stochastic_step", "stochastic_window, length: 2")


def own(name: str, *overrides: str, **arguments: object) -> object:
    text = "".join(f", {key}: {value}" for key, value in arguments.items())
    return load(f'model={{kind: "own_models:{name}"{text}}}', *overrides)


@every(name=["tiny", "Branched"], rule=RULES)
def test_a_network_of_the_user_trains_under_every_rule(name: str, rule: str) -> None:
    recipe = own(name, f"rule={{kind: {rule}}}")
    builders.check(recipe)
    torch.manual_seed(0)
    network, chosen = builders.build_model(recipe), builders.build_rule(recipe)
    draws = torch.Generator().manual_seed(0)
    x, target = builders.random_batch(recipe, draws)
    for step in chosen(network, x, target, chosen.schedule(recipe.time_steps, draws)):
        step.loss.backward()
    assert all(value.grad is not None and value.grad.any() for value in network.parameters() if value.ndim > 1)


def test_a_network_of_the_user_is_given_the_parts_that_it_takes() -> None:
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
        ("no_logits", "returns a map for an image"),
        ("other_classes", "gives 3 outputs, but digits has 10 classes"),
        ("residual", "Residual contains HDLIF, which runs over time"),
        ("shared", "uses one parameter in two places, network.1.leak"),
        ("Forgets", "gives different logits for two steps in one call and in two calls"),
        ("Nothing", "does not run: TypeError: "),
        ("Typo", "does not run: AttributeError: Typo has no attribute"),
        ("needs_more", "model.depth is missing"),
        ('tiny", widht: "4', 'model.widht = "4" is unknown'),
    ):
        with naming(name), pytest.raises(RecipeError) as caught:
            builders.check(own(name))
        assert words in one_printable_line(caught.value)
    named = "neuron={kind: hdlif, parallel: [network.act2]}"
    with pytest.raises(RecipeError, match=r"neuron.parallel: 'network.act2' was created from its channels"):
        builders.check(own("Branched", named))


def test_a_module_that_fails_is_refused_before_a_run_is_written(
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
            train("digits_hdlif", overrides=overrides, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_neuron_of_the_user_is_shown_by_its_equation() -> None:
    own = show("own_neurons:AdaptiveHDLIF")
    assert (own["states"], own["counts"]["operations"], own["surrogates"]) == (["potential", "adaptation"], 7, [])
    # v, and a bit for whether it fired, and the adaptation, whose leak is learned
    assert (own["counts"]["state_bytes"], own["saved_bytes"]) == (8, 8.125)
    with pytest.raises(RecipeError):
        show("own_neurons:LongWay")


def spiking(*overrides: str, of: str = "torch_networks:Residual", **keys: str) -> Recipe:
    rest = "".join(f", {key}: {value}" for key, value in keys.items())
    return load(f"model={{kind: spiking, of: '{of}'{rest}}}", *overrides)


def seeded(chosen: Recipe, *, pretrained: bool = False) -> dict[str, Any]:
    torch.manual_seed(1)
    return dict(builders.build_model(chosen, pretrained=pretrained).named_modules())


def test_it_is_given_the_parts_of_the_spiking() -> None:
    chosen = spiking("weights={kind: ternary}", "spikes={kind: quantised}", options="{width: 8}")
    builders.check(chosen)
    network = builders.build_model(chosen)
    layers = neurons(network)
    assert len(layers) == 5
    assert all(isinstance(one, HDLIF) and isinstance(one.quantizer, SpikeQuantizer) for one in layers)
    modules = dict(network.named_modules())
    low_bit = [name for name, one in modules.items() if isinstance(one, QuantConv2d) and one.quantizer == Ternary()]
    assert low_bit == [f"network.blocks.{n}.conv{m}" for n in range(2) for m in (1, 2)]
    # The digits have one channel and ten classes.
    assert (modules["network.stem"].weight.shape, modules["network.fc"].out_features) == ((8, 1, 3, 3), 10)


def test_layers_that_are_quantised_by_name_keep_their_weights() -> None:
    plain, named = seeded(spiking()), seeded(spiking("weights={kind: ternary, quantise: [network.fc, network.stem]}"))
    for name in ("network.fc", "network.stem"):
        assert named[name].quantizer == Ternary()
        assert torch.equal(named[name].weight, plain[name].weight)
        assert torch.equal(named[name].bias, plain[name].bias)


@every(suffix=[".safetensors", ".pt"])
def test_a_spiking_network_starts_from_the_weights_of_a_file(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(0)
    whole, path = Residual(num_classes=7), tmp_path / f"whole{suffix}"
    if suffix == ".pt":
        torch.save({"state_dict": whole.state_dict()}, path)
    else:
        save_file(whole.state_dict(), path)
    chosen = spiking(pretrained=str(path))
    builders.check(chosen)
    network, fresh = seeded(chosen, pretrained=True), seeded(chosen)
    assert torch.equal(network["network.blocks.0.conv2"].weight, whole.blocks[0].conv2.weight)
    assert not torch.equal(fresh["network.blocks.0.conv2"].weight, whole.blocks[0].conv2.weight)
    # The first convolution reads one channel, and takes the sum over the channels of the file.
    torch.testing.assert_close(network["network.stem"].weight, whole.stem.weight.sum(1, keepdim=True))
    # Of other classes, and so left out.
    assert torch.equal(network["network.fc"].weight, fresh["network.fc"].weight)


def test_a_file_of_another_network_is_refused_by_its_tensors(tmp_path: Path) -> None:
    tensors = Residual(width=8).state_dict()
    del tensors["bn.weight"]
    save_file({**tensors, "more": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(b"damaged")

    def refusal(name: str) -> str:
        with pytest.raises(CheckpointError, match=r"give model\.pretrained a state dict") as caught:
            builders.build_model(spiking(pretrained=str(tmp_path / name)), pretrained=True)
        return str(caught.value)

    assert '"bn.weight"' in refusal("other.safetensors")
    assert "is not a state dict of the network" in refusal("damaged.safetensors")
    assert "cannot be read (No such file" in refusal("absent.pt")


def grouped(**_: Any) -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 2, 1, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10))


def reflecting(*, classes: int, neuron: Any) -> nn.Module:
    conv = nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect")
    return nn.Sequential(conv, neuron(2), nn.Flatten(), nn.Linear(128, classes))


def nothing(**options: Any) -> Any:
    return options


def gelu(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.GELU(), nn.Flatten(), nn.Linear(128, num_classes))


def test_what_is_no_spiking_network_is_named_in_one_line() -> None:
    for keys, words in (
        ({"of": "resnet81"}, 'mean "torchvision.models:resnet18"'),
        ({"of": "torchvision.models.vgg11"}, "is not the name of a network; write torchvision.models:vgg11"),
        ({"of": "torchvision.models:resnet81"}, 'did you mean "resnet18"'),
        ({"of": "torchvison.models:vgg11"}, 'did you mean "torchvision"?'),
        ({"of": "torchvision.model:vgg11"}, 'did you mean "torchvision.models"?'),
        ({"of": "small_recipes:torch.float32"}, "it must be a class or a function"),
        ({"of": "recipe.test_own_code:nothing"}, "it must give a torch.nn.Module"),
        ({"options": "{depth: 3}"}, "fails: TypeError: "),
        ({"options": "{num_classes: 3}"}, "model.options.num_classes cannot be set"),
        ({"width": "3"}, "model.width = 3 is unknown"),
        ({"of": "recipe.test_own_code:gelu"}, "1 (GELU) has no spiking counterpart"),
        ({"of": "recipe.test_own_code:grouped"}, "takes 2 channels in 2 groups, but the data has 1"),
    ):
        with naming(keys), pytest.raises(RecipeError) as caught:
            builders.check(spiking(**keys))
        assert words in one_printable_line(caught.value)
    # A layer that pads by its own values is not quantised.
    chosen = load("model={kind: 'recipe.test_own_code:reflecting'}", "weights={kind: ternary, quantise: ['*.0']}")
    with pytest.raises(RecipeError, match=r"weights.quantise: network.0 pads by 'reflect'"):
        builders.check(chosen)


def test_an_augmentation_with_arguments_keeps_the_attributes_of_its_function(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("normalised", "costly", "keeps_places"):
        monkeypatch.setattr(own_parts.noise, name, True, raising=False)
    (made,) = build_augment(recipe('data.augment=[{kind: "own_parts:noise", strength: 3}]').data, "image")
    assert isinstance(made, Augmentation)
    assert (made.normalised, made.costly, made.target) == (True, True, "kept")
