"""The section `rule`: learning rules, and the loss they minimise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from hdlif.builders.arguments import Checked, checked, chosen, keys
from hdlif.builders.data import target_of
from hdlif.builders.extras import distilled
from hdlif.builders.places import At
from hdlif.builders.task import build_task, learned_arguments
from hdlif.config import Recipe
from hdlif.errors import RecipeError, first_line

if TYPE_CHECKING:
    from hdlif.learning import Criterion, Rule


def _sltt_k(*, criterion: Criterion, k: int = 1, loss: Literal["each", "reduced"] = "each") -> Rule:
    from hdlif.learning import StochasticStep

    return StochasticStep(k, criterion=criterion, complete=True, loss=loss)


RULES: Mapping[str, Callable[..., Rule]] = {
    "stbp": At("hdlif.learning:STBP"),
    "sltt": At("hdlif.learning:SLTT"),
    "sltt_k": _sltt_k,
    "ottt": At("hdlif.learning:OTTT"),
    "ndot": At("hdlif.learning:NDOT"),
    "forward_mode": At("hdlif.learning:ForwardMode"),
    "stochastic_step": At("hdlif.learning:StochasticStep"),
    "stochastic_window": At("hdlif.learning:StochasticWindow"),
}
DRAWS: Mapping[str, Callable[[], Any]] = {
    "uniform": At("hdlif.learning:Uniform"),
    "stratified": At("hdlif.learning:Stratified"),
}
REDUCTIONS: Mapping[str, Callable[[], Any]] = {
    "mean": At("hdlif.learning:mean_logits").get,
    "sum": At("hdlif.learning:sum_logits").get,
}
"""What makes each: the function of the logits of all steps."""
TABLES: Mapping[str, Mapping[str, Callable[[], Any]]] = {"reduce": REDUCTIONS, "draw": DRAWS}
"""What makes that for which names stand, by argument."""


CRITERION = At("hdlif.learning:OTTTCriterion")
"""What `mse_share` is an argument of."""


def build_rule(recipe: Recipe) -> Rule:
    """The recipe's learning rule, which minimises its task's criterion, and learns from no teacher."""
    return _rule(recipe, _criterion(recipe))


def build_training_rule(recipe: Recipe) -> Rule:
    """The rule that the recipe trains with: `build_rule`, which learns from the teacher too where there is one.

    Raises:
        RecipeError: one of the user's makes no plan.
    """
    rule = _rule(recipe, distilled(recipe, _criterion(recipe)))
    if recipe.rule.kind not in RULES:
        _try_schedule(rule, recipe)
    if recipe.rule.kind == "forward_mode" and recipe.training.compile:
        raise RecipeError("rule.forward_mode does not run through torch.compile; set training.compile: false")
    return rule


def _try_schedule(rule: Any, recipe: Recipe) -> None:
    import torch

    from hdlif.learning import Plan

    try:
        plan = rule.schedule(recipe.training.stream or recipe.time_steps, torch.Generator().manual_seed(0))
    except Exception as error:
        raise RecipeError(
            f"rule.{recipe.rule.kind}: {type(error).__name__}: {first_line(error)}; a rule has "
            "schedule(time_steps, generator), which gives a hdlif.learning.Plan"
        ) from error
    if not isinstance(plan, Plan) or not callable(rule):
        raise RecipeError(
            f"rule.{recipe.rule.kind}: its schedule gives a {type(plan).__name__}; it must give a hdlif.learning.Plan, "
            "and the rule, called with (model, x, target, plan), yield its steps"
        )


def checked_rule(recipe: Recipe) -> Checked[Rule]:
    """The section, checked, but for what is of the loss."""
    arguments = recipe.rule.arguments
    arguments.pop("mse_share", None)
    return checked(
        chosen(RULES, recipe.rule.kind, "rule.kind"),
        "rule",
        arguments,
        kind=recipe.rule.kind,
        others=lambda: keys(*RULES.values(), tables=TABLES),
        tables=TABLES,
        beside=("mse_share",),
        given=("criterion",),
    )


def checked_criterion(recipe: Recipe) -> Checked[Criterion] | None:
    """What the section says of the loss, checked; None where it says nothing."""
    if "mse_share" not in recipe.rule.arguments:
        return None
    if recipe.task.kind != "classify" or learned_arguments(recipe):
        raise RecipeError(
            f'rule.mse_share is of a plain classification, and task.kind = "{recipe.task.kind}" '
            f"{learned_arguments(recipe) or ''}; leave it out"
        )
    if target_of(recipe) == "class_and_steps":
        raise RecipeError("rule.mse_share is of samples of one length, and these series have several; leave it out")
    share = {"mse_share": recipe.rule.arguments["mse_share"]}
    return checked(CRITERION, "rule", share, given=("label_smoothing",))


def _criterion(recipe: Recipe) -> Criterion:
    smoothing = recipe.training.label_smoothing
    if (mixture := checked_criterion(recipe)) is not None:
        return mixture(label_smoothing=smoothing)
    return build_task(recipe).criterion()


def _rule(recipe: Recipe, criterion: Criterion) -> Rule:
    from hdlif.learning import StochasticStep, StochasticWindow, first_step

    rule = checked_rule(recipe)(criterion=criterion)
    steps, first, which = recipe.time_steps, first_step(criterion), "time_steps"
    if recipe.training.stream is not None:
        # Streams count every step, or are refused for what they count.
        steps, first, which = recipe.training.stream, 0, "training.stream"
    if isinstance(rule, StochasticStep) and rule.k > (counted := steps - first):
        which = which if counted == steps else "the steps that the task counts"
        raise RecipeError(f"rule.k = {rule.k}; it must be at most {which} = {counted}")
    if isinstance(rule, StochasticWindow) and rule.length > steps:
        raise RecipeError(
            f"rule.length = {rule.length}; a window must be at most as long as a sequence, {which} = {steps}"
        )
    return rule
