"""Render figures and tables of test results and of learned leaks and thresholds."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import Literal

from hdlif.graph.input_record import SAMPLE, SampleName
from hdlif.recipe.runs.summary import TrainResult
from hdlif.report import charts
from hdlif.report.charts import Series, Text
from hdlif.report.comparison import DASH, aligned
from hdlif.report.figures import Figure, dots, lines, panels, union
from hdlif.report.runs import Confusion, Early, Errors, Labels

# A larger matrix is unreadable, and wider than any screen.
_LARGEST_MATRIX = 20
_MOST_CLASSES = 40
# The number of characters, with spacing, in the headings of a table that takes half of a printed page.
_HALF_PAGE = 48
_BINS = 10
"""Number of ranges of the true value in which predictions are averaged."""
_MOST_PANELS = 12


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix for one network, with one row per true class.

    Each cell consists of its text and of its fraction of the row's total, which determines the shade. `of` is the noun
    for the counted items. `whole` is true if the table contains all classes.
    """

    name: str
    of: str
    headings: Sequence[str]
    rows: Sequence[tuple[str, Sequence[tuple[str, float]]]]
    whole: bool

    @property
    def broad(self) -> bool:
        """Return whether the table is too wide for two tables side by side on a printed page."""
        return sum(len(heading) + 2 for heading in self.headings) > _HALF_PAGE


def matrices(confusions: Mapping[str, Confusion], samples: SampleName = SAMPLE) -> list[Matrix]:
    """Return a confusion matrix for each network, or only the most frequent confusions if there are many classes."""
    return [_matrix(name, confusion.get("of", samples.many), confusion) for name, confusion in confusions.items()]


def _matrix(name: str, of: str, confusion: Confusion) -> Matrix:
    labels, counts = confusion["labels"], confusion["counts"]
    rows: list[tuple[str, list[tuple[str, float]]]]
    if len(labels) <= _LARGEST_MATRIX:
        rows = [
            (label, [(str(n) if n else "·", n / (sum(row) or 1)) for n in row])
            for label, row in zip(labels, counts, strict=True)
        ]
        return Matrix(name, of, ["true class", *labels], rows, whole=True)
    pairs = sorted(
        ((n, i, j) for i, row in enumerate(counts) for j, n in enumerate(row) if n and i != j),
        key=lambda pair: (-pair[0], pair[1:]),
    )
    rows = [
        (labels[i], [(text, 0.0) for text in (labels[j], str(n), f"{100 * n / sum(counts[i]):.1f} %")])
        for n, i, j in pairs[:_LARGEST_MATRIX]
    ]
    return Matrix(name, of, ["true class", "taken for", of, "of the class"], rows, whole=False)


@dataclass(frozen=True)
class Classes:
    """A table of accuracies, with one row per class and one column per network.

    Each cell consists of its text and of its error relative to the table's largest error, which determines the shade.
    """

    caption: str
    headings: Sequence[str]
    rows: Sequence[tuple[str, Sequence[tuple[str, float]]]]


def accuracy_by_class(names: Sequence[str], confusions: Mapping[str, Confusion]) -> Classes | None:
    """Return a table of accuracy by class, with the worst class first, or None if there are no confusions.

    If there are many classes, the table lists only the worst classes.
    """
    values = [_accuracies(confusions[name]) if name in confusions else {} for name in names]
    labels = sorted(union(values), key=lambda label: mean(of_one[label] for of_one in values if label in of_one))
    if not labels:
        return None
    caption = "Test accuracy of each class (%)"
    if len(labels) > _MOST_CLASSES:
        caption = f"Test accuracy (%) of the {_MOST_CLASSES} classes that are worst on average"
        labels = labels[:_MOST_CLASSES]
    most = max(100 - of_one[label] for of_one in values for label in labels if label in of_one) or 1.0
    rows = [(label, [_cell(of_one.get(label), most) for of_one in values]) for label in labels]
    return Classes(caption, ["class", *(names if len(names) > 1 else ["accuracy, %"])], rows)


def _cell(accuracy: float | None, most: float) -> tuple[str, float]:
    return (DASH, 0.0) if accuracy is None else (f"{accuracy:.1f}", (100 - accuracy) / most)


def _accuracies(confusion: Confusion) -> dict[str, float]:
    return {
        label: 100 * row[i] / sum(row)
        for i, (label, row) in enumerate(zip(confusion["labels"], confusion["counts"], strict=True))
        if sum(row)
    }


