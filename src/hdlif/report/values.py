"""What networks that predict values are wrong by: predicted against true values, with their scatter."""

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from hdlif.report import charts
from hdlif.report.charts import Series, Text
from hdlif.report.comparison import aligned
from hdlif.report.figures import Figure, union
from hdlif.report.runs import Errors

_BINS = 10
"""Ranges of the true value whose predictions are averaged."""
_MOST_PANELS = 12


def predicted_against_true(names: Sequence[str], errors: Mapping[str, Errors]) -> Figure:
    """A panel for each value: the mean prediction over ranges of the true value, a bar its deviation to each side."""
    values = union(errors[name]["names"] for name in names if name in errors)
    caption = (
        "Predicted against true values of test samples: the mean over each tenth of the range of the true value; a bar "
        "is one standard deviation to each side. A perfect network lies on the diagonal, which is dashed."
    )
    if len(values) > _MOST_PANELS:
        caption += f" The first {_MOST_PANELS} of {len(values)} values."
    drawn, rows = [], []
    for place, value in enumerate(values):
        drawn_by = [(style, errors[name]) for style, name in enumerate(names) if name in errors]
        known = [(style, one) for style, one in drawn_by if value in one["names"]]
        if place < _MOST_PANELS:
            series = [_binned(style, one, one["names"].index(value)) for style, one in known]
            text = Text(f"predicted-{place}", f"predicted against true {value}", _in_words(names, series))
            size = (4.2, 3.3) if len(values) == 1 else (3.2, 2.8)
            drawn.append(
                Markup(charts.scatter(text, series, x_label=f"true {value}", y_label=f"predicted {value}", size=size))
            )
        for style, one in known:
            number = one["names"].index(value)
            rows.append([value, names[style], *aligned([one["mean"][number], one["deviation"][number]])])
    headings, several = ["value", "network", "mean error", "deviation of the error"], len(values) > 1
    return Figure(caption, drawn, headings, rows, small=several, broad=several, kind="predicted")


def _in_words(names: Sequence[str], series: Sequence[Series]) -> str:
    points = [f"{names[one.style]}: {', '.join(map(_point, one.x, one.y))}" for one in series]
    return f"predicted at true, {'; '.join(points)}."


def _point(true: float, predicted: float) -> str:
    return f"{predicted:.4g} at {true:.4g}"


def _binned(style: int, errors: Errors, number: int) -> Series:
    """Mean and deviation of the predictions in each range of the true value that has some."""
    true, predicted = errors["true"][number], errors["predicted"][number]
    low, high = min(true, default=0.0), max(true, default=0.0)
    width = (high - low) / _BINS or 1.0
    bins: dict[int, list[tuple[float, float]]] = {}
    for pair in zip(true, predicted, strict=True):
        bins.setdefault(min(int((pair[0] - low) / width), _BINS - 1), []).append(pair)
    x, y, bars = [], [], []
    for _, pairs in sorted(bins.items()):
        mean = sum(p for _, p in pairs) / len(pairs)
        x.append(sum(t for t, _ in pairs) / len(pairs))
        y.append(mean)
        bars.append(math.sqrt(sum((p - mean) ** 2 for _, p in pairs) / len(pairs)))
    return Series(style, x, y, bars)
