"""Choose the neuron type, bit widths and channels of each layer to keep a network within a budget.

Each layer gets one option, which leaves the layer unchanged or reduces its cost. Among the choices within the budget,
integer programming (`hdlif.report.choices.solve`) finds the one with the smallest sum of estimated effects on the loss.

The effect of option o in layer l is the absolute first-order change in the loss, averaged over batches b:

    effect(l, o) = mean_b |⟨∂L_b/∂z_l, z_l(o) - z_l⟩|

The values z_l are a synapse's quantised weights, or a neuron layer's spikes in response to unchanged input currents.
Removed channels emit no spikes. The recipe's learning rule computes the gradient ∂L_b/∂z_l in the trained network. The
values z_l are computed for the original recipe, even if the trained network already uses another option.

Costs are either counts, or times measured with the compiled runtime. The cost of an option is the cost of the network
with only that option applied. The cost of a choice is measured on the network built from the chosen recipe.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hdlif.deploy import lower
from hdlif.deploy.c import fixed_point, translate
from hdlif.errors import RecipeError
from hdlif.graph.artefact import Graph
from hdlif.learning.rule import run as run_rule
from hdlif.nn import HDLIF, Neuron, ParallelHDLIF, QuantLayer, evaluation_mode
from hdlif.recipe import Recipe, builders
from hdlif.recipe.builders.model import MODELS
from hdlif.report.channels import blocks_to_narrow, fewer_channels, kept_channels, narrowed
from hdlif.report.choices import AS_IT_IS, Budget, Choice, Chosen, Costs, Key, Option, solve
from hdlif.report.counts import counts
from hdlif.runtime import Session

if TYPE_CHECKING:
    from hdlif.learning import Rule
    from hdlif.nn import State

OF_ACTIVITY = {"sops", "energy_uj", "ms"}
"""Quantities that depend on the samples."""
OF_C = {"flash_kb", "ram_kb"}
OF_NEURONS = {"nops", "ram_kb"}
"""Quantities that do not depend on the bits of weights."""
WEIGHT_BITS = (1, 1.5, 2, 4, 8)
SPIKE_BITS = (1, 2, 3, 4)
STEP_FACTORS = (1, 2)
"""Candidate step sizes for spikes with fewer bits, as multiples of the layer's step."""
COUNTED = 64
"""Number of samples on which activity is counted."""
TIMED, TIMED_SECONDS = 20, 0.2
"""Minimum number of samples on which a network is timed, and minimum total time in seconds."""
ATTEMPTS = 8
"""Maximum number of choices that are built and counted before the search for the budget ends."""


