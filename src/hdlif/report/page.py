"""Render a run's HTML report, with figures and tables."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any

from hdlif.graph.input_record import SAMPLE, SampleName
from hdlif.inputs.plain_yaml import recipe_fields
from hdlif.recipe.runs.summary import TrainResult
from hdlif.report.charts import Series
from hdlif.report.coherence import section
from hdlif.report.comparison import DASH, aligned, findings, recipe_beside, table
from hdlif.report.figures import Figure, Section, dots, lines, points, time_axis, union
from hdlif.report.outcomes import (
    accuracy_by_class,
    accuracy_by_steps,
    chance,
    chance_line,
    f1_by_label,
    guessed,
    matrices,
    per_step,
    predicted_against_true,
)
from hdlif.report.runs import Artefact, Metric, Run
from hdlif.report.templates import set_page
from hdlif.report.traces import Traces
from hdlif.report.traces import figures as trace_figures

# More points per line only add visual noise and enlarge the page.
_POINTS = 200
_RANGES = dict.fromkeys(("accuracy", "whole_sequences", "f1", "labels_right", "exact", "miou", "ap50"), (0.0, 1.0))
"""Ranges of the metrics that are fractions."""
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Origin:
    """A row of the provenance table, with either one value for all networks or one value per network."""

    heading: str
    values: list[str]


def render(
    run: Run, *, commands: Sequence[str] = (), traces: Traces | None = None, samples: SampleName = SAMPLE
) -> str:
    """Return the report as HTML without external links.

    Identical results always produce identical bytes.

    Args:
        run: run with at least one network; the networks have different names.
        commands: shell commands that reproduce the runs and this page.
        traces: traces of single neurons.
        samples: name of a sample in the networks' data.
    """
    networks = run.networks
    names = [network.name for network in networks]
    guessing = chance(run.confusions)
    figures = {
        "Predicted values": [predicted_against_true(names, run.errors)] if run.errors else [],
        "Labels": [f1_by_label(names, run.labels)] if run.labels else [],
        "Metrics by output": _parts(networks),
        "Accuracy over time": [_accuracy_per_step(networks, guessing)],
        "Early exit": [accuracy_by_steps(names, run.early)] if run.early else [],
        "Over time": [_measure_per_step(networks)],
        "Learning curves": _learning(networks, run.histories, guessing),
        "Activity by layer": [_firing_rate(networks), _sops(networks, samples)],
        "Leak and threshold by time step": [
            per_step(networks, "leak", "Leak λ of each neuron layer by time step; a parallel neuron has none."),
            per_step(networks, "threshold", "Threshold θ of each neuron layer by time step."),
        ],
        "Neuron activity": trace_figures(names, traces, best=_most_accurate(networks)) if traces else [],
    }
    sections = {heading: Section(names, drawn) for heading, drawn in figures.items()}
    if run.coherence:
        sections["Gradient coherence"] = section(run.coherence)
    recipe = recipe_beside(networks[0])
    title = f"{names[0]} ({recipe})" if recipe else names[0]
    if run.data:
        title = f"{len(names)} networks on {run.data}"
    elif len(names) > 1:
        title = f"{len(names)} networks compared"
    return set_page(
        "page.html.j2",
        sections,
        overview={"At a glance": Section(names, glance)} if (glance := _overview(networks, guessing)) else {},
        title=title,
        samples=samples,
        findings=findings(networks, samples),
        table=table(networks),
        classified=any(network.accuracy is not None for network in networks),
        differences=_differences(networks),
        matrices=matrices(run.confusions, samples),
        classes=accuracy_by_class(names, run.confusions),
        galleries=run.galleries,
        artefact=_artefact(run.artefact, samples) if run.artefact else None,
        names=names,
        provenance=_provenance(networks),
        recipes=run.recipes,
        commands=commands,
    )


def _most_accurate(networks: Sequence[TrainResult]) -> str:
    return max(networks, key=lambda network: network.accuracy or 0.0).name


def _overview(networks: Sequence[TrainResult], guessing: float | None) -> list[Figure]:
    """Plot each network's accuracy against its file size and against its energy."""
    if len(networks) < 2:
        return []
    names = [network.name for network in networks]
    said = f"{guessed(guessing)}." if guessing is not None else ""
    costs = {
        "accuracy-size": ("the file’s size", "file, kB", [n.stored_mb and 1e3 * n.stored_mb for n in networks]),
        "accuracy-energy": (
            "the energy of all operations",
            "energy, µJ",
            [n.energy_mj_honest and 1e3 * n.energy_mj_honest for n in networks],
        ),
    }
    figures = []
    for ident, (what, label, values) in costs.items():
        series = [
            Series(style, [cost], [100 * network.accuracy])
            for style, (network, cost) in enumerate(zip(networks, values, strict=True))
            if cost and network.accuracy is not None
        ]
        caption = f"Test accuracy (%) against {what}.{said}"
        figures.append(points(ident, caption, names, series, x_label=label, y_label="accuracy, %"))
    return [figure for figure in figures if figure.charts]


