"""What is learned: criterion, combination over time, metrics, and what a report draws, of one kind of target each."""

from hdlif.tasks.answer_counter import AnswerCounter, RightBy
from hdlif.tasks.class_weights import balanced_weights
from hdlif.tasks.classify import Chosen, Classify, Confusion
from hdlif.tasks.deployed_task import task_of
from hdlif.tasks.extra_metrics import Each, finite
from hdlif.tasks.measured_task import Measured
from hdlif.tasks.multilabel import Multilabel
from hdlif.tasks.regress import Regress
from hdlif.tasks.sequence import LabelSequence
from hdlif.tasks.task import Drawing, Evaluation, Tally, Target, Task, Total, figures_as_json

__all__ = [
    "AnswerCounter",
    "Chosen",
    "Classify",
    "Confusion",
    "Drawing",
    "Each",
    "Evaluation",
    "LabelSequence",
    "Measured",
    "Multilabel",
    "Regress",
    "RightBy",
    "Tally",
    "Target",
    "Task",
    "Total",
    "balanced_weights",
    "figures_as_json",
    "finite",
    "task_of",
]
