"""Compute predictions from a network's outputs according to the task record."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.graph.graph import MAP_TASKS, Graph, TaskRecord
from hdlif.inputs.fitting import boxes_to_picture
from hdlif.runtime.boxes import Boxes, agreement, decode_boxes, highest_score
from hdlif.runtime.images import Placed
from hdlif.runtime.masks import count_pixels, mask_of, objects_in

Floats = NDArray[np.float32]
Answer = dict[str, Any]


def answers(
    outputs: Floats, record: TaskRecord, labels: Sequence[str], placed: Sequence[Placed | None] = ()
) -> Iterator[Answer | None]:
    """Yield the prediction for each sample, or None if an output is not finite.

    classify: {"class", "label", "probability", "logits"}, with the logits that determine the class.
    sequence: {"prediction": the label of each step, "probability": its probability}, without the steps within the
        delay.
    regress: {"prediction": {name: value}}, or {name: [value of each step]}; for forecasts also "ahead", the number of
        steps by which each value lies ahead of its step.
    multilabel: {"prediction": the predicted labels, "probabilities": {label: its probability}}.
    segment: {"pixels": {label: number of pixels}, "mask": uint8 [h, w], the class of each pixel}.
    instances: {"objects": their number, "mask": uint16 [h, w], the number of the object at each pixel, or 0}.
    detect: {"boxes": [{"label", "score", "box": [left, top, right, bottom]}]}, the highest score first; if there are
        boxes at each step, those at the last step. Without boxes also "highest_score", which is below the threshold.

    Args:
        outputs: outputs of all steps, [T, B, n] or [T, B, n, H, W].
        placed: for each sample, the image's position on the input, for masks or boxes in the image's own pixels.
            Without it the mask is H x W; boxes require it.
    """
    with np.errstate(all="ignore"):
        for sample in range(outputs.shape[1]):
            own = outputs[:, sample]
            if not np.isfinite(own).all():
                yield None
            elif record.kind == "detect":
                yield _boxed(own, record, labels, placed[sample] if placed else None)
            elif record.kind in MAP_TASKS:
                yield _masked(own, record, labels, placed[sample] if placed else None)
            else:
                yield _KINDS[record.kind](own, record, labels)


def uncounted(record: TaskRecord) -> int:
    """Return the number of initial time steps without a prediction."""
    return 0 if record.combine == "last" else record.delay


def _counted(outputs: Floats, record: TaskRecord) -> Floats:
    """Return the outputs that determine the prediction, from only the last step or from all steps after the delay."""
    return outputs[-1:] if record.combine == "last" else outputs[uncounted(record) :]


def _classified(outputs: Floats, record: TaskRecord, labels: Sequence[str]) -> Answer | None:
    counted = _counted(outputs, record)
    logits, chances = counted.mean(axis=0), probabilities(counted[:, None])[-1, 0]
    if not np.isfinite([*logits, *chances]).all():
        return None
    winner = int(logits.argmax())
    return {
        "class": winner,
        "label": labels[winner],
        "probability": float(chances[winner]),
        "logits": [float(logit) for logit in logits],
    }


def _labelled(outputs: Floats, record: TaskRecord, labels: Sequence[str]) -> Answer:
    counted = _counted(outputs, record)
    # Treat each step as a sample of one step.
    chances = probabilities(counted[None])[0]
    winners = counted.argmax(-1)
    return {
        "prediction": [labels[winner] for winner in winners],
        "probability": [float(row[winner]) for row, winner in zip(chances, winners, strict=True)],
    }


def _valued(outputs: Floats, record: TaskRecord, labels: Sequence[str]) -> Answer | None:
    mean, std = np.array(record.mean, np.float32), np.array(record.std, np.float32)
    counted = _counted(outputs, record)
    values = (counted if record.combine == "each" else counted.mean(axis=0)) * std + mean
    if not np.isfinite(values).all():
        return None
    ahead = {"ahead": record.ahead} if record.ahead else {}
    return {"prediction": dict(zip(labels, values.T.astype(float).tolist(), strict=True)), **ahead}


def _several(outputs: Floats, record: TaskRecord, labels: Sequence[str]) -> Answer:
    taken = _counted(outputs, record).mean(axis=0)
    # For a large negative output the power is infinite, and the probability 0.
    chances = 1 / (1 + np.exp(-taken))
    return {
        "prediction": [label for label, chance in zip(labels, chances, strict=True) if chance >= record.threshold],
        "probabilities": {label: float(chance) for label, chance in zip(labels, chances, strict=True)},
    }


def _masked(outputs: Floats, record: TaskRecord, labels: Sequence[str], placed: Placed | None) -> Answer | None:
    logits = _counted(outputs, record).mean(axis=0)
    if not np.isfinite(logits).all():
        return None
    if record.kind == "instances":
        objects = objects_in(logits, placed)
        return {"objects": int(objects.max(initial=0)), "mask": objects}
    mask = mask_of(logits, placed)
    return {"pixels": dict(zip(labels, count_pixels(mask, len(labels)), strict=True)), "mask": mask}


def _boxed(outputs: Floats, record: TaskRecord, labels: Sequence[str], placed: Placed | None) -> Answer:
    assert placed is not None, "boxes need the size of the input"
    counted = _counted(outputs, record)
    last = counted[-1] if record.combine == "each" else counted.mean(axis=0)
    size = placed.target[1], placed.target[0]
    found = _decoded(last, record, len(labels), size)
    if not len(found):
        return {"boxes": [], "highest_score": highest_score(last, len(labels), record.strides, size)}
    corners = boxes_to_picture(found.corners, placed.size, placed.target, placed.fit)
    rows = zip(found.labels.tolist(), found.scores.tolist(), corners.astype(float).tolist(), strict=True)
    return {"boxes": [{"label": labels[label], "score": score, "box": box} for label, score, box in rows]}


def _decoded(outputs: Floats, record: TaskRecord, classes: int, size: tuple[int, int]) -> Boxes:
    return decode_boxes(
        outputs,
        classes=classes,
        strides=record.strides,
        size=size,
        threshold=record.threshold,
        overlap=record.overlap,
    )


_KINDS: Mapping[str, Callable[[Floats, TaskRecord, Sequence[str]], Answer | None]] = {
    "classify": _classified,
    "sequence": _labelled,
    "regress": _valued,
    "multilabel": _several,
}


def said_so_far(outputs: Floats, record: TaskRecord) -> Floats:
    """Return the prediction after each step, [T, n]: probabilities for classes or labels, otherwise predicted values.

    If a task predicts from the mean over time, each prediction uses the mean of the steps so far.

    Args:
        outputs: outputs [T, n] of one sample.
    """
    taken: NDArray[Any] = outputs
    if record.combine == "mean":
        steps = np.arange(1, len(outputs) + 1, dtype=np.float32)[:, None]
        taken = np.cumsum(outputs, axis=0, dtype=np.float32) / steps
    said: NDArray[Any]
    with np.errstate(all="ignore"):
        if record.kind == "regress":
            said = taken * np.array(record.std, np.float32) + np.array(record.mean, np.float32)
        elif record.kind == "multilabel":
            said = 1 / (1 + np.exp(-taken))
        else:
            # Treat each step as a sample of one step.
            said = probabilities(taken[None])[0]
    return said.astype(np.float32)


ALIKE = 1e-3
"""Largest difference between equal values, in standard deviations."""


AGREEMENT_OF: Mapping[str, str] = {"sequence": "steps", "segment": "pixels", "instances": "pixels", "detect": "boxes"}
"""Unit of the fraction that `alike` returns, by task; for other tasks it is samples."""


def alike(one: Floats, other: Floats, graph: Graph) -> NDArray[np.float64]:
    """Return for each sample the fraction of predictions on which two networks agree, [B] in 0..1.

    If the prediction is one class or a set of labels, the fraction is 0 or 1. For a class per step or pixel, it is the
    fraction of steps or pixels with equal classes. Regression predictions agree if every value differs by at most
    `ALIKE` standard deviations. For boxes, the fraction is the result of `boxes.agreement`, averaged over steps if
    boxes are predicted at each step.

    Args:
        graph: graph of either network.
    """
    record = graph.task
    with np.errstate(all="ignore"):
        first, second = (_counted(outputs, record) for outputs in (one, other))
        steps = len(first) if record.combine == "mean" else 1
        if record.combine != "each":
            # Sum in step order, because different rounding could break ties differently.
            first, second = (outputs.cumsum(0)[-1:] for outputs in (first, second))
        if record.kind == "regress":
            same = (np.abs(first - second) <= ALIKE * steps).all(-1).all(0)
        elif record.kind == "multilabel":
            said = [1 / (1 + np.exp(-sums / steps)) >= record.threshold for sums in (first, second)]
            same = (said[0] == said[1]).all(-1).all(0)
        elif record.kind in MAP_TASKS:
            same = (first.argmax(2) == second.argmax(2)).mean((0, 2, 3))
        elif record.kind == "detect":
            sizes = len(graph.labels), graph.input.shape[1:]
            pairs = np.stack([first, second], 2) / np.float32(steps)
            same = np.array(
                [[agreement(*(_decoded(one, record, *sizes) for one in pair)) for pair in step] for step in pairs]
            )
            same = same.mean(0)
        else:
            same = (first.argmax(-1) == second.argmax(-1)).mean(0)
    return np.asarray(same, np.float64)


def in_words(answer: Answer) -> str:
    """Format a prediction as a short text; of a forecast, only the steps after the input's last step.

    >>> in_words({"prediction": ["walk", "walk", "sit"], "probability": [0.9, 0.8, 0.7]})
    'walk 1-2, sit 3'
    >>> in_words({"prediction": {"height": 1.8, "weight": [70.0, 71.25]}})
    'height 1.8, weight 70 71.25'
    >>> in_words({"prediction": {"load": [t / 4 for t in range(96)]}})
    'load 0 0.25 0.5 … 23.75 (96 steps)'
    >>> in_words({"prediction": {"load": [2.0, 2.5, 3.0, 3.5]}, "ahead": 2})
    'next 2 steps: load 3 3.5'
    >>> in_words({"prediction": [], "probabilities": {"cat": 0.1}})
    'none of cat'
    >>> in_words({"pixels": {"ground": 75, "cell": 25}})
    'ground 75 pixels (75.0%), cell 25 pixels (25.0%)'
    >>> in_words({"objects": 3, "file": "x.answer.png"})
    '3 objects; x.answer.png'
    """
    where = f"; {answer['file']}" if "file" in answer else ""
    if "boxes" in answer:
        if not answer["boxes"]:
            return f"no box (highest score {answer['highest_score']:.2f}){where}"
        boxes = Counter(box["label"] for box in answer["boxes"])
        return ", ".join(f"{count} {label}" for label, count in sorted(boxes.items())) + where
    if "objects" in answer:
        return f"{answer['objects']:,} object{'s' * (answer['objects'] != 1)}{where}"
    if "pixels" in answer:
        pixels = answer["pixels"]
        whole = max(1, sum(pixels.values()))
        counts = (f"{label} {count:,} pixels ({count / whole:.1%})" for label, count in pixels.items())
        return ", ".join(counts) + where
    if "label" in answer:
        return f"{answer['label']} ({answer['probability']:.1%})"
    said = answer["prediction"]
    if ahead := answer.get("ahead"):
        later = ", ".join(f"{name} {_number(values[-ahead:])}" for name, values in said.items())
        return f"next {'step' if ahead == 1 else f'{ahead} steps'}: {later}"
    if isinstance(said, dict):
        return ", ".join(f"{name} {_number(value)}" for name, value in said.items())
    if "probabilities" in answer:
        chances = answer["probabilities"]
        return ", ".join(f"{label} ({chances[label]:.1%})" for label in said) or f"none of {', '.join(chances)}"
    runs, begin = [], 1
    for label, steps in groupby(said):
        end = begin + sum(1 for _ in steps) - 1
        runs.append(f"{label} {begin}" if begin == end else f"{label} {begin}-{end}")
        begin = end + 1
    return ", ".join(runs)


_MOST_STEPS = 8
"""Largest number of steps for which all values are printed."""


def _number(value: float | Sequence[float]) -> str:
    """Format one value, or one value per step, with an ellipsis if there are many steps."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if len(value) <= _MOST_STEPS:
        return " ".join(f"{one:.6g}" for one in value)
    return f"{' '.join(f'{one:.6g}' for one in value[:3])} … {value[-1]:.6g} ({len(value)} steps)"


def probabilities(logits: Floats) -> Floats:
    """Return the softmax of the mean logits after each step, [T, B, classes]; the last row is the final prediction.

    >>> import numpy as np
    >>> from hdlif.runtime import probabilities
    >>> probabilities(np.zeros((4, 1, 2), np.float32))[-1].tolist()
    [[0.5, 0.5]]

    Args:
        logits: float32 [T, B, classes] from `Session.run`.
    """
    counts = np.arange(1, len(logits) + 1, dtype=np.float32)[:, None, None]
    means = np.cumsum(logits, axis=0, dtype=np.float32) / counts
    powers = np.exp(means - means.max(axis=-1, keepdims=True))
    result: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return result
