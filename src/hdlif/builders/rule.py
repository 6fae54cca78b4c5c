"""The section `rule`: learning rules, and the loss they minimise."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch.nn.functional as F

from hdlif import learning
from hdlif.builders.arguments import call, choose, keys
from hdlif.builders.extras import distilled
from hdlif.config import Recipe
from hdlif.errors import RecipeError
from hdlif.learning import Rule


def _sltt_k(*, criterion: learning.Criterion, k: int = 1) -> Rule:
    return learning.StochasticStep(k, criterion=criterion, complete=True)


RULES: Mapping[str, Callable[..., Rule]] = {
    "stbp": learning.STBP,
    "sltt": learning.SLTT,
    "sltt_k": _sltt_k,
    "ottt": learning.OTTT,
    "ndot": learning.NDOT,
    "stochastic_step": learning.StochasticStep,
}
DRAWS = {"uniform": learning.Uniform(), "stratified": learning.Stratified()}
REDUCTIONS = {"mean": learning.mean_logits, "sum": learning.sum_logits}


def build_rule(recipe: Recipe) -> Rule:
    """The recipe's learning rule, with cross-entropy smoothed as the training section says, and labels alone."""
    return _rule(recipe, _criterion(recipe))


def build_training_rule(recipe: Recipe) -> Rule:
    """The rule that the recipe trains with: `build_rule`, which learns from the teacher too where there is one."""
    return _rule(recipe, distilled(recipe, _criterion(recipe)))


def _criterion(recipe: Recipe) -> learning.Criterion:
    smoothing, arguments = recipe.training.label_smoothing, recipe.rule.arguments
    if "mse_share" in arguments:
        share = {"share": arguments["mse_share"]}
        return call(learning.OTTTCriterion, "rule", share, label_smoothing=smoothing)
    return partial(F.cross_entropy, label_smoothing=smoothing)


def _rule(recipe: Recipe, criterion: learning.Criterion) -> Rule:
    arguments = recipe.rule.arguments
    arguments.pop("mse_share", None)
    tables: Mapping[str, Mapping[str, Any]] = {"reduce": REDUCTIONS, "draw": DRAWS}
    rule = call(
        choose(RULES, recipe.rule.kind, "rule.kind"),
        "rule",
        arguments,
        kind=recipe.rule.kind,
        others=lambda: keys(*RULES.values(), tables=tables),
        tables=tables,
        beside=("mse_share",),
        criterion=criterion,
    )
    if isinstance(rule, learning.StochasticStep) and rule.k > recipe.time_steps:
        raise RecipeError(f"rule.k = {rule.k}; it must be at most time_steps = {recipe.time_steps}")
    return rule
