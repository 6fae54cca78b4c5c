"""The page: figures and tables of a run, set by the template beside this file."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from hdlif.ops import SAMPLE, SampleName
from hdlif.recipe import recipe_fields
from hdlif.report.charts import Series
from hdlif.report.coherence import section
from hdlif.report.comparison import DASH, aligned, findings, recipe_beside, table
from hdlif.report.confusion import accuracy_by_class, matrices
from hdlif.report.early import accuracy_by_steps
from hdlif.report.figures import Figure, Section, dots, lines, time_axis, union
from hdlif.report.labels import f1_by_label
from hdlif.report.learned import per_step
from hdlif.report.runs import Artefact, Coherence, Confusion, Early, Errors, Labels, Metric
from hdlif.report.summary import TrainResult
from hdlif.report.templates import set_page
from hdlif.report.traces import Traces
from hdlif.report.traces import figures as trace_figures
from hdlif.report.values import predicted_against_true

# More points than this on one line are noise to the eye, and bytes in the page.
_POINTS = 200
_RANGES = dict.fromkeys(("accuracy", "whole_sequences", "f1", "labels_right", "exact"), (0.0, 1.0))
"""Metrics that are shares."""
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Origin:
    """A row of the provenance table: one value where all networks share it, else one per network."""

    heading: str
    values: list[str]


def render(
    networks: Sequence[TrainResult],
    histories: Mapping[str, Sequence[Metric]],
    artefact: Artefact | None = None,
    *,
    title: str | None = None,
    recipes: Mapping[str, str] | None = None,
    commands: Sequence[str] = (),
    coherence: Sequence[Coherence] = (),
    confusions: Mapping[str, Confusion] | None = None,
    early: Mapping[str, Early] | None = None,
    errors: Mapping[str, Errors] | None = None,
    labels: Mapping[str, Labels] | None = None,
    traces: Traces | None = None,
    samples: SampleName = SAMPLE,
) -> str:
    """The whole page as HTML: one script, which sorts tables, no links out, the same bytes for the same numbers.

    Args:
        networks: summaries of trainings, with names that differ; at least one.
        histories: the lines of `metrics.jsonl` by network name; a network may lack them.
        artefact: the deployed file, if one was made.
        title: the heading; by default it says which networks are compared.
        recipes: the resolved recipes (YAML) by network name.
        commands: how to make the runs and this page again, a shell command each.
        confusions: counts of the test samples, or steps, by true and chosen class, by network name.
        early: of networks that classify, what answering early saves and costs.
        errors: of networks that predict values, what they are wrong by.
        labels: of networks that say several labels, how they find each.
        traces: single neurons at work.
        samples: what a sample of the networks' data is called.
        coherence: gradients beside STBP's, of these networks or others, which have a legend of their own.
    """
    names = [network.name for network in networks]
    figures = {
        "Predicted values": [predicted_against_true(names, errors)] if errors else [],
        "Labels": [f1_by_label(names, labels)] if labels else [],
        "Metrics by output": _parts(networks),
        "Accuracy by class": [accuracy_by_class(names, confusions or {})],
        "Accuracy over time": [_accuracy_per_step(networks)],
        "Answering early": [accuracy_by_steps(names, early)] if early else [],
        "Over time": [_measure_per_step(networks)],
        "Learning curves": _learning(networks, histories),
        "Activity by layer": [_firing_rate(networks), _sops(networks, samples)],
        "Leak and threshold by time step": [
            per_step(networks, "leak", "Leak λ of each neuron layer by time step; a parallel neuron has none."),
            per_step(networks, "threshold", "Threshold θ of each neuron layer by time step."),
        ],
        "Neurons at work": trace_figures(names, traces) if traces else [],
    }
    sections = {heading: Section(names, drawn) for heading, drawn in figures.items()}
    if coherence:
        sections["Gradient coherence"] = section(coherence)
    return set_page(
        "page.html.j2",
        sections,
        title=title or (_title(networks[0]) if len(names) == 1 else f"{len(names)} networks compared"),
        samples=samples,
        findings=findings(networks, samples),
        table=table(networks),
        classified=any(network.accuracy is not None for network in networks),
        differences=_differences(networks),
        matrices=matrices(confusions or {}, samples),
        artefact=_artefact(artefact, samples) if artefact else None,
        names=names,
        provenance=_provenance(networks),
        recipes=recipes or {},
        commands=commands,
    )


def _title(network: TrainResult) -> str:
    recipe = recipe_beside(network)
    return f"{network.name} ({recipe})" if recipe else network.name


def _learning(networks: Sequence[TrainResult], histories: Mapping[str, Sequence[Metric]]) -> list[Figure]:
    names = [network.name for network in networks]
    accuracy, loss, measured = [], [], []
    epochs = [_kept(network, histories.get(name, ())) for name, network in zip(names, networks, strict=True)]
    for style, (name, network) in enumerate(zip(names, networks, strict=True)):
        events = histories.get(name, ())
        steps, fractions = _readings(events, "validation", "accuracy")
        accuracy.append(Series(style, steps, [100 * fraction for fraction in fractions]))
        measured.append(Series(style, *_metrics(events, network.metric)))
        loss.append(Series(style, *_readings(events, "train", "loss")))
    accuracy_rings, metric_rings = _rings(accuracy, epochs), _rings(measured, epochs)
    kept = " A ring marks the epoch whose network was kept." if any(step is not None for step in epochs) else ""
    not_held_out = [name for name in names if any("part" in line for line in histories.get(name, ()))]
    if not_held_out:
        kept += f" No samples are held out by {', '.join(not_held_out)}: training samples are measured, in eval mode."
    what = "validation" if len(not_held_out) < len(names) else "training samples'"
    block = math.ceil(max(len(one.y) for one in loss) / _POINTS)
    thinned = [Series(one.style, _means(one.x, block), _means(one.y, block)) for one in loss]
    smoothed = f" Each point is the mean of {block} readings in a row." if block > 1 else ""
    metrics = list(dict.fromkeys(metric for network in networks if (metric := network.metric)))
    return [
        *(
            lines(
                f"validation-{metric}",
                f"{what.capitalize()} {metric} by optimiser update, once per epoch.{kept}",
                names,
                [one for one, network in zip(measured, networks, strict=True) if network.metric == metric],
                x_label="update",
                y_label=f"{what} {metric}",
                rings=[one for one in metric_rings if networks[one[0]].metric == metric],
                markers=max(len(one.y) for one in measured) <= 30,
                within=_RANGES.get(metric),
                kind="validation-metric",
            )
            for metric in metrics
        ),
        lines(
            "validation-accuracy",
            f"{what.capitalize()} accuracy (%) by optimiser update, once per epoch.{kept}",
            names,
            accuracy,
            x_label="update",
            y_label=f"{what} accuracy, %",
            rings=accuracy_rings,
            markers=max(len(one.y) for one in accuracy) <= 30,
            within=(0, 100),
        ),
        lines(
            "training-loss",
            f"Training loss by optimiser update.{smoothed}",
            names,
            thinned,
            x_label="update",
            y_label="training loss",
        ),
    ]


def _kept(network: TrainResult, events: Sequence[Metric]) -> int | None:
    """The update after which the network that was kept was validated, as far as the history says."""
    found = [line["step"] for line in events if line["event"] == "validation" and line["epoch"] == network.best_epoch]
    return found[-1] if found else None


def _rings(series: Sequence[Series], steps: Sequence[int | None]) -> list[tuple[int, float, float]]:
    """The points of lines at these updates, a line each."""
    return [
        (one.style, step, one.y[list(one.x).index(step)])
        for one, step in zip(series, steps, strict=True)
        if step is not None and step in one.x
    ]


def _readings(
    events: Sequence[Metric], event: Literal["train", "validation"], quantity: Literal["loss", "accuracy"]
) -> tuple[list[int], list[float]]:
    """The updates at which a quantity was measured, and its values."""
    found = [
        (line["step"], value) for line in events if line["event"] == event and (value := line[quantity]) is not None
    ]
    return [step for step, _ in found], [value for _, value in found]


def _metrics(events: Sequence[Metric], name: str | None) -> tuple[list[int], list[float]]:
    """The updates at which a metric was measured on the validation set, and its values."""
    found = [
        (line["step"], value)
        for line in events
        if line["event"] == "validation" and (value := line.get("metrics", {}).get(name or "")) is not None
    ]
    return [step for step, _ in found], [value for _, value in found]


def _measure_per_step(networks: Sequence[TrainResult]) -> Figure:
    """What other tasks than classification measure at or after each step."""
    series = [
        Series(style, time_axis(values), values)
        for style, network in enumerate(networks)
        if (values := network.per_step) and len(values) > 1
    ]
    kinds = {"rmse": "error (rmse)", "accuracy": "share of right classes", "f1": "share of right labels"}
    said = dict.fromkeys(kinds.get(metric, metric) for network in networks if (metric := network.metric))
    caption = f"{' and '.join(said).capitalize()} on the test set, at each time step or as known after it."
    names = [network.name for network in networks]
    metrics = {network.metric for network in networks if network.per_step}
    within = (0.0, 1.0) if metrics <= _RANGES.keys() else None
    labels: dict[str, Any] = {"x_label": "time step", "y_label": ", ".join(said), "markers": False}
    return lines("per-step", caption, names, series, within=within, **labels)


def _parts(networks: Sequence[TrainResult]) -> list[Figure]:
    """A figure for each metric that gives several."""
    names = [network.name for network in networks]
    figures = []
    for place, metric in enumerate(union(network.parts or {} for network in networks)):
        values = [
            {
                part.removeprefix(f"{metric}."): (network.metrics or {}).get(part)
                for part in (network.parts or {}).get(metric, ())
            }
            for network in networks
        ]
        caption = f"{metric} on the test set."
        figure = dots(f"parts-{place}", caption, names, values, x_label=metric, kind="parts")
        figures.append(replace(figure, headings=["output", *figure.headings[1:]]) if figure.headings else figure)
    return figures


def _means(values: Sequence[float], block: int) -> list[float]:
    blocks = [values[i : i + block] for i in range(0, len(values), max(block, 1))]
    return [sum(some) / len(some) for some in blocks]


def _accuracy_per_step(networks: Sequence[TrainResult]) -> Figure:
    caption = "Test accuracy (%) after each time step, by the outputs so far."
    names = [network.name for network in networks]
    percent = [[100 * value for value in network.accuracy_per_step] for network in networks]
    if max(map(len, percent)) < 2:
        return Figure(caption, [])
    series = [Series(i, time_axis(values), values) for i, values in enumerate(percent)]
    few = max(map(len, percent)) <= 30
    labels: dict[str, Any] = {"x_label": "time step", "y_label": "accuracy, %", "markers": few}
    figure = lines("accuracy-per-step", caption, names, series, within=(0, 100), **labels)
    steps = max((len(values) for values in percent), default=0)
    rows = [
        [name, *aligned([*values, *[None] * (steps - len(values))], decimals=2)]
        for name, values in zip(names, percent, strict=True)
    ]
    return replace(figure, headings=["network", *(f"t = {t}" for t in range(1, steps + 1))], rows=rows)


def _firing_rate(networks: Sequence[TrainResult]) -> Figure:
    caption = "Firing rate: the share of a neuron layer’s outputs that are not zero, over all time steps."
    # A synapse has a density too, that of its inputs; neurons are the layers with operations of their own, or, in a
    # network without a deployed form, those that are listed as neurons.
    listed = [{neuron.name for neuron in network.neurons} for network in networks]
    values = [
        {layer.name: layer.density for layer in network.layers if layer.nops or layer.name in names}
        for network, names in zip(networks, listed, strict=True)
    ]
    return dots("firing-rate", caption, [n.name for n in networks], values, x_label="share of outputs not zero")


def _sops(networks: Sequence[TrainResult], samples: SampleName) -> Figure:
    caption = f"Synaptic operations (SOPs) of each layer per {samples.one}, over all time steps."
    values = [{layer.name: layer.sops or None for layer in n.layers} for n in networks]
    largest = max((value for layers in values for value in layers.values() if value), default=0.0)
    factor, unit = (1e-6, "millions") if largest >= 1e6 else (1e-3, "thousands")
    scaled = [{name: value and value * factor for name, value in layers.items()} for layers in values]
    return dots("sops", caption, [n.name for n in networks], scaled, x_label=f"SOPs per {samples.one}, {unit}")


def _artefact(artefact: Artefact, samples: SampleName) -> list[tuple[str, str]]:
    difference, latency = artefact.get("max_logit_difference"), artefact.get("latency_ms")
    return [
        ("File", artefact["path"]),
        ("Size", f"{artefact['bytes']:,} bytes"),
        (f"Accuracy on the test {samples.many}", _percent(artefact.get("accuracy"))),
        ("Class agreement with the trained network", _percent(artefact.get("argmax_agreement"))),
        ("Largest difference of a logit", DASH if difference is None else _scientific(difference)),
        (f"Latency per {samples.one}", DASH if latency is None else f"{latency:.3g} ms"),
    ]


def _percent(fraction: float | None) -> str:
    return DASH if fraction is None else f"{100 * fraction:.2f} %"


def _scientific(value: float) -> str:
    """Two digits and a power of ten, as in print.

    >>> _scientific(3.1e-05)
    '3.1 × 10⁻⁵'
    """
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPTS)}" if value else "0"


def _provenance(networks: Sequence[TrainResult]) -> list[Origin]:
    facts = [
        {
            "recipe": network.recipe_name,
            "seed": network.seed,
            "best epoch": network.best_epoch,
            **{str(key): value for key, value in (network.versions or {}).items()},
            **{str(key): value for key, value in (network.hardware or {}).items()},
        }
        for network in networks
    ]
    rows = [(key, [_plain(fact.get(key)) for fact in facts]) for key in union(facts)]
    return [Origin(key, values[:1] if len(set(values)) == 1 else values) for key, values in rows]


def _differences(networks: Sequence[TrainResult]) -> list[Origin]:
    """The recipes' fields that are not the same in all networks; a dash where a recipe has no such field."""
    recipes = [recipe_fields(recipe) if isinstance(recipe := network.recipe, dict) else {} for network in networks]
    rows = [Origin(key, [_plain(recipe.get(key)) for recipe in recipes]) for key in union(recipes) if key != "name"]
    return [row for row in rows if len(set(row.values)) > 1]


def _plain(value: Any) -> str:
    if value is None:
        return DASH
    if isinstance(value, list):
        return ", ".join(_plain(item) for item in value) or DASH
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
