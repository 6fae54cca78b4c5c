"""Compute a trained network's size, operations and energy from its graph or, if it has no graph, from its modules."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor, nn

from hdlif.deploy import lower
from hdlif.errors import ArtefactError, LoweringError
from hdlif.graph.artefact import Graph
from hdlif.graph.ops import OPS
from hdlif.graph.ops.program import program_of, row_names
from hdlif.recipe import Recipe, builders
from hdlif.recipe.runs.summary import Layer, Neuron
from hdlif.report.accounting import activity, outline, priced

NO_GRAPH = (LoweringError, ArtefactError)
"""Errors raised if a module has no deployed form, or contains a number that a graph cannot hold."""
OF_GRAPH = "stored_mb, sops and energy_mj"
_OUTLINED = ("name", "kind", "shape", "params_mb", "nops", "density")
"""Columns of a layer that do not need a graph."""


def deployed_or_none(
    model: nn.Module, recipe: Recipe, *, warn: Callable[[Exception], None] = lambda error: None
) -> Graph | None:
    """Return the deployed graph of a recipe's network, or call `warn` and return None if lowering fails."""
    try:
        return lower(model, **builders.graph_record(recipe))
    except NO_GRAPH as error:
        warn(error)
        return None


@dataclass(frozen=True, kw_only=True)
class Counts:
    """The counts in a `TrainResult`. If the network has no graph, counts that require a graph are None."""

    params_mb: float
    stored_mb: float | None = None
    sops: float | None = None
    nops: float | None
    energy_mj: float | None = None
    energy_mj_honest: float | None = None
    layers: tuple[Layer, ...]
    neurons: tuple[Neuron, ...]


def counts(
    network: Graph | nn.Module, recipe: Recipe, images: Sequence[Tensor], initial: Sequence[Neuron] = ()
) -> Counts:
    """Compute the size, operations and energy of a network from its graph or modules.

    Args:
        initial: the network's neurons before training, if known.
    """
    if not isinstance(network, Graph):
        return _outlined(network, recipe, images)
    seen = activity(network, images)
    paper, honest = priced(seen, "paper"), priced(seen, "honest")
    return Counts(
        params_mb=paper.params_mb,
        stored_mb=paper.stored_mb,
        sops=paper.sops,
        nops=paper.nops,
        energy_mj=paper.energy_mj,
        energy_mj_honest=honest.energy_mj,
        layers=tuple(Layer(**asdict(layer)) for layer in paper.layers),
        neurons=learned(neuron_rows(network), initial),
    )


def why_not_exported(recipe: Recipe) -> str | None:
    """Return the reason why a recipe's network cannot be exported, or None if export is possible."""
    reasons: list[str] = []
    with torch.random.fork_rng(devices=[]):
        deployed_or_none(builders.build_model(recipe), recipe, warn=lambda error: reasons.append(str(error)))
    return reasons[0] if reasons else None


def without_graph(error: Exception) -> str:
    """Return a line that lists the missing figures and explains why they are missing."""
    return f"{error}; {OF_GRAPH} come from the deployed network and are null here, as are nops of unknown neurons"


def _outlined(model: nn.Module, recipe: Recipe, images: Sequence[Tensor]) -> Counts:
    found = outline(model, images, time_steps=recipe.time_steps)
    return Counts(
        params_mb=found.params_mb,
        nops=found.nops,
        layers=tuple(Layer(**{field: getattr(row, field) for field in _OUTLINED}) for row in found.layers),
        neurons=tuple(Neuron(name=row.name, kind=row.kind) for row in found.layers if row.neuron),
    )


def initial_neurons(model: nn.Module, recipe: Recipe, *, warn: Callable[[str], None]) -> tuple[Neuron, ...]:
    """Return the leaks and thresholds of an untrained network; if it has no deployed form, warn and return ()."""
    # Preserve the RNG stream.
    with torch.random.fork_rng(devices=[]):
        graph = deployed_or_none(
            model, recipe, warn=lambda error: warn(f"the network can be trained, but not exported: {error}")
        )
    return () if graph is None else neuron_rows(graph)


def learned(neurons: Sequence[Neuron], initial: Sequence[Neuron]) -> tuple[Neuron, ...]:
    """Add the initial leaks and thresholds to the records of neuron layers."""
    before = {neuron.name: neuron for neuron in initial}
    return tuple(
        replace(neuron, initial_leak=start.leak, initial_threshold=start.threshold)
        if (start := before.get(neuron.name))
        else neuron
        for neuron in neurons
    )


def neuron_rows(graph: Graph) -> tuple[Neuron, ...]:
    """Return the leak and threshold of every neuron layer at each time step, averaged over channels."""
    rows = []
    for node in graph.nodes:
        if not OPS[node.op].is_neuron(node):
            continue
        names = dict(node.tensors)
        kind = node.op
        if node.op == "program":
            program, kind = program_of(node), str(node.attributes["kind"])
            names = {name: node.tensors[key] for name, key in zip(program.rows, row_names(program), strict=True)}
        values = {
            role: tuple(round(float(row.mean()), 6) for row in tensor) * (graph.time_steps if len(tensor) == 1 else 1)
            for role, tensor in names.items()
        }
        rows.append(Neuron(name=node.name, kind=kind, leak=values.get("leak"), threshold=values.get("threshold")))
    return tuple(rows)