def chance(confusions: Mapping[str, Confusion]) -> float | None:
    """Return the accuracy (%) of always predicting the most common class, or None if it differs between networks.

    >>> chance({"net": {"labels": ["a", "b"], "counts": [[5, 1], [1, 1]]}})
    75.0
    """
    of_classes = [[sum(row) for row in one["counts"]] for one in confusions.values()]
    found = {max(counts) / sum(counts) for counts in of_classes if sum(counts)}
    return 100 * found.pop() if len(found) == 1 else None


def guessed(guessing: float | None) -> str:
    """Return the first words of a sentence on the accuracy of always predicting the most common class."""
    return "" if guessing is None else f" Always predicting the most common class is correct in {guessing:.3g} %"


def chance_line(guessing: float | None, values: Iterable[float]) -> tuple[str, list[float]]:
    """Return a sentence about the accuracy of always predicting the most common class, and its height in a chart.

    The height is omitted if drawing a line at it would compress the chart until differences between `values` disappear.
    """
    known = [*values]
    if guessing is None or not known:
        return "", []
    if min(known) - guessing > max(known) - min(known):
        return f"{guessed(guessing)}.", []
    return f"{guessed(guessing)}: the dashed line.", [guessing]


def accuracy_by_steps(names: Sequence[str], early: Mapping[str, Early]) -> Figure:
    """Plot accuracy against the mean number of time steps for each early-exit confidence."""
    found = [(style, name, early[name]) for style, name in enumerate(names) if name in early]
    series = [Series(style, one["steps"], [100 * share for share in one["accuracy"]]) for style, _, one in found]
    caption = (
        "Test accuracy (%) by the mean number of time steps with early exit: a sample is classified at the first "
        "step after which its class has a probability of at least a threshold, or after the last one. The threshold "
        "rises along the line, from 0 on the left (exit after the first step) to 1 on the right."
    )
    axes = {"x_label": "time steps used, mean", "y_label": "accuracy, %"}
    figure = lines("early", caption, names, series, markers=True, whole=False, within=(0, 100), **axes)
    rows = [
        [name, f"{confidence:g}", f"{steps:.2f} of {one['time_steps']}", f"{100 * accuracy:.2f}"]
        for _, name, one in found
        for confidence, steps, accuracy in zip(one["confidence"], one["steps"], one["accuracy"], strict=True)
    ]
    return replace(figure, headings=["network", "threshold", "time steps", "accuracy, %"], rows=rows)


def f1_by_label(names: Sequence[str], labels: Mapping[str, Labels]) -> Figure:
    """Draw the F1 score of each label, with a table of true positives, false positives and false negatives."""
    values = [dict(zip(one["names"], one["f1"], strict=True)) if (one := labels.get(name)) else {} for name in names]
    caption = "F1 of each label on the test set: 1 if it is predicted for exactly the samples that have it."
    figure = dots("f1-by-label", caption, names, values, x_label="F1", rows_are="label", within=(0, 1))
    rows = [
        [label, name, *aligned([f1], decimals=4), *map(str, counts)]
        for name in names
        if (one := labels.get(name))
        for label, f1, *counts in zip(
            one["names"], one["f1"], one["true_positives"], one["false_positives"], one["false_negatives"], strict=True
        )
    ]
    headings = ["label", "network", "F1", "correctly predicted", "wrongly predicted", "missed"]
    return replace(figure, headings=headings, rows=rows)


def predicted_against_true(names: Sequence[str], errors: Mapping[str, Errors]) -> Figure:
    """Plot the mean and standard deviation of predictions against true values, with one chart per quantity."""
    values = union(errors[name]["names"] for name in names if name in errors)
    caption = (
        "Predicted against true values of test samples: the mean over each tenth of the range of the true value; "
        "error bars show one standard deviation. A perfect network lies on the dashed diagonal."
    )
    if len(values) > _MOST_PANELS:
        caption += f" The first {_MOST_PANELS} of {len(values)} values."
    drawn, rows, several = [], [], len(values) > 1
    for place, value in enumerate(values):
        known = [
            (style, own, own["names"].index(value))
            for style, name in enumerate(names)
            if (own := errors.get(name)) and value in own["names"]
        ]
        if place < _MOST_PANELS:
            series = [_binned(*network) for network in known]
            points = [
                f"{names[one.style]}: {', '.join(f'{y:.4g} at {x:.4g}' for x, y in zip(one.x, one.y, strict=True))}"
                for one in series
            ]
            description = f"predicted at true, {'; '.join(points)}."
            text = Text(f"predicted-{place}", f"predicted against true {value}", description)
            with charts.chart((3.2, 2.8) if several else (4.2, 3.3), grid="both") as axes:
                for one in series:
                    charts.draw_errors(axes, one)
                    charts.mark(axes, one.style, one.x, one.y, markersize=4.5)
                limits = (*axes.get_xlim(), *axes.get_ylim())
                ends = min(limits), max(limits)
                axes.plot(ends, ends, color=charts.INK, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1.5)
                axes.set(xlim=ends, ylim=ends)
                title, x_label, ticks = f"predicted {value}", f"true {value}", charts.ticks
                drawn.append(
                    charts.finish(axes, text, title=title, x_label=x_label, x_ticks=ticks(5), y_ticks=ticks(5))
                )
        rows += [
            [value, names[style], *aligned([own["mean"][number], own["deviation"][number]])]
            for style, own, number in known
        ]
    headings = ["value", "network", "mean error", "deviation of the error"]
    return Figure(caption, drawn, headings, rows, small=several, broad=several, kind="predicted")


