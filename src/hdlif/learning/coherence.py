"""Compare the gradients of learning rules with STBP's gradient, for the same loss and batches.

A rule that cuts the temporal gradient changes only the backward pass. The outputs o_t and dL/do_t do not depend on the
rule. Every rule therefore receives the loss Σ_t <dL/do_t, o_t>, which is linear in the outputs and has the gradient
dL/do_t. There are two views:

local: every neuron layer is given STBP's own G_t = dL/ds_t, and d_t = dL/dm_t (at its input current) is compared
    entry by entry. Theorem 4.2 of arXiv 2410.07547 applies: with HD-LIF, an entry is equal (the neuron fired, or never
    fires again) or dropped (it is silent now and fires later: 0 instead of a leaked G), and never wrong. Then the
    weight gradients Σ_t d_t ⊗ s_t of the synapses that feed these neurons are compared.
end to end: the gradient of every synapse is compared, with the rule applied in all layers, so G differs too.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from hdlif.errors import DataError
from hdlif.learning.criterion import Criterion, loss_over, weighted_losses
from hdlif.learning.overlap import Overlap, Tally
from hdlif.learning.probe import (
    Gradients,
    Loss,
    Named,
    Observed,
    end_to_end,
    layer_local,
    mean_of,
    neurons_of,
    observe,
    synapses_of,
    total,
)
from hdlif.learning.rule import Plan, Rule
from hdlif.learning.stbp import STBP
from hdlif.nn import evaluation_mode

Kind = Literal["neuron", "synapse", "parameters"]
RuleFactory = Callable[..., Rule]
"""Function that makes a rule from the keyword argument `criterion`: the rule's class, or a partial of it."""


@runtime_checkable
class Drawn(Protocol):
    """A rule that draws plans at random and can list all possible plans."""

    def plans(self, time_steps: int) -> tuple[tuple[Plan, float], ...]:
        """Return all possible plans, each with its probability."""


def loss_of_mean(criterion: Criterion) -> Loss:
    """Return the loss L = criterion(mean of o_t over time, target), for which dL/do_t is the same at every step.

    If each step has its own target, the loss is the mean of the steps' losses.

    See `coherence` for an example.

    Args:
        criterion: as in `STBP`.
    """
    return lambda logits, target: loss_over(criterion, logits, target, lambda counted: counted.mean(0))


def loss_of_each(criterion: Criterion) -> Loss:
    """Return the loss of the online rules, L = (1/T)·Σ_t criterion(o_t, target).

    The sum covers the steps that have a loss. If the criterion has weights, the sum is weighted. See `coherence` for an
    example.

    Args:
        criterion: as in `STBP`.
    """
    return partial(weighted_losses, criterion)


@dataclass(frozen=True)
class Figures:
    """A comparison of a rule's gradient with the reference, with None for undefined values.

    Attributes:
        cosine, norm_ratio: the cosine of the two gradients, and the rule's norm divided by the reference's norm.
        equal, dropped, wrong: fractions of the entries of dL/dm; they sum to 1.
        idle: fraction of entries that are zero in both, a part of `equal`.
        opposite: fraction of entries with the opposite sign, a part of `wrong`.
        firing_rate: fraction of non-zero spikes of a neuron layer, or non-zero inputs of a synapse.
    """

    cosine: float | None
    norm_ratio: float | None
    equal: float | None
    dropped: float | None
    wrong: float | None
    idle: float | None
    opposite: float | None
    firing_rate: float | None


@dataclass(frozen=True)
class Layer(Figures):
    """The comparison for a synapse's weights, a neuron layer's parameters, or dL/dm of a neuron layer.

    `per_step` has T entries, or no entries if steps are not distinguished. In the end-to-end view, entry t covers the
    gradient of the loss at step t alone, which only STBP propagates to earlier steps.
    """

    name: str
    kind: Kind
    per_step: tuple[Figures, ...]


@dataclass(frozen=True)
class PlanFigures:
    """The comparison of one plan's gradient with the full reference gradient of all synapses.

    A plan may be a single randomly drawn step, for example.
    """

    steps: tuple[int, ...]
    cosine: float | None
    norm_ratio: float | None


@dataclass(frozen=True)
class Local:
    """The local view, in which every layer receives STBP's G = dL/ds.

    The value `whole` covers dL/dm of all neuron layers.
    """

    layers: tuple[Layer, ...]
    whole: Figures


@dataclass(frozen=True)
class EndToEnd:
    """The end-to-end view, in which all layers use the rule.

    The cosine and the norm ratio cover the weights of all synapses, and `firing_rate` covers all neuron layers.
    """

    layers: tuple[Layer, ...]
    cosine: float | None
    norm_ratio: float | None
    firing_rate: float | None
    plans: tuple[PlanFigures, ...]


