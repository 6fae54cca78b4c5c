"""Tasks: the loss, prediction, metrics and report data for each kind of target."""

from hdlif.training.tasks.class_weights import balanced_weights
from hdlif.training.tasks.classify import Chosen, Classify, Confusion
from hdlif.training.tasks.deployed_task import task_of
from hdlif.training.tasks.detect import Detect
from hdlif.training.tasks.extra_metrics import Each, finite
from hdlif.training.tasks.measured_task import Measured
from hdlif.training.tasks.multilabel import Multilabel
from hdlif.training.tasks.regress import Regress
from hdlif.training.tasks.segment import Instances, Segment
from hdlif.training.tasks.sequence import LabelSequence
from hdlif.training.tasks.task import (
    AnswerCounter,
    Drawing,
    Evaluation,
    RightBy,
    Tally,
    Target,
    Task,
    Total,
    figures_as_json,
)

__all__ = [
    "AnswerCounter",
    "Chosen",
    "Classify",
    "Confusion",
    "Detect",
    "Drawing",
    "Each",
    "Evaluation",
    "Instances",
    "LabelSequence",
    "Measured",
    "Multilabel",
    "Regress",
    "RightBy",
    "Segment",
    "Tally",
    "Target",
    "Task",
    "Total",
    "balanced_weights",
    "figures_as_json",
    "finite",
    "task_of",
]