Readings = tuple[list[int], list[float]]
"""Updates at which a quantity was measured, and the measured values."""


def _learning(
    networks: Sequence[TrainResult], histories: Mapping[str, Sequence[Metric]], guessing: float | None
) -> list[Figure]:
    names = [network.name for network in networks]
    events = [histories.get(name, ()) for name in names]
    validations = [[line for line in of_one if line["event"] == "validation"] for of_one in events]
    # The update after which the saved network was validated, if the history contains it.
    kept_at = [
        next((line["step"] for line in reversed(of_one) if line["epoch"] == network.best_epoch), None)
        for of_one, network in zip(validations, networks, strict=True)
    ]
    said = " A ring marks the best epoch, whose network was saved." if any(step is not None for step in kept_at) else ""
    not_held_out = [name for name, of_one in zip(names, events, strict=True) if any("part" in line for line in of_one)]
    if not_held_out:
        said += f" No samples are held out in {', '.join(not_held_out)}: training samples are measured, in eval mode."
    what = "validation" if len(not_held_out) < len(names) else "training samples'"

    def curves(ident: str, quantity: str, label: str, readings: Mapping[int, Readings], **options: Any) -> Figure:
        """Plot validation results, with training results as thin lines."""
        rings = [
            (style, step, values[steps.index(step)])
            for style, (steps, values) in readings.items()
            if (step := kept_at[style]) is not None and step in steps
        ]
        thin = [one for one in options.get("thin", ()) if one.y]
        caption = f"{what.capitalize()} {quantity} by optimiser update, once per epoch.{said}"
        caption += f" Thin lines are the {label.partition(',')[0]} on training batches." if thin else ""
        series = [Series(style, *one) for style, one in readings.items()]
        options |= {"x_label": "update", "y_label": label if thin else f"{what} {label}", "rings": rings}
        return lines(ident, caption, names, series, markers=max(len(one.y) for one in series) <= 30, **options)

    figures = []
    options: dict[str, Any]
    for metric in dict.fromkeys(metric for network in networks if (metric := network.metric)):
        measured = {
            style: _readings((line, line.get("metrics", {}).get(metric)) for line in of_one)
            for style, (network, of_one) in enumerate(zip(networks, validations, strict=True))
            if network.metric == metric
        }
        options = {"within": _RANGES.get(metric), "kind": "validation-metric"}
        figures.append(curves(f"validation-{metric}", metric, metric, measured, **options))
    accuracy = {
        style: _readings((line, None if (one := line["accuracy"]) is None else 100 * one) for line in of_one)
        for style, of_one in enumerate(validations)
    }
    training = [Series(style, *training_accuracy(of_one)) for style, of_one in enumerate(events)]
    values = [value for _, of_one in accuracy.values() for value in of_one]
    chance_said, levels = chance_line(guessing, [*values, *(value for one in training for value in one.y)])
    options = {"within": (0, 100), "thin": training, "levels": levels}
    drawn = curves("validation-accuracy", "accuracy (%)", "accuracy, %", accuracy, **options)
    figures.append(replace(drawn, caption=drawn.caption + chance_said))
    loss = [_readings((line, line["loss"]) for line in of_one if line["event"] == "train") for of_one in events]
    block = math.ceil(max(len(values) for _, values in loss) / _POINTS)
    thinned = [Series(style, _means(steps, block), _means(values, block)) for style, (steps, values) in enumerate(loss)]
    validated = {style: _readings((line, line["loss"]) for line in of_one) for style, of_one in enumerate(validations)}
    drawn = curves("loss", "loss", "loss", validated, thin=thinned)
    smoothed = f" Each of their points is the mean of {block} consecutive values." if block > 1 else ""
    return [*figures, replace(drawn, caption=drawn.caption + smoothed)]