@dataclass(frozen=True)
class RuleCoherence:
    """The coherence of one rule's mean gradient over all plans, in the local and end-to-end views.

    See `coherence` for an example.

    Attributes:
        local: each layer alone, given STBP's gradient of its spikes.
        end_to_end: all layers, with the rule applied in each of them.
    """

    local: Local
    end_to_end: EndToEnd

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison as a JSON-serialisable dict."""
        plain: dict[str, Any] = _plain(self)
        return plain


def coherence(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    rules: Mapping[str, RuleFactory],
    loss: Loss,
    time_steps: int,
    rule_loss: Loss | None = None,
) -> dict[str, RuleCoherence]:
    """Compare the gradient of each rule with STBP's gradient, layer by layer, without changing the model.

    During the comparison, all modules are in eval mode, so batch norm uses running statistics. Batch norm then couples
    neither samples nor steps, as Theorem 4.2 of arXiv 2410.07547 requires. Before the comparison, measure the running
    statistics on the same batches with `training.reestimated`. Pass a float64 model for exact fractions. In float32,
    entries count as equal if they differ by less than about 1e-4 of the neuron's largest G.

    >>> from functools import partial
    >>> import torch
    >>> import torch.nn.functional as F
    >>> from torch import nn
    >>> from hdlif.learning import SLTT, StochasticStep, coherence, loss_of_each
    >>> from hdlif.nn import HDLIF, Sequential
    >>> _ = torch.manual_seed(0)
    >>> model = Sequential(nn.Linear(2, 8), HDLIF(time_steps=4), nn.Linear(8, 3)).double()
    >>> batches = [(torch.randn(4, 5, 2, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1]))]
    >>> rules = {"sltt": partial(SLTT, "sum"), "step": partial(StochasticStep, 1)}
    >>> found = coherence(model, batches, rules=rules, loss=loss_of_each(F.cross_entropy), time_steps=4)
    >>> {name: [layer.name for layer in rule.local.layers][:1] for name, rule in found.items()}
    {'sltt': ['1'], 'step': ['1']}
    >>> found["sltt"].local.whole.wrong
    0.0

    Args:
        model: maps (x, state, steps=...) to (logits [K, B, classes], state); its neurons are `hdlif.nn.Neuron`.
        batches: (x [T or 1, B, ...], target) pairs.
        rules: functions that make a rule from its criterion, by name.
        loss: function of all logits and the target, see `loss_of_mean` and `loss_of_each`.
        rule_loss: the rules' loss end to end, if it differs from STBP's: truncation and loss then differ
            together, as they do between two training runs.
        time_steps: T.
    Returns:
        the comparison for each rule, by name.
    Raises:
        DataError: there are no batches.
        ValueError: the model has no neuron layer.
    """
    if not neurons_of(model):
        raise ValueError(f"{type(model).__name__} has no neuron layer; neurons derive from hdlif.nn.Neuron")
    comparisons = {name: _Comparison(model, make(criterion=total), time_steps) for name, make in rules.items()}
    stbp = STBP(criterion=total)
    ((whole, _),) = _plans(stbp, time_steps)
    seen = False
    with evaluation_mode(model), torch.enable_grad():
        for x, target in batches:
            seen = True
            observed = observe(model, x, target, loss, time_steps=time_steps)
            along = observed.along_logits
            if rule_loss is not None:
                along = observe(model, x, target, rule_loss, time_steps=time_steps).along_logits
            local = layer_local(model, x, target, stbp, whole, observed.along_spikes)
            by_step = _by_step(model, x, target, stbp, whole, observed.along_logits)
            for comparison in comparisons.values():
                comparison.add_local(x, target, observed, local)
                comparison.add_end_to_end(x, target, observed, along, by_step)
    if not seen:
        raise DataError("there is no batch to compare gradients on; give at least one")
    return {name: comparison.result() for name, comparison in comparisons.items()}


def _plans(rule: Rule, time_steps: int) -> tuple[tuple[Plan, float], ...]:
    """Return all plans of a rule, each with its probability."""
    if isinstance(rule, Drawn):
        return rule.plans(time_steps)
    return ((rule.schedule(time_steps, torch.Generator()), 1.0),)


def _by_step(model: nn.Module, x: Tensor, target: Tensor, rule: Rule, plan: Plan, along: Tensor) -> dict[int, Named]:
    """Return the gradient of each planned step's loss, by step; the gradients add up to the total gradient."""
    found = {}
    for t in plan.steps:
        weights = torch.zeros_like(along)
        weights[t] = along[t]
        found[t] = end_to_end(model, x, target, rule, plan, weights)
    return found


