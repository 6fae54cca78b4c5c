"""Render the report section on gradient coherence from the files that `hdlif coherence --out` writes."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from hdlif.report.figures import Figure, Section, dots, panels
from hdlif.report.runs import Coherence, CoherenceRule

_LOSS = "mean_logits"
View = Literal["local", "end_to_end"]
Quantity = Literal["cosine", "dropped", "wrong", "firing_rate"]


def section(entries: Sequence[Coherence]) -> Section:
    """Draw figures that compare the gradients of learning rules within each layer ("local") and end to end.

    If learning rules have identical values, they share one series. The figures cover only the loss computed from the
    mean logits.
    """
    series = _series([entry for entry in entries if entry["loss"] == _LOSS])
    names = list(series)

    def figure(
        ident: str, quantity: Quantity, x_label: str, caption: str, view: View = "local", kind: str = "neuron"
    ) -> Figure:
        values = [_layers(rule, view, kind, quantity) for rule in series.values()]
        return dots(f"coherence-{ident}", caption, names, values, x_label=x_label)

    figures = [
        figure(
            "firing-rate",
            "firing_rate",
            "fraction of non-zero spikes",
            "Firing rate on the compared batches; compare cosines only at equal rates.",
        ),
        figure(
            "dropped",
            "dropped",
            "fraction of dropped entries",
            "Entries of dL/dm that the rule drops (zero although STBP’s is not), with STBP’s own dL/ds given to each "
            "layer. With HD-LIF all other entries are equal (Theorem 4.2).",
        ),
        figure(
            "wrong",
            "wrong",
            "fraction of wrong entries",
            "Entries of dL/dm that are neither STBP’s nor zero, with STBP’s own dL/ds given to each layer. HD-LIF "
            "has none.",
        ),
        figure(
            "local",
            "cosine",
            "1 − cosine",
            "Distance from STBP’s dL/dm in each neuron layer, given STBP’s own dL/ds.",
        ),
        figure(
            "end-to-end",
            "cosine",
            "1 − cosine",
            "Distance from STBP’s weight gradient in each synapse, with the rule applied in all layers.",
            view="end_to_end",
            kind="synapse",
        ),
    ]
    # A step without a backward gradient has no cosine and leaves a gap.
    steps = [
        {
            layer["name"]: [math.nan if (cosine := step["cosine"]) is None else _distance(cosine) for step in steps]
            for layer in rule["local"]["layers"]
            if layer["kind"] == "neuron" and (steps := layer["per_step"])
        }
        for rule in series.values()
    ]
    caption = (
        "Distance (1 − cosine) from STBP’s dL/dm by time step in each neuron layer, given STBP’s own dL/ds; the last "
        "step has no later step to cut."
    )
    top = max([1e-3, *(1.05 * value for by_layer in steps for values in by_layer.values() for value in values)])
    return Section(names, [*figures, panels("coherence-step", "1 − cosine", caption, names, steps, top=top)])


def _series(entries: Sequence[Coherence]) -> dict[str, CoherenceRule]:
    found: dict[str, CoherenceRule] = {}
    for entry in entries:
        alike: dict[tuple[str, ...], tuple[list[str], CoherenceRule]] = {}
        for name, rule in entry["rules"].items():
            names, _ = alike.setdefault(_rounded(rule), ([], rule))
            names.append(name)
        state = "" if entry.get("trained") else " (untrained)"
        for names, rule in alike.values():
            found[f"{entry['target']} {entry['neuron']}{state}, {' and '.join(names)}"] = rule
    return found


def _rounded(rule: CoherenceRule) -> tuple[str, ...]:
    layers = [*rule["local"]["layers"], *rule["end_to_end"]["layers"]]
    return tuple(f"{layer['cosine'] or 0:.6f} {layer['norm_ratio'] or 0:.6f}" for layer in layers)


def _layers(rule: CoherenceRule, view: View, kind: str, quantity: Quantity) -> Mapping[str, float | None]:
    """Return one quantity for each layer. If the quantity is a cosine, return 1 - cosine instead."""
    values = {layer["name"]: layer[quantity] for layer in rule[view]["layers"] if layer["kind"] == kind}
    if quantity != "cosine":
        return values
    return {name: None if cosine is None else _distance(cosine) for name, cosine in values.items()}


def _distance(cosine: float) -> float:
    # A cosine that is rounded to more than 1 must not give a negative distance.
    return max(0.0, 1 - cosine)
