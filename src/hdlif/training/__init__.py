"""Training: the loop, its optimiser and checkpoints, evaluation, and batch norm's statistics."""

from hdlif.training.evaluate import Evaluation, evaluate
from hdlif.training.loop import Fit, fit
from hdlif.training.metrics import progress_bar
from hdlif.training.optim import sgd
from hdlif.training.ranks import Ranks, check_share
from hdlif.training.reestimate import reestimate, reestimated
from hdlif.training.update import Updater

__all__ = [
    "Evaluation",
    "Fit",
    "Ranks",
    "Updater",
    "check_share",
    "evaluate",
    "fit",
    "progress_bar",
    "reestimate",
    "reestimated",
    "sgd",
]
