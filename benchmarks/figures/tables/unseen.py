"""Data that the chosen settings were not chosen for, beside baselines."""

from collections.abc import Sequence
from statistics import mean, stdev

from figures.markdown import table
from figures.registry import Record
from figures.registry import table as registered


def _spread(accuracies: Sequence[float]) -> str:
    """Mean ± standard deviation, in per cent."""
    return f"{100 * mean(accuracies):.1f} ± {100 * stdev(accuracies):.1f}"


@registered("unseen_series", "unseen_series")
def series(record: Record) -> str:
    sets = record["sets"]
    lines = [
        [name, f"{one['train']} / {one['test']}", f"{one['steps']}", f"{one['channels']}", _spread(one["forest"]),
         _spread(one["kernels"]), _spread(one["hdlif"]["accuracy"]), f"{max(one['hdlif']['train_seconds']):.0f}"]
        for name, one in sets.items()
    ]  # fmt: skip
    columns = [[one["forest"] for one in sets.values()], [one["kernels"] for one in sets.values()]]
    columns.append([one["hdlif"]["accuracy"] for one in sets.values()])
    means = [f"{100 * mean(map(mean, column)):.1f}" for column in columns]
    lines.append(["mean", "", "", "", *means, ""])
    heads = ["accuracy %", "train / test", "steps", "channels", "random forest", "1,000 random kernels", "hdlif"]
    return table([*heads, "training, at most (s)"], lines)


@registered("unseen_images", "unseen_images")
def images(record: Record) -> str:
    lines = [
        [name, _spread(one["resnet18"]), _spread(one["hdlif"]["accuracy"]), f"{max(one['hdlif']['train_seconds']):.0f}"]
        for name, one in record["sets"].items()
    ]
    heads = ["accuracy %, 300 training images", "ResNet-18, Adam", "hdlif", "training, at most (s)"]
    return table(heads, lines)
