"""The section on gradient coherence, from what `hdlif coherence --out` has left in run folders."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from hdlif.report.figures import Section, dots, panels
from hdlif.report.runs import Coherence, CoherenceRule

_LOSS = "mean_logits"
View = Literal["local", "end_to_end"]
Quantity = Literal["cosine", "dropped", "wrong", "firing_rate"]


def section(entries: Sequence[Coherence]) -> Section:
    """Local and end-to-end figures; rules that are alike, as SLTT and the mean of the random step are, share a series.

    Only the loss of the mean of the logits is drawn; the command's table has the others.
    """
    series = _series([entry for entry in entries if entry["loss"] == _LOSS])
    names = list(series)
    neurons = [_layers(rule, "local", "neuron", "firing_rate") for rule in series.values()]
    steps = [_step_distances(rule) for rule in series.values()]
    figures = [
        dots(
            "coherence-firing-rate",
            "Firing rate on the batches compared; cosines are to be compared at equal rates.",
            names,
            neurons,
            x_label="share of spikes not zero",
        ),
        dots(
            "coherence-dropped",
            "Entries of dL/dm that the rule drops (zero, where STBP’s is not), each layer given STBP’s own dL/ds. "
            "With HD-LIF all other entries are equal (Theorem 4.2).",
            names,
            [_layers(rule, "local", "neuron", "dropped") for rule in series.values()],
            x_label="share of entries dropped",
        ),
        dots(
            "coherence-wrong",
            "Entries of dL/dm that are neither STBP’s nor zero, each layer given STBP’s own dL/ds. HD-LIF has none.",
            names,
            [_layers(rule, "local", "neuron", "wrong") for rule in series.values()],
            x_label="share of entries wrong",
        ),
        dots(
            "coherence-local",
            "Distance from STBP’s dL/dm in each neuron layer, given STBP’s own dL/ds.",
            names,
            [_distances(rule, "local", "neuron") for rule in series.values()],
            x_label="1 − cosine",
        ),
        dots(
            "coherence-end-to-end",
            "Distance from STBP’s weight gradient in each synapse, with the rule at work in all layers.",
            names,
            [_distances(rule, "end_to_end", "synapse") for rule in series.values()],
            x_label="1 − cosine",
        ),
        panels(
            "coherence-step",
            "1 − cosine",
            "Distance (1 − cosine) from STBP’s dL/dm by time step in each neuron layer, given STBP’s own dL/ds; at the "
            "last step nothing lies ahead that could be cut.",
            names,
            steps,
            top=max([1e-3, *(1.05 * value for by_layer in steps for values in by_layer.values() for value in values)]),
        ),
    ]
    return Section(names, figures)


def _series(entries: Sequence[Coherence]) -> dict[str, CoherenceRule]:
    found: dict[str, CoherenceRule] = {}
    for entry in entries:
        alike: list[tuple[list[str], CoherenceRule]] = []
        for name, rule in entry["rules"].items():
            for names, other in alike:
                if _rounded(rule) == _rounded(other):
                    names.append(name)
                    break
            else:
                alike.append(([name], rule))
        state = "" if entry.get("trained") else " (untrained)"
        for names, rule in alike:
            found[f"{entry['target']} {entry['neuron']}{state}, {' and '.join(names)}"] = rule
    return found


def _rounded(rule: CoherenceRule) -> list[str]:
    layers = [*rule["local"]["layers"], *rule["end_to_end"]["layers"]]
    return [f"{layer['cosine'] or 0:.6f} {layer['norm_ratio'] or 0:.6f}" for layer in layers]


def _layers(rule: CoherenceRule, view: View, kind: str, quantity: Quantity) -> Mapping[str, float | None]:
    return {layer["name"]: layer[quantity] for layer in rule[view]["layers"] if layer["kind"] == kind}


def _distances(rule: CoherenceRule, view: View, kind: str) -> Mapping[str, float | None]:
    cosines = _layers(rule, view, kind, "cosine")
    return {name: None if cosine is None else _distance(cosine) for name, cosine in cosines.items()}


def _step_distances(rule: CoherenceRule) -> dict[str, list[float]]:
    """By neuron layer; a step in which nothing flows back has no cosine and leaves a gap."""
    return {
        layer["name"]: [math.nan if (cosine := step["cosine"]) is None else _distance(cosine) for step in steps]
        for layer in rule["local"]["layers"]
        if layer["kind"] == "neuron" and (steps := layer["per_step"])
    }


def _distance(cosine: float) -> float:
    # A rounding above 1 is no distance below 0.
    return max(0.0, 1 - cosine)