class BudgetSearch:
    """A search for the layer options that keep a recipe's network within a budget.

    Args:
        recipe: recipe before the choice.
        budget: upper limits of the costs.
        tensors: state of this recipe's network, or of a network that an earlier search has chosen; missing tensors are
            initialised as in the recipe.
        batches: batches of training samples (x [T or 1, B, ...], target), at least one.
        original: costs of the recipe before earlier choices; percentages of the budget refer to them.
    Raises:
        RecipeError: no layer has an option that saves anything.
        LoweringError: the network has no deployed form, so its costs cannot be counted.
        InputError: costs of the C export are requested, and a layer has no fixed-point form.
    """

    def __init__(
        self,
        recipe: Recipe,
        budget: Budget,
        tensors: Mapping[str, Tensor],
        batches: Sequence[tuple[Tensor, Tensor]],
        *,
        original: Costs | None = None,
    ) -> None:
        self.recipe, self.budget, self.tensors, self.batches = recipe, budget, tensors, batches
        x = batches[0][0]
        self._counted = x[:, : COUNTED if OF_ACTIVITY & budget.numbers.keys() else 1]
        self._first: Session | None = None
        self._first_ms = 0.0
        self.network = self.build(recipe)
        # Variants with fewer channels keep channels of this network.
        self.tensors = {**tensors, **self.network.state_dict()}
        self.before = self.count(self.network)
        self.original = original or self.before
        self.limits = budget.limits(self.original)
        options = dict(self._options())
        without_channels = {one for one in itertools.chain(*options.values()) if one.channels is None}
        self._variants = {option: self._variant(option, options) for option in without_channels}
        self.costs = dict(itertools.chain.from_iterable(self._saving(*one) for one in options.items()))
        if not self.costs and any(self.before[name] > limit for name, limit in self.limits.items()):
            raise RecipeError(
                f"budget: no layer of {recipe.name} has an option that saves {' or '.join(budget.numbers)}"
            )

    def build(self, recipe: Recipe) -> nn.Module:
        """Build a recipe's network in eval mode, and load each stored tensor whose name and shape match."""
        network = untrained(recipe)
        network.load_state_dict(fitting(narrowed(self.tensors, network), network), strict=False)
        return network.eval()

    def count(self, network: nn.Module) -> Costs:
        """Return the costs of a network for the quantities in the budget."""
        recipe, wanted = self.recipe, self.budget.numbers.keys()
        graph = lower(network, **builders.graph_record(recipe))
        every: dict[str, float | None] = {}
        if wanted - OF_C - {"ms"}:
            found = counts(graph, recipe, [self._counted])
            energy = None if found.energy_mj_honest is None else 1e3 * found.energy_mj_honest
            every = {"nops": found.nops, "sops": found.sops, "energy_uj": energy, "mb": found.stored_mb}
        if wanted & OF_C:
            few = self._counted[:, :1].contiguous().numpy()
            source = translate(graph, fixed=fixed_point(graph, few, recipe.time_steps))
            every |= {"flash_kb": source.data_bytes / 1e3, "ram_kb": source.ram_bytes / 1e3}
        if "ms" in wanted:
            every["ms"] = self._milliseconds(graph)
        return {name: float(every[name] or 0.0) for name in wanted}

    def _milliseconds(self, graph: Graph) -> float:
        """Return the median milliseconds per sample on one thread.

        The first network timed is the baseline. Each later network is timed in alternation with the baseline, which
        cancels out changes in the machine's speed. The time of a later network is the baseline's time multiplied by the
        median ratio of run times.
        """
        session = Session(graph, 1)
        if self._first is None:
            self._first, self._first_ms = session, 1e3 * statistics.median(self._times(session)[0])
            return self._first_ms
        first, its = self._times(self._first, session)
        return self._first_ms * statistics.median(one / other for one, other in zip(its, first, strict=True))

    def _times(self, *sessions: Session) -> list[list[float]]:
        """Run the sessions alternately on samples, and return the run times of each session in seconds."""
        samples = [x[:, None].contiguous().numpy() for x in self._counted.unbind(1)]
        for session in sessions:
            session.run(samples[0], self.recipe.time_steps)
        taken: list[list[float]] = [[] for _ in sessions]
        while len(taken[0]) < TIMED or sum(map(sum, taken)) < TIMED_SECONDS:
            x = samples[len(taken[0]) % len(samples)]
            for seconds, session in zip(taken, sessions, strict=True):
                start = time.perf_counter()
                session.run(x, self.recipe.time_steps)
                seconds.append(time.perf_counter() - start)
        return taken

    def with_choice(self, choice: Choice) -> Recipe:
        """Return a copy of the recipe with the chosen layer options."""
        tree = self.recipe.model_dump(mode="json")
        if lost := [name for name, option in choice.items() if option.parallel]:
            kept = [name for name, layer in _neurons(self.network) if isinstance(layer, ParallelHDLIF)]
            tree["neuron"]["parallel"] = [*kept, *lost]
        levels = {name: {"bits": o.levels[0], "step": o.levels[1]} for name, o in choice.items() if o.levels}
        bits = {name: option.weight_bits for name, option in choice.items() if option.weight_bits}
        channels = {name: option.channels for name, option in choice.items() if option.channels}
        for section, key, stated in (
            ("spikes", "layers", levels),
            ("weights", "layers", bits),
            ("model", "inner", channels),
        ):
            if stated:
                tree[section][key] = (tree[section].get(key) or {}) | stated
        return Recipe.model_validate(tree)

    def choose(self, trained: nn.Module) -> Chosen:
        """Return the layer options that keep the network within the budget.

        Args:
            trained: network in which gradients are computed, with the same layers as the recipe's network.
        Raises:
            RecipeError: no choice is within the budget; the message contains the nearest feasible budget.
        """
        return self._chosen(self.effects(trained))

    def check_feasible(self) -> None:
        """Raise `RecipeError` if no choice is within the budget, regardless of the effect on the loss."""
        self._chosen(dict.fromkeys(self.costs, 0.0))

    def effects(self, trained: nn.Module) -> dict[Key, float]:
        """Return the estimated effect of each option on the loss."""
        rule, found = builders.build_rule(self.recipe), dict.fromkeys(self.costs, 0.0)
        draws = torch.Generator().manual_seed(self.recipe.seed)
        with evaluation_mode(trained):
            for batch in self.batches:
                for key, change in self._changes(trained, rule, batch, draws).items():
                    found[key] += abs(change) / len(self.batches)
        return found

    def _changes(
        self, trained: nn.Module, rule: Rule, batch: tuple[Tensor, Tensor], draws: torch.Generator
    ) -> dict[Key, float]:
        """Return ⟨∂L/∂z, z(o) - z⟩, the first-order change in the loss on one batch, for each option o."""
        found = dict.fromkeys(self.costs, 0.0)
        trained.zero_grad(set_to_none=True)
        with self._watching_neurons(trained, found):
            for step in run_rule(rule, trained, *batch, rule.schedule(self.recipe.time_steps, draws)):
                torch.autograd.backward(step.loss)
        for (name, option), layer in self._options_of(QuantLayer):
            weight, own = trained.get_parameter(f"{name}.weight"), self._own(name)
            assert isinstance(own, QuantLayer)
            if weight.grad is not None:
                found[name, option] = _product(weight.grad, layer.weight_q().detach() - own.weight_q().detach())
        trained.zero_grad(set_to_none=True)
        return found

    @contextmanager
    def _watching_neurons(self, trained: nn.Module, found: dict[Key, float]) -> Iterator[None]:
        """During backward passes, add the change in the loss under each neuron or channel option to `found`."""
        options: dict[str, list[tuple[Option, nn.Module]]] = {}
        for (name, option), layer in self._options_of(Neuron):
            options.setdefault(name, []).append((option, layer))
        fewer: dict[str, list[tuple[Key, Tensor]]] = {}
        for name, option in self.costs:
            if option.channels is not None:
                removed = torch.ones(len(trained.get_parameter(f"{name}.conv1.weight")), dtype=torch.bool)
                removed[kept_channels(self.tensors, name, option.channels)] = False
                fewer.setdefault(f"{name}.act2", []).append(((name, option), removed))
        states: dict[str, State | None] = {}

        @torch.no_grad()
        def run(layer: nn.Module, x: Tensor, state: State | None, steps: range) -> Any:
            return layer(x, None if isinstance(layer, ParallelHDLIF) else state, steps)

        def watch(name: str, module: nn.Module, args: tuple[Any, ...], output: tuple[Tensor, Any]) -> None:
            x, steps = args[0].detach(), range(args[2].start, args[2].stop)
            state = states.get(name) if steps.start else None
            spikes, states[name] = run(self._own(name), x, state, steps)

            def gather(gradient: Tensor) -> None:
                for option, layer in options.get(name, ()):
                    found[name, option] += _product(gradient, run(layer, x, state, steps)[0] - spikes)
                for key, removed in fewer.get(name, ()):
                    found[key] -= _product(gradient[:, :, removed], spikes[:, :, removed])

            if output[0].requires_grad:
                output[0].register_hook(gather)  # type: ignore[no-untyped-call]

        watched = options.keys() | fewer.keys()
        hooks = [trained.get_submodule(name).register_forward_hook(partial(watch, name)) for name in watched]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _own(self, name: str) -> nn.Module:
        return self.network.get_submodule(name)

    def _options_of(self, kind: Any) -> Iterator[tuple[Key, Any]]:
        """Yield each option for layers of class `kind`, together with the changed layer."""
        for name, option in self.costs:
            if option in self._variants and isinstance(self._own(name), kind):
                yield (name, option), self._variants[option].get_submodule(name)

    def _options(self) -> Iterator[tuple[str, list[Option]]]:
        """Yield each layer's options, except the option that leaves the layer unchanged."""
        recipe = self.recipe
        for name, neuron in _neurons(self.network) if recipe.model.kind != "imported" else ():
            memory = [False, True] if recipe.neuron.kind == "hdlif" and isinstance(neuron, HDLIF) else [False]
            quantizer = neuron.quantizer
            fewer: list[tuple[int, float] | None] = [None]
            # The bits of spikes affect neither the operations of neurons nor the size of a file.
            if recipe.spikes.kind in ("exact", "quantised") and OF_ACTIVITY & self.limits.keys():
                most, step = (8, 0.25) if quantizer is None else (quantizer.bits, float(quantizer.step))
                factors = STEP_FACTORS if not isinstance(getattr(quantizer, "step", step), Tensor) else (1,)
                fewer += [(bits, factor * step) for bits in SPIKE_BITS if bits < most for factor in factors]
            yield name, [Option(*one) for one in itertools.product(memory, fewer)][1:]
        for name, layer in self.network.named_modules() if not self.limits.keys() <= OF_NEURONS else ():
            if isinstance(layer, QuantLayer) and (recipe.weights.kind == "float" or layer.quantizer is not None):
                now = 32 if layer.quantizer is None else layer.quantizer.bits
                yield name, [Option(weight_bits=bits) for bits in WEIGHT_BITS if bits < now]
        if "inner" in MODELS.read(recipe.model).key_names() and self.limits.keys() != {"nops"}:
            for name, block in blocks_to_narrow(self.network).items():
                yield name, [Option(channels=count) for count in fewer_channels(block)]

    def _variant(self, option: Option, options: Mapping[str, Sequence[Option]]) -> nn.Module:
        """Return the network after applying `option` to every layer that has this option."""
        return self.build(self.with_choice({name: option for name, own in options.items() if option in own}))

    def _saving(self, name: str, options: Sequence[Option]) -> Iterator[tuple[Key, Costs]]:
        """Yield a layer's options and their costs, except options that save no more than another with fewer changes."""
        costs = {AS_IT_IS: self.before} | {option: self._cost(name, option) for option in options}
        kept = [
            option
            for option in costs
            if not any(
                option != other
                and option.includes(other)
                and all(costs[other][q] <= costs[option][q] for q in costs[other])
                for other in costs
            )
        ]
        if len(kept) > 1:
            yield from (((name, option), costs[option]) for option in kept)

    def _cost(self, name: str, option: Option) -> Costs:
        """Return the costs of the network after applying one option to one layer."""
        if option.channels is not None:
            return self.count(self.build(self.with_choice({name: option})))
        parent, _, own = name.rpartition(".")
        place, layer = self._own(parent), self._own(name)
        setattr(place, own, self._variants[option].get_submodule(name))
        try:
            return self.count(self.network)
        finally:
            setattr(place, own, layer)

    def _chosen(self, effects: Mapping[Key, float]) -> Chosen:
        """Return the choice with the smallest effect on the loss that keeps the built network within the budget.

        If costs depend on activity or channels, the saving of several options is not the sum of their savings. If a
        built network costs more than estimated, the next attempt lowers the limit by the difference.
        """
        if not self.costs:
            return self._built({}, effects)
        excess, kept, nearest = dict.fromkeys(self.limits, 0.0), None, None
        tried: Choice | None = None
        varies = OF_ACTIVITY & self.limits.keys()
        for _ in range(ATTEMPTS):
            allowed = {name: max(limit - excess[name], 0.01 * limit) for name, limit in self.limits.items()}
            # If no choice is within the limits, take the choice that exceeds them by the smallest factors.
            choice = solve(self.before, self.costs, effects, allowed) or solve(self.before, self.costs, None, allowed)
            if choice is None or choice == tried:
                break
            tried, chosen = choice, self._built(choice, effects)
            if chosen.is_within and (kept is None or chosen.effect < kept.effect):
                kept = chosen
            if nearest is None or chosen.overshoot < nearest.overshoot:
                nearest = chosen
            if kept is not None and not varies:
                break
            for name in excess:
                saved = (self.costs[key][name] - self.before[name] for key in chosen.choice.items())
                beyond = chosen.after[name] - self.before[name] - sum(saved)
                if name not in OF_ACTIVITY:
                    excess[name] = max(excess[name], beyond)
                else:
                    # Avoid repeating a choice beyond the limits. After one within them, use part of the remainder.
                    excess[name] += (beyond - excess[name]) * (0.5 if chosen.is_within else 1.0)
        if kept is not None:
            return kept
        assert nearest is not None, "without a limit there is a choice"
        reached = {name: max(limit, nearest.after[name]) for name, limit in self.limits.items()}
        stated, possible = (self.budget.stated(one, self.original) for one in (self.limits, reached))
        raise RecipeError(f'budget: "{stated}" cannot be met; the nearest budget that can is "{possible}"')

    def _built(self, choice: Choice, effects: Mapping[Key, float]) -> Chosen:
        """Return a choice together with its recipe and the costs of the network built from that recipe."""
        changed = {name: option for name, option in choice.items() if option != AS_IT_IS}
        recipe = self.with_choice(changed)
        after = self.count(self.build(recipe))
        return Chosen(recipe, changed, self.before, after, self.limits, self.costs, effects)


def untrained(recipe: Recipe) -> nn.Module:
    """Return a recipe's untrained network without changing the state of the global random generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return builders.build_model(recipe)


def fitting(tensors: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Return the tensors whose names and shapes match tensors in the network."""
    own = network.state_dict()
    return {name: one for name, one in tensors.items() if name in own and own[name].shape == one.shape}


def _neurons(network: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the HD-LIF layers that have no Mem-BN and are not part of a recurrent layer."""
    for name, layer in network.named_modules():
        is_plain = isinstance(layer, HDLIF | ParallelHDLIF) and getattr(layer, "norm", None) is None
        if is_plain and not name.endswith(".neuron"):
            yield name, layer


def _product(one: Tensor, other: Tensor) -> float:
    return float((one.double() * other.double()).sum())
