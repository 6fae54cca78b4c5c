"""How networks that say several labels of a sample find and miss each of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hdlif.report.comparison import aligned
from hdlif.report.figures import Figure, dots
from hdlif.report.runs import Labels


def f1_by_label(names: Sequence[str], labels: Mapping[str, Labels]) -> Figure:
    """A row for each label, beside the counts behind it."""
    values = [dict(zip(one["names"], one["f1"], strict=True)) if (one := labels.get(name)) else {} for name in names]
    caption = "F1 of each label on the test set: 1 where it is said of just the samples that have it."
    figure = dots("f1-by-label", caption, names, values, x_label="F1", rows_are="label", within=(0, 1))
    rows = [
        [label, name, *aligned([f1], decimals=4), *map(str, counts)]
        for name in names
        if (one := labels.get(name))
        for label, f1, *counts in zip(
            one["names"], one["f1"], one["true_positives"], one["false_positives"], one["false_negatives"], strict=True
        )
    ]
    headings = ["label", "network", "F1", "rightly said", "wrongly said", "missed"]
    return replace(figure, headings=headings, rows=rows)