def _binned(style: int, errors: Errors, number: int) -> Series:
    """Return the mean and standard deviation of predictions in each non-empty bin of true values."""
    true, predicted = errors["true"][number], errors["predicted"][number]
    low, high = min(true, default=0.0), max(true, default=0.0)
    width = (high - low) / _BINS or 1.0
    bins: dict[int, list[tuple[float, float]]] = {}
    for pair in zip(true, predicted, strict=True):
        bins.setdefault(min(int((pair[0] - low) / width), _BINS - 1), []).append(pair)
    x, y, bars = [], [], []
    for _, pairs in sorted(bins.items()):
        middle = mean(p for _, p in pairs)
        x.append(mean(t for t, _ in pairs))
        y.append(middle)
        bars.append(math.sqrt(mean((p - middle) ** 2 for _, p in pairs)))
    return Series(style, x, y, bars)


_LEAST = 0.02
"""Minimum range of an axis: a smaller range would make noise look like a change."""

ByLayer = Mapping[str, Sequence[float]]


def per_step(networks: Sequence[TrainResult], quantity: Literal["leak", "threshold"], caption: str) -> Figure:
    """Plot the leaks or thresholds of each layer over time steps, before training (if known) and after it.

    If the values vary in some networks only, the caption lists the constant values of the other networks.
    """
    values = [_by_layer(network, quantity) for network in networks]
    starts = [_by_layer(network, f"initial_{quantity}") for network in networks]
    fixed = [_only(of_one, start) for of_one, start in zip(values, starts, strict=True)]
    drawn: list[ByLayer] = list(values)
    if any(of_one and one is None for of_one, one in zip(values, fixed, strict=True)):
        drawn = [{} if one is not None else of_one for of_one, one in zip(values, fixed, strict=True)]
        said = [f"{network.name} ({one:g})" for network, one in zip(networks, fixed, strict=True) if one is not None]
        if said:
            caption += f" Not drawn, because it is the same everywhere: {', '.join(said)}."
    shown: list[ByLayer] = [start if of_one else {} for start, of_one in zip(starts, drawn, strict=True)]
    if any(shown):
        caption += " The thin dashed line is the value before training."
    ranges = {
        layer: (min(numbers), max(numbers))
        for layer in union(drawn)
        if (numbers := [number for of_one in (*drawn, *shown) for number in of_one.get(layer, ())])
    }
    if not ranges:
        return Figure(caption, [])
    # All panels span ranges of equal size, each around its own values, so changes can be compared.
    half = 0.58 * max(_LEAST, *(high - low for low, high in ranges.values()))
    limits = {layer: ((low + high) / 2 - half, (low + high) / 2 + half) for layer, (low, high) in ranges.items()}
    caption += (
        " The last value of each line is printed at its end. Units have the same length in all panels, but each axis "
        "begins near its own values, not at 0."
    )
    names = [network.name for network in networks]
    return panels(quantity, quantity, caption, names, drawn, limits=limits, starts=shown, ends=True)


def _by_layer(network: TrainResult, field: str) -> ByLayer:
    return {neuron.name: numbers for neuron in network.neurons if (numbers := getattr(neuron, field))}


def _only(values: ByLayer, starts: ByLayer) -> float | None:
    """Return the value that all layers share before and after training, or None if the values differ."""
    found = {number for of_one in (values, starts) for row in of_one.values() for number in row}
    return found.pop() if len(found) == 1 else None
