"""Data that the chosen settings were not chosen for, beside baselines."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev

from figures.markdown import table
from figures.records import record as record_of
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


def left_out(accuracies: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    """By set, the setting whose mean accuracy on the other sets is the highest.

    Args:
        accuracies: by setting and set.
    """
    sets = next(iter(accuracies.values()))
    return {
        one: max(accuracies, key=lambda setting: mean(accuracies[setting][other] for other in sets if other != one))
        for one in sets
    }


@registered("unseen_series_left_out", "unseen_series_settings")
def settings(record: Record) -> str:
    """Each setting's accuracy with seed 42, and that of the setting which the other sets choose."""
    chosen = {name: one["hdlif"]["accuracy"][0] for name, one in record_of("unseen_series")["sets"].items()}
    by_setting = {"as chosen": chosen, **record["settings"]}
    of_others = left_out(by_setting)
    lines = [
        [name, *(f"{100 * one[name]:.1f}" for one in by_setting.values()), f"{100 * by_setting[others][name]:.1f}"]
        for name, others in of_others.items()
    ]
    means = [mean(one.values()) for one in by_setting.values()]
    means.append(mean(by_setting[others][name] for name, others in of_others.items()))
    heads = ["accuracy %, seed 42", *by_setting, "what the other five choose"]
    return table(heads, [*lines, ["mean", *(f"{100 * one:.1f}" for one in means)]])


@registered("unseen_images", "unseen_images")
def images(record: Record) -> str:
    lines = [
        [name, _spread(one["resnet18"]), _spread(one["hdlif"]["accuracy"])] for name, one in record["sets"].items()
    ]
    return table(["accuracy %, 300 training images", "ResNet-18, Adam", "hdlif"], lines)
