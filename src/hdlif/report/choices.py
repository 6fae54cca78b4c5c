"""Choose one option per layer within a budget by integer programming."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hdlif.errors import RecipeError, brief
from hdlif.recipe import Recipe
from hdlif.report.tables import aligned

QUANTITIES = {
    "nops": "operations of neurons per sample",
    "sops": "operations of synapses per sample",
    "energy_uj": "energy of all operations per sample, in µJ",
    "mb": "size of the model file, in MB",
    "flash_kb": "tables of the C export in fixed point, in kB, without the code",
    "ram_kb": "state and workspace of the C export in fixed point, in kB, without the stack",
    "ms": "time per sample in the runtime on this machine, on one thread",
}


@dataclass(frozen=True)
class Option:
    """A set of changes to one layer of a recipe.

    Attributes:
        parallel: whether a neuron layer has no memory.
        levels: bits and step size of a neuron layer's spikes.
        weight_bits: bits per weight of a synapse.
        channels: number of channels between the convolutions of a residual block.
    """

    parallel: bool = False
    levels: tuple[int, float] | None = None
    weight_bits: float | None = None
    channels: int | None = None

    def includes(self, other: Option) -> bool:
        """Return whether this option includes every change in `other`."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return all(theirs in (None, False, own) for own, theirs in pairs)

    def __str__(self) -> str:
        parts = ["without memory"] if self.parallel else []
        parts += [] if self.levels is None else [f"{self.levels[0]}-bit spikes, step {self.levels[1]:g}"]
        parts += [] if self.weight_bits is None else [f"{self.weight_bits:g}-bit weights"]
        parts += [] if self.channels is None else [f"{self.channels} inner channels"]
        return ", ".join(parts) or "unchanged"


AS_IT_IS = Option()
Key = tuple[str, Option]
"""Name of a layer, and an option of this layer."""
Costs = Mapping[str, float]
"""Costs by name of the quantity."""
Choice = Mapping[str, Option]
"""Chosen option of each layer; missing layers stay unchanged."""