def training_accuracy(events: Sequence[Metric]) -> Readings:
    """Return the number of the last update of each epoch, and the epoch's mean training accuracy (%)."""
    last, accuracies = dict[int, int](), dict[int, list[float]]()
    for line in events:
        if line["event"] == "train" and (accuracy := line.get("accuracy")) is not None:
            last[line["epoch"]] = line["step"]
            accuracies.setdefault(line["epoch"], []).append(accuracy)
    return [*last.values()], [100 * mean(of_epoch) for of_epoch in accuracies.values()]


def _readings(found: Iterable[tuple[Metric, float | None]]) -> Readings:
    """Return the update number and the value of each metric line that has a value."""
    known = [(line["step"], value) for line, value in found if value is not None]
    return [step for step, _ in known], [value for _, value in known]


def _measure_per_step(networks: Sequence[TrainResult]) -> Figure:
    """Plot the metric over time steps for tasks other than classification."""
    series = [
        Series(style, time_axis(values), values)
        for style, network in enumerate(networks)
        if (values := network.per_step) and len(values) > 1
    ]
    kinds = {
        "rmse": "error (rmse)",
        "accuracy": "fraction of correct classes",
        "f1": "fraction of correct labels",
        "miou": "mean intersection over union",
        "instances": "intersection over union of the objects' pixels",
        "detect": "average precision at an overlap of 0.5",
    }
    keys = [((network.task or {}).get("kind"), network.metric) for network in networks]
    said = dict.fromkeys(kinds.get(kind or "", kinds.get(metric, metric)) for kind, metric in keys if metric)
    caption = f"{' and '.join(said).capitalize()} on the test set, at each time step or as known after it."
    within = (0.0, 1.0) if {network.metric for network in networks if network.per_step} <= _RANGES.keys() else None
    names, label = [network.name for network in networks], ", ".join(said)
    return lines("per-step", caption, names, series, within=within, x_label="time step", y_label=label)


def _parts(networks: Sequence[TrainResult]) -> list[Figure]:
    """Draw one figure for each metric with several values."""
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
    means = [sum(some) / len(some) for some in blocks]
    return [mean if math.isfinite(mean) else math.nan for mean in means]


def _accuracy_per_step(networks: Sequence[TrainResult], guessing: float | None) -> Figure:
    names = [network.name for network in networks]
    percent = [[100 * value for value in network.accuracy_per_step] for network in networks]
    said, levels = chance_line(guessing, [value for values in percent for value in values])
    caption = f"Test accuracy (%) after each time step, by the outputs so far.{said}"
    if max(map(len, percent)) < 2:
        return Figure(caption, [])
    series = [Series(i, time_axis(values), values) for i, values in enumerate(percent)]
    few = max(map(len, percent)) <= 30
    labels: dict[str, Any] = {"x_label": "time step", "y_label": "accuracy, %", "markers": few, "levels": levels}
    figure = lines("accuracy-per-step", caption, names, series, within=(0, 100), **labels)
    steps = max(map(len, percent))
    rows = [
        [name, *aligned([*values, *[None] * (steps - len(values))], decimals=2)]
        for name, values in zip(names, percent, strict=True)
    ]
    return replace(figure, headings=["network", *(f"t = {t}" for t in range(1, steps + 1))], rows=rows)


def _firing_rate(networks: Sequence[TrainResult]) -> Figure:
    caption = "Firing rate: the fraction of a neuron layer’s outputs that are not zero, over all time steps."
    # Synapses also have a density, of their inputs. Neurons are the layers with neuron operations or, in a network
    # without a deployed form, the layers that are listed as neurons.
    listed = [{neuron.name for neuron in network.neurons} for network in networks]
    values = [
        {layer.name: layer.density for layer in network.layers if layer.nops or layer.name in names}
        for network, names in zip(networks, listed, strict=True)
    ]
    return dots("firing-rate", caption, [n.name for n in networks], values, x_label="fraction of non-zero outputs")


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
    """Format a number in scientific notation with two significant digits.

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
    """Return the recipe fields that differ between networks, with a dash if a recipe lacks the field."""
    recipes = [recipe_fields(recipe) if isinstance(recipe := network.recipe, dict) else {} for network in networks]
    rows = [Origin(key, [_plain(recipe.get(key)) for recipe in recipes]) for key in union(recipes) if key != "name"]
    return [row for row in rows if len(set(row.values)) > 1]


def _plain(value: Any) -> str:
    if value is None:
        return DASH
    if isinstance(value, list):
        return ", ".join(_plain(item) for item in value) or DASH
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
