"""The `rule` section: learning rules and the loss that they minimise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from hdlif.config import Recipe
from hdlif.errors import RecipeError, first_line
from hdlif.recipe.builders.data import target_of
from hdlif.recipe.builders.part import At, Part, Section, called, field
from hdlif.recipe.builders.task import build_task, learned_arguments
from hdlif.recipe.builders.training import distilled

if TYPE_CHECKING:
    from hdlif.learning import Criterion

Draws = Literal["uniform", "stratified"]
Reductions = Literal["mean", "sum"]
DRAWS: Mapping[Draws, Callable[[], Any]] = {
    "uniform": At("hdlif.learning:Uniform"),
    "stratified": At("hdlif.learning:Stratified"),
}
REDUCTIONS: Mapping[Reductions, Callable[[], Any]] = {
    "mean": At("hdlif.learning:mean_logits").get,
    "sum": At("hdlif.learning:sum_logits").get,
}
"""Functions that reduce the logits of all steps."""
Loss = Literal["each", "reduced"]


class Rule(Part):
    """A learning rule."""

    BESIDE = frozenset({"mse_share", "draw", "reduce"})

    mse_share: float | None = field(
        None, "Weight of the mean squared error compared with the cross-entropy.", ge=0, le=1
    )

    def build(self, **given: Any) -> Any:
        tables: Mapping[str, Mapping[Any, Callable[[], Any]]] = {"draw": DRAWS, "reduce": REDUCTIONS}
        named = {key: table[getattr(self, key)]() for key, table in tables.items() if key in self.model_fields_set}
        return super().build(**given, **named)


class STBP(Rule, kind="stbp", makes=At("hdlif.learning:STBP")):
    """Back-propagation through all time steps, in memory that grows with the number of steps."""

    reduce: Reductions = field("mean", "Reduction of all steps' logits before the loss: their mean or sum.")
    loss: Loss = field("reduced", "Compute the loss at each step, or once for the reduced output.")


class _EachStep(Rule):
    loss: Loss = field("each", "Compute the loss at each step, or once for the mean output (reduced).")


class _PerStep(_EachStep):
    update: Literal["sum", "each"] = field(
        "sum", "sum makes one update for all steps; each makes one update after every step."
    )
    chunk: int = field(1, "Time steps per call; affects only memory and time.")


class SLTT(_PerStep, kind="sltt", makes=At("hdlif.learning:SLTT")):
    """Back-propagation within each time step separately."""


class OTTT(_PerStep, kind="ottt", makes=At("hdlif.learning:OTTT")):
    """SLTT with weight gradients computed from traces of the input spikes."""

    leak: float = field(0.5, "Leak λ of the traces.", ge=0, le=1)


class NDOT(OTTT, kind="ndot", makes=At("hdlif.learning:NDOT")):
    """OTTT with traces that decay by the ratio of successive changes in the neurons' potentials."""


class ForwardMode(_PerStep, kind="forward_mode", makes=At("hdlif.learning:ForwardMode")):
    """Forward-mode gradients through time for each layer, computed with traces instead of a graph."""

    recurrent: Literal["diagonal", "eprop"] = field(
        "diagonal", "Recurrent connections that the traces carry: each neuron's own (diagonal), or none (eprop)."
    )
    budget: int = field(2**30, "Maximum bytes of traces.", ge=0)


class SLTTK(_EachStep, kind="sltt_k", makes=At("hdlif.learning:StochasticStep")):
    """SLTT with gradients at k random steps; the forward pass still runs all T steps."""

    k: int = field(1, "Number of time steps with a loss, at most T.", ge=1)

    def build(self, **given: Any) -> Any:
        return super().build(complete=True, **given)


class StochasticStep(_EachStep, kind="stochastic_step", makes=At("hdlif.learning:StochasticStep")):
    """Training on k random steps; steps after the last of these do not run."""

    k: int = field(1, "Number of time steps with a loss, at most T.", ge=1)
    chunk: int = field(4, "Time steps per call; affects only memory and time.")
    draw: Draws = field("uniform", "Sampling of the time steps.")
    complete: bool = field(False, "Also run the steps after the last drawn step, without a graph.")