@dataclass(frozen=True)
class Chosen:
    """The layer options chosen for a budget.

    Attributes:
        recipe: recipe with the lists that express the choice.
        choice: options of the layers that change.
        before, after: costs of the networks before and after the choice; neither contains channels that an earlier
            choice removed.
        limits: limits of the budget as numbers.
        costs: costs of the network with a single option.
        effects: estimated effect of each option on the loss.
    """

    recipe: Recipe
    choice: Choice
    before: Costs
    after: Costs
    limits: Costs
    costs: Mapping[Key, Costs]
    effects: Mapping[Key, float]

    @property
    def is_within(self) -> bool:
        """Return whether the chosen network is within the budget."""
        return all(self.after[name] <= limit for name, limit in self.limits.items())

    @property
    def overshoot(self) -> float:
        """Return the sum of cost/limit over all limits; a quotient below 1 counts as 1."""
        return sum(max(1.0, self.after[name] / limit) for name, limit in self.limits.items())

    @property
    def effect(self) -> float:
        """Return the estimated effect of the chosen options on the loss."""
        return sum(self.effects[key] for key in self.choice.items())

    def __str__(self) -> str:
        rows = []
        for (layer, option), costs in self.costs.items():
            mark = "*" if self.choice.get(layer, AS_IT_IS) == option else " "
            saved = (f"{costs[name] - self.before[name]:+,.6g}" for name in self.limits)
            rows.append([layer, f"{mark} {option}", f"{self.effects[layer, option]:.3g}", *saved])
        table = aligned(["layer", "  option (* chosen)", "effect on loss", *self.limits], rows, left=(0, 1))
        return "\n".join([table, "", *self.totals()])

    def totals(self) -> list[str]:
        """Return one line per quantity, which contains the budget and the values before and after the choice."""
        return [
            f"{name}: {self.before[name]:,.6g} -> {self.after[name]:,.6g} (budget {limit:,.6g})"
            for name, limit in self.limits.items()
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return the choice as a JSON-serialisable dict."""
        options = [
            {"layer": layer, "option": str(option), "costs": dict(costs), "effect": self.effects[layer, option]}
            for (layer, option), costs in self.costs.items()
        ]
        return {
            "recipe": self.recipe.model_dump(mode="json"),
            "layers": {name: str(option) for name, option in self.choice.items()},
            "before": dict(self.before),
            "after": dict(self.after),
            "limits": dict(self.limits),
            "options": options,
        }


@dataclass(frozen=True)
class Budget:
    """Upper limits on costs, given as numbers or as percentages of the original recipe's costs.

    >>> budget = Budget.read("nops=70%, mb=2.5")
    >>> budget.limits({"nops": 2000.0, "mb": 4.0})
    {'nops': 1400.0, 'mb': 2.5}

    Attributes:
        numbers: the number for each quantity.
        relative: quantities whose number is a percentage.
    """

    numbers: Mapping[str, float]
    relative: frozenset[str]

    @classmethod
    def read(cls, text: str) -> Budget:
        """Parse a budget such as "nops=70%,mb=2.5". Raises `RecipeError`."""
        accepted = f'give numbers or percentages of {", ".join(QUANTITIES)}, each once, such as "nops=70%,mb=2.5"'
        numbers: dict[str, float] = {}
        relative = set()
        for part in text.split(","):
            match = re.fullmatch(r"\s*(\w+)\s*=\s*(\d*\.?\d+(?:[eE][+-]?\d+)?)\s*(%?)\s*", part)
            if match is None or match[1] not in QUANTITIES or match[1] in numbers:
                raise RecipeError(f"budget: {brief(part.strip())} is not valid; {accepted}")
            numbers[match[1]] = float(match[2])
            if not 0 < numbers[match[1]] < math.inf:
                raise RecipeError(f"budget: {brief(part.strip())} is not valid; numbers must be finite and above 0")
            relative |= {match[1]} if match[3] else set()
        return cls(numbers, frozenset(relative))

    def limits(self, before: Costs) -> dict[str, float]:
        """Convert all limits to numbers; percentages are relative to the costs in `before`."""
        return {name: n * before[name] / 100 if name in self.relative else n for name, n in self.numbers.items()}

    def stated(self, limits: Costs, before: Costs) -> str:
        """Round limits up and format them as a budget that uses percentages for the same quantities as this budget."""
        parts = []
        for name in self.numbers:
            value = 100 * limits[name] / before[name] if name in self.relative else limits[name]
            unit = 10.0 ** (math.floor(math.log10(value)) - 3) if value > 0 else 1.0
            parts.append(f"{name}={math.ceil(value / unit - 1e-9) * unit:.4g}{'%' if name in self.relative else ''}")
        return ",".join(parts)


def solve(
    before: Costs, costs: Mapping[Key, Costs], effects: Mapping[Key, float] | None, limits: Costs
) -> dict[str, Option] | None:
    """Return one option per layer, chosen to minimise the total effect within limits, or None if no choice fits.

    The solver assumes that cost(choice) = before + Σ_layers (cost(option) - before).

    Args:
        before: costs of the network without any option.
        costs: costs of the network with a single option; each layer also has `AS_IT_IS`.
        effects: effect of each option; None minimises the sum of the factors by which limits are exceeded.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    # The variables are one binary variable per option, and one factor per limit, by which the limit rises.
    keys, is_fixed, ones = list(costs), effects is not None, np.ones(len(costs))
    of_keys = np.array([0.0 if effects is None else effects[key] for key in keys])
    factors = np.full(len(limits), 1.0 if is_fixed else np.inf)
    layers = dict.fromkeys(name for name, _ in keys)
    constraints = [
        LinearConstraint([[*(name == one for name, _ in keys), *(0 for _ in limits)] for one in layers], 1, 1)
    ]
    for place, (quantity, limit) in enumerate(limits.items()):
        scale = before[quantity] or 1.0
        saved = [(costs[key][quantity] - before[quantity]) / scale for key in keys]
        raised = [-limit / scale if place == other else 0.0 for other in range(len(limits))]
        constraints.append(LinearConstraint([[*saved, *raised]], -np.inf, -before[quantity] / scale))
    found = milp(
        [*(of_keys / (of_keys.max() or 1.0)), *(0.0 if is_fixed else 1.0 for _ in limits)],
        integrality=[*ones, *(0.0 for _ in limits)],
        bounds=Bounds([*(0 * ones), *(1.0 for _ in limits)], [*ones, *factors]),
        constraints=constraints,
        options={"mip_rel_gap": 0.0},
    )
    if found.x is None:
        return None
    return {name: option for (name, option), taken in zip(keys, found.x, strict=False) if taken > 0.5}