class _Comparison:
    """The accumulated comparison of one rule with the reference."""

    def __init__(self, model: nn.Module, rule: Rule, time_steps: int) -> None:
        self.model, self.rule, self.time_steps = model, rule, time_steps
        self.plans = _plans(rule, time_steps)
        # The parameters of each row are those that the module itself owns.
        self.owned: dict[tuple[Kind, str], list[str]] = {}
        learned = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        for name in synapses_of(model):
            if f"{name}.weight" in learned:
                self.owned["synapse", name] = [f"{name}.weight"]
        for name in neurons_of(model):
            if inside := [parameter for parameter in learned if parameter.startswith(f"{name}.")]:
                self.owned["parameters", name] = sorted(inside)
        self.membranes = {name: [Tally() for _ in range(time_steps)] for name in neurons_of(model)}
        self.local = {key: Tally() for key in self.owned}
        self.steps = {key: [Tally() for _ in range(time_steps)] for key in self.owned}
        self.ends = {key: Tally() for key in self.owned}
        self.alone = [Overlap() for _ in self.plans]

    def add_local(self, x: Tensor, target: Tensor, observed: Observed, reference: Gradients) -> None:
        along = observed.along_spikes
        own = mean_of((layer_local(self.model, x, target, self.rule, plan, along), p) for plan, p in self.plans)
        for name, tallies in self.membranes.items():
            # d_t is a combination of the G_i of its own neuron; the largest G_i sets the scale of its rounding errors.
            scale = observed.along_spikes[name].abs().amax(0)
            for t, tally in enumerate(tallies):
                a, b = own.membranes[name][t], reference.membranes[name][t]
                tally.overlap.add(a, b)
                tally.shares.add(a, b, scale)
                tally.rate.add(observed.spikes[name][t])
        for key, tally in self.local.items():
            self._add(key, tally, own.parameters, reference.parameters)
            tally.rate.add(self._activity(key, observed))

    def add_end_to_end(
        self, x: Tensor, target: Tensor, observed: Observed, along: Tensor, reference: dict[int, Named]
    ) -> None:
        by_plan = [_by_step(self.model, x, target, self.rule, plan, along) for plan, _ in self.plans]
        zeros = {name: torch.zeros_like(value) for name, value in reference[0].items()}
        by_step = {
            t: _sum([_times(one[t], p) for one, (_, p) in zip(by_plan, self.plans, strict=True) if t in one], zeros)
            for t in range(self.time_steps)
        }
        own, whole = _sum(by_step.values(), zeros), _sum(reference.values(), zeros)
        for key in self.owned:
            self._add(key, self.ends[key], own, whole)
            activity = self._activity(key, observed)
            self.ends[key].rate.add(activity)
            for t, tally in enumerate(self.steps[key]):
                self._add(key, tally, by_step[t], reference[t])
                tally.rate.add(activity[t if len(activity) > 1 else 0])
        for overlap, one in zip(self.alone, by_plan, strict=True):
            alone = _sum(one.values(), zeros)
            for key in self._synapses():
                for parameter in self.owned[key]:
                    overlap.add(alone[parameter], whole[parameter])

    def result(self) -> RuleCoherence:
        local, network = [], Tally()
        for name, tallies in self.membranes.items():
            whole = Tally()
            for tally in tallies:
                whole.merge(tally)
            network.merge(whole)
            local.append(_layer("neuron", name, whole, tallies))
        local += [_layer(kind, name, tally, ()) for (kind, name), tally in self.local.items()]
        ends = Overlap()
        for key in self._synapses():
            ends.merge(self.ends[key].overlap)
        return RuleCoherence(
            Local(tuple(local), Figures(**_figures(network))),
            EndToEnd(
                tuple(_layer(kind, name, tally, self.steps[kind, name]) for (kind, name), tally in self.ends.items()),
                ends.cosine,
                ends.norm_ratio,
                network.rate.share,
                tuple(
                    PlanFigures(plan.steps, overlap.cosine, overlap.norm_ratio)
                    for (plan, _), overlap in zip(self.plans, self.alone, strict=True)
                ),
            ),
        )

    def _synapses(self) -> list[tuple[Kind, str]]:
        return [key for key in self.owned if key[0] == "synapse"]

    def _add(self, key: tuple[Kind, str], tally: Tally, own: Named, reference: Named) -> None:
        for parameter in self.owned[key]:
            tally.overlap.add(own[parameter], reference[parameter])

    def _activity(self, key: tuple[Kind, str], observed: Observed) -> Tensor:
        kind, name = key
        return observed.inputs[name] if kind == "synapse" else observed.spikes[name]


def _times(gradient: Named, factor: float) -> Named:
    return {name: value * factor for name, value in gradient.items()}


def _sum(gradients: Iterable[Named], zeros: Named) -> Named:
    result = dict(zeros)
    for one in gradients:
        result = {name: result[name] + one[name] for name in result}
    return result


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


def _figures(tally: Tally) -> dict[str, Any]:
    shares = tally.shares
    names = ("equal", "dropped", "wrong", "idle", "opposite")
    return {
        "cosine": tally.overlap.cosine,
        "norm_ratio": tally.overlap.norm_ratio,
        **{name: getattr(shares, name) / shares.entries if shares.entries else None for name in names},
        "firing_rate": tally.rate.share,
    }


def _layer(kind: Kind, name: str, whole: Tally, per_step: Iterable[Tally]) -> Layer:
    steps = tuple(Figures(**_figures(tally)) for tally in per_step)
    return Layer(**_figures(whole), name=name, kind=kind, per_step=steps)
