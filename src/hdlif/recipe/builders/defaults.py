"""Derive a default recipe for custom data from the kind and sizes of the data.

Choices depend only on the kind of data and on the numbers of steps, channels, training samples and classes. The
machine, names, class order and units have no effect, so the same data give the same recipe everywhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hdlif.data import OwnData

UPDATES = 800
"""Minimum number of updates of a training run; if few samples make epochs short, there are more epochs."""
EPOCHS = 10
"""Minimum number of epochs."""
BATCHES = 12
"""Number of batches per epoch, if the limits in `BATCH` allow it."""
BATCH = (8, 64)
"""Minimum and maximum batch size."""
_VALIDATION = "data.split.validation"
FEWEST_VALIDATED = 60
"""Minimum number of validation samples: the standard error of a fraction is then at most 0.065."""
LONGEST, SHORTENED = 512, 256
"""Number of steps above which a time series is resampled, and number of steps after resampling."""
KERNEL = 9
"""Kernel size of a convolution over time."""
WIDTHS = (64, 64, 64)
MOST_BYTES = 2 * 10**9
"""Maximum bytes of activations for which training uses all steps (STBP)."""
_PER_NEURON = 8
"""Number of float32 values saved per neuron and step: its input, output, state, and the input of its norm."""


@dataclass(frozen=True)
class Choice:
    """A value chosen for a recipe's key, such as "training.epochs", and the reason for the choice."""

    key: str
    value: Any
    reason: str

    @property
    def override(self) -> str:
        """Format the choice as `key=value`, the form that `--set` accepts."""
        return f"{self.key}={json.dumps(self.value)}"

    def __str__(self) -> str:
        return f"  {self.key} = {json.dumps(self.value)}: {self.reason}"


def choices(found: OwnData, overrides: Iterable[str] = ()) -> list[Choice]:
    """Return the choices derived from the data, in the order of a recipe's keys, without keys that are overridden."""
    given = _values_by_key(overrides)
    return [one for one in _choices(found, given) if not any(_covers(key, one.key) for key in given)]


def trains_on_validation(found: OwnData, overrides: Iterable[str] = ()) -> bool:
    """Return whether validation samples that were split off here are too few to choose an epoch, and train instead.

    They do not if an override sets their fraction.
    """
    too_few = "validation" in found.seen.get("split", ()) and found.count("validation") < FEWEST_VALIDATED
    return too_few and not any(_covers(key, _VALIDATION) for key in _values_by_key(overrides))


def _values_by_key(overrides: Iterable[str]) -> dict[str, str]:
    return {key.strip(): value for key, _, value in (override.partition("=") for override in overrides)}


def _choices(found: OwnData, given: Mapping[str, str]) -> list[Choice]:
    samples, validated = found.count("train"), found.count("validation")
    chosen: list[Choice] = []
    if trains_on_validation(found, given):
        samples += validated
        reason = f"{validated} samples are too few to choose an epoch; all samples train, and the last epoch is kept"
        chosen.append(Choice(_VALIDATION, 0, reason))
    batch = batch_size(samples)
    per_epoch = samples // batch
    epochs = max(EPOCHS, math.ceil(UPDATES / per_epoch))
    own = given.get("training.epochs", "").strip()
    trained = int(own) if own.isdecimal() else epochs
    return [
        *chosen,
        Choice("data.batch_size", batch, f"{samples} training samples"),
        *(_for_places(found) if found.located else _OF_KINDS[found.input.kind](found, batch, given.keys())),
        Choice("training.epochs", epochs, f"{epochs * per_epoch:,} updates of {batch} samples"),
        Choice("training.warmup_epochs", min(math.ceil(trained / 30), max(trained - 1, 0)), "1/30 of the epochs"),
    ]


