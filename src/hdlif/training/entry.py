"""Check the arguments and samples of `Trainer`."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from hdlif.config import TrainingConfig
from hdlif.data import DatasetSamples, Samples, TensorSamples, as_samples
from hdlif.errors import DataError, InputError, brief
from hdlif.inputs.fitting import IGNORED
from hdlif.nn import evaluation_mode
from hdlif.nn.modes import left_as_it_was
from hdlif.training.callback import Callback
from hdlif.training.tasks import Task

_TARGETS = {
    "class": (torch.int64, "N", "a class of each sample"),
    "class_and_steps": (torch.int64, "N, 2", "a class of each sample and its number of time steps"),
    "classes": (torch.int64, "N, T", "a class of each sample at each step"),
    "values": (torch.float32, "N, n", "values of each sample"),
    "values_each": (torch.float32, "N, T, n", "values of each sample at each step"),
    "labels": (torch.float32, "N, n", "0 or 1 for each label of each sample"),
    "map": (torch.int64, "N, H, W", "a class at each pixel"),
    "instances": (torch.int64, "N, H, W", "the number of the object at each pixel"),
    "boxes": (torch.float32, "N, M, 5", "boxes in each image"),
    "boxes_each": (torch.float32, "N, T, M, 5", "boxes in each image at each step"),
}
"""Type, axes and meaning of the targets of N samples, for each kind of target; see `tasks.Target`."""


def check_parts(
    *, model: object, rule: object, task: object, config: object, callbacks: object, **counts: int | None
) -> None:
    """Raise `InputError` for the first invalid argument of `Trainer`.

    Args:
        counts: numbers, by name; None for the default.
    """
    _check_model(model)
    _check(rule, "rule", ("schedule", "__call__"), "a rule, such as hdlif.STBP()")
    _check(
        task,
        "task",
        ("time_steps", "outputs", "criterion", "tally"),
        "a task, such as hdlif.Classify(classes, time_steps=4)",
    )
    if not isinstance(config, TrainingConfig):
        raise InputError(
            f"config = {brief(config)}; give one, for example hdlif.TrainingConfig(epochs=8, learning_rate=0.1)"
        )
    if not isinstance(callbacks, Sequence) or isinstance(callbacks, str):
        raise InputError(f"callbacks = {brief(callbacks)}; give a list, such as [hdlif.Progress()]")
    for place, one in enumerate(callbacks):
        if not isinstance(one, Callback):
            raise InputError(f"callbacks[{place}] = {brief(one)}; give one that derives from hdlif.training.Callback")
    least = {"batch_size": 1, "threads": 1, "log_every": 1, "cores": 0, "seed": 0}
    for name, count in counts.items():
        if count is not None and (type(count) is not int or count < least[name]):
            raise InputError(f"{name} = {brief(count)}; give a whole number of at least {least[name]}")


def _check(given: object, name: str, attributes: Sequence[str], accepted: str) -> None:
    if isinstance(given, type):
        raise InputError(f"{name} = {given.__name__}, a class; give {accepted}")
    if not all(hasattr(given, one) for one in attributes):
        raise InputError(f"{name} = {brief(given)}; give {accepted}")


def _check_model(model: object) -> None:
    if not isinstance(model, nn.Module):
        raise InputError(f"model = {brief(model)}; give a torch.nn.Module, such as a hdlif.nn.Sequential")
    kind = type(model).__name__
    if type(model).forward is nn.Sequential.forward:
        raise InputError(f"model is a {kind} of torch, which has no time steps; give hdlif.nn.Sequential(*model)")
    try:
        inspect.signature(model.forward).bind(torch.empty(0), steps=range(1))
    except ValueError:
        # If the signature cannot be read, errors appear during training.
        return
    except TypeError as error:
        raise InputError(
            f"model: {kind}.forward is called with (x, steps=...), then with (x, state, steps=...), but does not "
            f"accept these arguments ({error}); give it forward(self, x, state=None, steps=None)"
        ) from error


def check_outputs(network: nn.Module, x: Tensor, task: Task) -> None:
    """Raise `InputError` unless a network's outputs for a sample [T or 1, 1, ...] have the form that the task needs."""
    with left_as_it_was(network, x.device), evaluation_mode(network), torch.no_grad():
        given = network(x[:1], steps=range(1))
    outputs = given[0] if isinstance(given, tuple) and len(given) == 2 else given
    names, wanted = task.outputs, getattr(task, "output_count", len(task.outputs))
    if outputs is given or not isinstance(outputs, Tensor) or outputs.ndim < 3:
        seen = f"a tensor {list(outputs.shape)}" if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
        raise InputError(
            f"the network returns {seen}; it must return (outputs, state), with outputs [steps, batch, {wanted}]"
        )
    if outputs.shape[2] != wanted:
        count = outputs.shape[2]
        raise InputError(
            f"the network has {count} outputs, but the task has {wanted}: {brief(list(names))}; give the last layer "
            f"{wanted} outputs, or the task {count}"
        )


