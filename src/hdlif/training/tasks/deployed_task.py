"""The task of a deployed network."""

from __future__ import annotations

from typing import Any

from hdlif.graph.graph import Graph
from hdlif.training.tasks.classify import Classify
from hdlif.training.tasks.detect import Detect
from hdlif.training.tasks.multilabel import Multilabel
from hdlif.training.tasks.regress import Regress
from hdlif.training.tasks.segment import Instances, Segment
from hdlif.training.tasks.sequence import LabelSequence
from hdlif.training.tasks.task import Task


def task_of(graph: Graph) -> Task:
    """Return the task that is recorded in a deployed graph.

    Args:
        graph: result of `hdlif.graph.artefact.load`.
    """
    record, common = graph.task, (graph.labels, graph.time_steps)
    combine: Any = record.combine
    match record.kind:
        case "sequence":
            return LabelSequence(*common, delay=record.delay)
        case "regress":
            return Regress(*common, record.mean, record.std, combine=combine, delay=record.delay, ahead=record.ahead)
        case "detect":
            boxes: Any = {"strides": record.strides, "threshold": record.threshold, "overlap": record.overlap}
            return Detect(*common, size=(graph.input.shape[1], graph.input.shape[2]), combine=combine, **boxes)
        case "multilabel":
            return Multilabel(*common, combine=combine, threshold=record.threshold)
        case "segment":
            return Segment(*common, combine=combine)
        case "instances":
            return Instances(*common, combine=combine)
        case _:
            return Classify(*common, combine=combine, own_steps=graph.input.shortest > 0)
