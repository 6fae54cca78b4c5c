"""Compare the gradients of learning rules with the STBP gradient, for untrained networks or checkpoints."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor, nn

from hdlif.errors import DataError, TrainingError
from hdlif.learning import NDOT, OTTT, SLTT, Criterion, StochasticStep, loss_of_each, loss_of_mean
from hdlif.learning import coherence as compare
from hdlif.learning.coherence import RuleFactory
from hdlif.nn import Neuron, evaluation_mode
from hdlif.recipe import Component, Recipe, builders
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.recipe.runs.recipe_data import is_recipe, load_with_data, with_class_weights
from hdlif.report.provenance import hardware, versions
from hdlif.training import note, progress_bar, reestimated, tell, using_threads
from hdlif.training.threads import FEWEST_ROUNDS, candidates, cores_to_try, measured

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

BESIDE = ("lif", "hdlif")
"""Neurons that a recipe's network is compared with, in addition to its own."""
Loss = Literal["mean_logits", "per_step", "as_trained"]
LOSSES: tuple[Loss, ...] = get_args(Loss)


def coherence(
    targets: Sequence[str],
    *,
    overrides: Sequence[str] = (),
    batches: int = 2,
    data_root: Path | None = None,
    neurons: Sequence[str] | None = None,
    losses: Sequence[Loss] = LOSSES,
    threads: int | Literal["auto"] | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Compare the gradients of learning rules, computed in float64 on the first training batches.

    Batch norm uses batch statistics, as in training. The recipe's own rule uses the recipe's arguments, and all other
    rules use their defaults.

    Args:
        targets: recipes (file or shipped name; untrained), checkpoints or run folders.
        overrides: overrides "a.b=v" for the recipes.
        batches: number of batches of the recipe's size.
        data_root: folder of the data set, if it is not bundled.
        neurons: kinds of neurons; other networks are skipped. By default, all kinds are compared.
        losses: keys of `LOSSES`.
        threads: number of PyTorch's threads. "auto" measures which number is fastest with the first network
            (`training.threads`). By default, PyTorch's own number is used.
        progress: show a bar for each network, or a line if standard error is not a terminal.
    Returns:
        {"networks": [{"target", "trained", "neuron", "loss", "time_steps", "images", "rules", "refused"}], "versions",
        "hardware"}, with one entry per network and loss. "rules" is as in `RuleCoherence.as_dict`. "refused" contains
        the reasons why rules cannot train the network. The losses are "mean_logits", the cross-entropy of the mean
        logits; "per_step", the mean of the cross-entropies of all steps; and "as_trained", the first for STBP and the
        second for the rules.
    Raises:
        DataError: the training set has fewer batches.
    """
    entries = []
    with progress_bar(enabled=progress) as bar, using_threads(None if threads == "auto" else threads):
        chosen = threads != "auto"
        for target in targets:
            for network in _networks(target, overrides, data_root):
                if neurons is None or network.neuron in neurons:
                    if not chosen:
                        # Set the threads once, so all networks are compared with the same rounding.
                        _set_threads(network, data_root, bar)
                        chosen = True
                    entries += _entries(target, network, batches, data_root, losses, bar)
    return {"networks": entries, "versions": versions(), "hardware": hardware()}


@dataclass(frozen=True)
class _Network:
    neuron: str
    recipe: Recipe
    module: nn.Module
    trained: bool


def _networks(target: str, overrides: Sequence[str], data_root: Path | None = None) -> Iterator[_Network]:
    """Yield a checkpoint's network or, for a recipe, one untrained network per compared neuron.

    All networks for a recipe have the same weights.
    """
    if not is_recipe(target):
        trained = load_trained(Path(target))
        yield _Network(trained.recipe.neuron.kind, trained.recipe, trained.network, trained=True)
        return
    recipe, found = load_with_data(target, overrides, data_root=data_root)
    recipe = with_class_weights(recipe, data_root, found)
    torch.manual_seed(recipe.seed)
    own = builders.build_model(recipe)
    yield _Network(recipe.neuron.kind, recipe, own, trained=False)
    for kind in BESIDE:
        if kind == recipe.neuron.kind:
            continue
        changes: dict[str, Any] = {"neuron": Component.model_validate({"kind": kind})}
        if kind == "lif":
            changes["spikes"] = Component.model_validate({"kind": "exact"})
        other = builders.build_model(recipe.model_copy(update=changes))
        neurons = tuple(f"{name}." for name, module in own.named_modules() if isinstance(module, Neuron))
        shared = {name: value for name, value in own.state_dict().items() if not name.startswith(neurons)}
        other.load_state_dict(shared, strict=False)
        yield _Network(kind, recipe, other, trained=False)


def _set_threads(network: _Network, data_root: Path | None, bar: Bar) -> None:
    """Measure which number of threads makes the forward pass on a batch fastest, and set this number.

    Gradient computations are not used for this measurement, because they can take minutes if threads wait for each
    other.
    """
    cores = cores_to_try()
    if cores <= 1:
        return
    recipe, module = network.recipe, copy.deepcopy(network.module).double()
    train = builders.build_data(recipe, data_root).train
    size = min(recipe.data.batch_size, len(train))
    ((x, _),) = train.first(size).sequences(size)

    def forward(_: int) -> None:
        module(x.double(), steps=range(recipe.time_steps))

    with evaluation_mode(module), torch.no_grad():
        found = measured(forward, candidates(cores), rounds=FEWEST_ROUNDS)
    if not bar.disable:
        tell(bar, str(replace(found, update="a batch, forward alone,")))
    torch.set_num_threads(found.count)


def _entries(
    target: str, network: _Network, batches: int, data_root: Path | None, losses: Sequence[Loss], bar: Bar
) -> list[dict[str, Any]]:
    recipe, module = network.recipe, network.module.double()
    train = builders.build_data(recipe, data_root).train
    size = recipe.data.batch_size
    if batches * size > len(train):
        raise DataError(
            f"--batches {batches} of {size} images exceed the {len(train)} training images of {recipe.data.kind}; "
            f"give at most {len(train) // size}"
        )
    read = train.first(batches * size).sequences(size)
    wide = [(x.double(), y.double() if y.is_floating_point() else y) for x, y in read]
    criterion = builders.build_task(recipe).criterion()
    mean, each = loss_of_mean(criterion), loss_of_each(criterion)
    rules = _rules(recipe)
    refused = _refused(module, wide[0], rules, criterion, recipe.time_steps)
    both: dict[Loss, tuple[Any, Any]] = {
        "mean_logits": (mean, None),
        "per_step": (each, None),
        "as_trained": (mean, each),
    }
    entries = []
    name_shown, began = f"{target}, {network.neuron}", time.monotonic()
    task = bar.add_task(name_shown, total=len(losses) * batches, loss=math.nan, accuracy=math.nan)

    def counted(of_loss: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in of_loss:
            yield batch
            bar.advance(task)

    with reestimated(module, wide, time_steps=recipe.time_steps):
        for name in losses:
            loss, rule_loss = both[name]
            compared = compare(
                module,
                counted(wide),
                rules={rule: make for rule, make in rules.items() if rule not in refused},
                loss=loss,
                rule_loss=rule_loss,
                time_steps=recipe.time_steps,
            )
            entries.append(
                {
                    "target": target,
                    "trained": network.trained,
                    "neuron": network.neuron,
                    "loss": name,
                    "time_steps": recipe.time_steps,
                    "images": batches * size,
                    "rules": {rule: found.as_dict() for rule, found in compared.items()},
                    "refused": refused,
                }
            )
    note(bar, f"{name_shown}: compared in {time.monotonic() - began:.0f} s")
    return entries


def _refused(
    module: nn.Module,
    batch: tuple[Tensor, Tensor],
    rules: Mapping[str, RuleFactory],
    criterion: Criterion,
    time_steps: int,
) -> dict[str, str]:
    """Return the rules that cannot train the network, each with the reason."""
    x, target = batch
    found = {}
    with evaluation_mode(module):
        for name, make in rules.items():
            rule = make(criterion=criterion)
            try:
                next(iter(rule(module, x[:, :1], target[:1], rule.schedule(time_steps, torch.Generator()))))
            except TrainingError as error:
                found[name] = str(error)
    return found


def _rules(recipe: Recipe) -> dict[str, RuleFactory]:
    """Return the learning rules by name; the recipe's arguments apply to its own rule."""
    rules: dict[str, RuleFactory] = {"sltt": SLTT, "ottt": OTTT, "ndot": NDOT, "stochastic_step": StochasticStep}
    own: Any = builders.build_rule(recipe)
    if recipe.rule.kind in builders.RULES.keys() - {"stbp", "sltt_k"}:
        rules.setdefault(recipe.rule.kind, type(own))
    # Disable updates between steps, which would change the weights. The gradients of all steps are compared as one sum.
    summed = {"update": "sum"} if hasattr(own, "update") else {}
    return {name: partial(replace, own, **summed) if type(own) is kind else kind for name, kind in rules.items()}