class StochasticWindow(Rule, kind="stochastic_window", makes=At("hdlif.learning:StochasticWindow")):
    """Back-propagation through a random window of time steps."""

    length: int = field(..., "Number of time steps in the window, at most T.", ge=1)
    chunk: int = field(4, "Time steps per call; affects only memory and time.")
    loss: Literal["each", "last", "reduced"] = field(
        "each", "Compute the loss at each step of the window, at the last step, or once for the mean output."
    )


RULES = Section[Rule](
    "rule",
    *(STBP, SLTT, SLTTK, OTTT, NDOT, ForwardMode, StochasticStep, StochasticWindow),
    own=Rule,
    given=("criterion",),
)


def build_rule(recipe: Recipe) -> Any:
    """Build the recipe's learning rule with the task's criterion, ignoring any teacher."""
    return _rule(recipe, _criterion(recipe))


def build_training_rule(recipe: Recipe) -> Any:
    """Build the recipe's learning rule as `build_rule` does, but include the recipe's teacher, if any."""
    rule = _rule(recipe, distilled(recipe, _criterion(recipe)))
    if recipe.rule.kind not in RULES:
        _try_schedule(rule, recipe)
    if recipe.rule.kind == "forward_mode" and recipe.training.compile:
        raise RecipeError("rule.forward_mode does not support torch.compile; set training.compile: false")
    return rule


def _try_schedule(rule: Any, recipe: Recipe) -> None:
    """Raise `RecipeError` if the method `schedule` of a custom rule does not return a plan."""
    import torch

    from hdlif.learning import Plan

    key = f"rule.{recipe.rule.kind}"
    try:
        plan = rule.schedule(recipe.training.stream or recipe.time_steps, torch.Generator().manual_seed(0))
    except Exception as error:
        said = f"{key}: {type(error).__name__}: {first_line(error)}"
        raise RecipeError(f"{said}; a rule has schedule(time_steps, generator), which returns a Plan") from error
    if not isinstance(plan, Plan) or not callable(rule):
        raise RecipeError(
            f"{key}: its schedule returns a {type(plan).__name__}; it must return a hdlif.learning.Plan, and the rule, "
            "called with (model, x, target, plan), yield its steps"
        )


def read_rule(recipe: Recipe) -> Rule:
    """Check that the `rule` section is valid and that its loss fits the task."""
    rule = RULES.read(recipe.rule)
    if "mse_share" not in rule.model_fields_set:
        return rule
    if recipe.task.kind != "classify" or learned_arguments(recipe):
        task = f'task.kind = "{recipe.task.kind}" {learned_arguments(recipe) or ""}'
        raise RecipeError(f"rule.mse_share applies to plain classification, but {task}; leave it out")
    if target_of(recipe) == "class_and_steps":
        raise RecipeError(
            "rule.mse_share needs samples of one length, but these time series differ in length; leave it out"
        )
    return rule


def _criterion(recipe: Recipe) -> Criterion:
    share = read_rule(recipe).mse_share
    if share is None:
        return build_task(recipe).criterion()
    arguments = {"mse_share": share, "label_smoothing": recipe.training.label_smoothing}
    criterion: Criterion = called("rule", At("hdlif.learning:OTTTCriterion"), arguments)
    return criterion


def _rule(recipe: Recipe, criterion: Criterion) -> Any:
    from hdlif.learning import StochasticStep as Drawn
    from hdlif.learning import StochasticWindow as Window
    from hdlif.learning import first_step

    rule = read_rule(recipe).build(criterion=criterion)
    steps, first, which = recipe.time_steps, first_step(criterion), "time_steps"
    if recipe.training.stream is not None:
        # Streams count every step.
        steps, first, which = recipe.training.stream, 0, "training.stream"
    if isinstance(rule, Drawn) and rule.k > (counted := steps - first):
        which = which if counted == steps else "the number of steps in the task's loss"
        raise RecipeError(f"rule.k = {rule.k}; it must be at most {which} = {counted}")
    if isinstance(rule, Window) and rule.length > steps:
        limit = f"at most as long as a sequence, {which} = {steps}"
        raise RecipeError(f"rule.length = {rule.length}; a window must be {limit}")
    return rule