def batch_size(samples: int) -> int:
    """Return the batch size: a power of two in the range `BATCH`, about a twelfth of the number of samples.

    >>> [batch_size(samples) for samples in (5, 28, 300, 10_000)]
    [4, 8, 16, 64]
    """
    least, most = BATCH
    wanted = min(max(samples // BATCHES, least), most, samples)
    return 1 << (wanted.bit_length() - 1)


def _rule(steps: int, batch: int, values: int) -> Choice:
    """Choose STBP if a batch's activations at all steps fit in memory, or else the longest windows that fit.

    `values` is the number of values in all layers at one step of one sample.
    """
    per_step = 4 * _PER_NEURON * values * batch
    if (size := per_step * steps) <= MOST_BYTES:
        reason = f"the exact gradient; the activations of {steps} steps take about {size / 1e6:,.0f} MB"
        return Choice(
            "rule", {"kind": "stbp"}, f"{reason} (an online rule would be used above {MOST_BYTES / 1e6:,.0f} MB)"
        )
    length = max(1, MOST_BYTES // per_step)
    if length == 1:
        return Choice("rule", {"kind": "stochastic_step"}, f"one step takes about {per_step / 1e6:,.0f} MB")
    reason = f"the activations of {length} steps take about {MOST_BYTES / 1e6:,.0f} MB, of {steps} {size / 1e6:,.0f} MB"
    return Choice("rule", {"kind": "stochastic_window", "length": length}, reason)


def _optimizer() -> Iterator[Choice]:
    yield Choice("training.optimizer", {"kind": "adamw"}, "needs no tuning of its learning rate to the data")
    yield Choice("training.learning_rate", 0.003, "for AdamW")
    yield Choice("training.weight_decay", 0.01, "for AdamW")


def _for_series(found: OwnData, batch: int, keys: Collection[str]) -> Iterator[Choice]:
    channels, steps, _ = found.input.shape
    has_rates = bool(found.input.rates or {"data.rate", "data.resample"} & {*keys})
    if steps > LONGEST and not has_rates and found.input.sound is None and found.target_steps is None:
        yield Choice("data.rate", steps, "the length of a time series, used instead of a sampling rate")
        yield Choice("data.resample", SHORTENED, f"time series of more than {LONGEST} steps are shortened")
        steps = SHORTENED
    yield Choice("time_steps", steps, "as many as a time series has")
    kernel = min(KERNEL, steps)
    model = {"kind": "conv1d", "widths": list(WIDTHS), "kernel": kernel}
    yield Choice("model", model, f"causal convolutions over {kernel} steps of {channels} channel{'s' * (channels > 1)}")
    yield Choice("norm", {"kind": "affine"}, "the same in training and as deployed, at every step")
    yield Choice("neuron", {"kind": "hdlif", "per_step": False}, "one leak and threshold for all steps")
    yield _rule(steps, batch, kernel * sum(WIDTHS))
    yield from _optimizer()


def _for_tables(found: OwnData, batch: int, keys: Collection[str]) -> Iterator[Choice]:
    yield Choice("norm", {"kind": "affine"}, "the same in training and as deployed, with any batch")
    yield Choice("rule", {"kind": "stbp"}, "the exact gradient; a row contains few values")
    yield from _optimizer()


def _for_images(found: OwnData, batch: int, keys: Collection[str]) -> Iterator[Choice]:
    channels, height, width = found.input.shape
    augment = ["crop", "flip"] if channels == 3 else ["shift"]
    reason = (
        "a mirrored colour image keeps its class"
        if channels == 3
        else "grey images may show letters or digits, which mirroring changes"
    )
    yield Choice("data.augment", augment, reason)
    yield _rule(4, batch, _residual_values(height, width))
    yield from _optimizer()


def _for_places(found: OwnData) -> Iterator[Choice]:
    yield Choice(
        "data.size",
        list(found.input.shape[1:]),
        "the size of the images, or of the base recipe if they are large or differ",
    )


def _for_events(found: OwnData, batch: int, keys: Collection[str]) -> Iterator[Choice]:
    _, height, width = found.input.shape
    yield _rule(8, batch, _residual_values(height, width))
    yield from _optimizer()


def _residual_values(height: int, width: int) -> int:
    """Return the number of values in the base recipe's residual network at one step.

    The first stage of the residual network has two layers with 16 channels at the resolution of the images. Each later
    stage has half as many values as the stage before.
    """
    return 2 * (2 * 16 * height * width)


_OF_KINDS = {"image": _for_images, "series": _for_series, "table": _for_tables, "events": _for_events}


_BELONGS = {
    "training.learning_rate": "training.optimizer",
    "training.weight_decay": "training.optimizer",
}
"""Keys that are chosen only if another key is not overridden; otherwise, the base recipe sets them."""


def _covers(given: str, key: str) -> bool:
    """Return whether overriding `given` also overrides `key` or the key on which the choice for `key` depends."""
    return any(one == given or one.startswith(f"{given}.") for one in (key, _BELONGS.get(key, key)))
