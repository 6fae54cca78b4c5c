"""Training: the loop, its optimiser and checkpoints, evaluation, and batch norm's statistics."""

from hdlif.training.confusion import Confusion
from hdlif.training.evaluate import Evaluation, Tally, classified, evaluate
from hdlif.training.loop import Fit, fit
from hdlif.training.metrics import progress_bar, warn
from hdlif.training.mixup import Mix
from hdlif.training.optim import Optimization, sgd
from hdlif.training.ranks import Ranks, check_share
from hdlif.training.reestimate import reestimate, reestimated
from hdlif.training.run_files import RunFiles
from hdlif.training.teacher import Teacher, load_teacher
from hdlif.training.threads import Threads, using_threads
from hdlif.training.update import Updater

__all__ = [
    "Confusion",
    "Evaluation",
    "Fit",
    "Mix",
    "Optimization",
    "Ranks",
    "RunFiles",
    "Tally",
    "Teacher",
    "Threads",
    "Updater",
    "check_share",
    "classified",
    "evaluate",
    "fit",
    "load_teacher",
    "progress_bar",
    "reestimate",
    "reestimated",
    "sgd",
    "using_threads",
    "warn",
]