def checked_samples(given: object, name: Literal["train", "validation"], task: Task) -> Samples:
    """Return the samples given to `Trainer.fit`, or raise an error if they are invalid or do not fit the task.

    There may be no validation samples.
    """
    samples = as_samples(given, name)
    if not len(samples):
        if name == "train":
            raise DataError("train has no samples; give at least one")
        return samples
    _check_target(samples, name, task)
    if not isinstance(samples, TensorSamples | DatasetSamples):
        return samples
    shown = samples.sequence(torch.arange(1))[0].shape[0]
    if shown not in (1, task.time_steps):
        raise DataError(
            f"{name} has {shown} time steps per sample, but the task has time_steps = {task.time_steps}; give the "
            f"task time_steps={shown}, or samples with other frames"
        )
    return samples


def _check_target(samples: Samples, name: str, task: Task) -> None:
    target = getattr(task, "target", "")
    # Drifting images have the labels of the entire images.
    wanted = _TARGETS.get("boxes" if target == "boxes_each" and samples.drift is not None else target)
    labels = samples.example[1] if isinstance(samples, DatasetSamples) else samples.labels
    if wanted is None:
        return
    dtype, axes, meaning = wanted
    count = len(task.outputs)
    # Data sets may store maps in fewer bits.
    fits = (labels.dtype == dtype or samples.located == "map") and labels.ndim == len(axes.split(", "))
    if not fits or (axes.endswith("n") and labels.shape[-1] != count):
        # An item of a data set has only its own axes.
        seen = f"{labels.dtype} [{', '.join(map(str, (len(samples), *labels.shape[1:])))}]"
        raise DataError(
            f"{name}: targets are {seen}; {type(task).__name__} expects {meaning}: give {dtype} "
            f"[{axes.replace('n', str(count))}]"
        )
    if "T" in axes.split(", ") and labels.shape[1] != task.time_steps:
        raise DataError(
            f"{name}: targets have {labels.shape[1]} steps, but the task has time_steps = {task.time_steps}; give one "
            "for each step"
        )
    if labels.is_floating_point() and not labels.isfinite().all():
        raise DataError(f"{name}: targets contain a value that is not finite; remove such samples")
    if meaning is _TARGETS["labels"][2] and not ((labels == 0) | (labels == 1)).all():
        raise DataError(
            f"{name}: targets of labels contain values other than 0 and 1; give 1 if a sample has the label, else 0"
        )
    if axes.endswith("M, 5") and (labels.shape[-1] != 5 or labels[..., 0].max() >= count):
        raise DataError(
            f"{name}: targets are {list(labels.shape)}, classes up to {labels[..., 0].max():g}; give each box as "
            f"(class, left, top, right, bottom), with a class in 0..{count - 1}, and -1 in rows without one"
        )
    if isinstance(samples, DatasetSamples) and dtype == torch.int64:
        # Other targets are unknown until they are read.
        samples.classes = count
    if axes == "N, 2":
        labels, steps = labels.unbind(1)
        if steps.min() < 1 or steps.max() > task.time_steps:
            raise DataError(
                f"{name}: targets have {int(steps.min())} to {int(steps.max())} steps; give 1 to {task.time_steps}"
            )
    if dtype != torch.int64 or meaning is _TARGETS["instances"][2]:
        return
    least, most = (int(one) for one in labels.aminmax())
    if least < (IGNORED if meaning is _TARGETS["map"][2] else 0) or most >= count:
        raise DataError(f"{name}: targets are {least}..{most}, but the task has {count} classes; give 0..{count - 1}")
