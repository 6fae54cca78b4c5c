"""Train networks: the training loop, callbacks, optimisers, checkpoints, evaluation and batch-norm statistics."""

from hdlif.training.accelerator import Accelerator
from hdlif.training.activity import ActivityPenalty
from hdlif.training.average import Averaging
from hdlif.training.callback import Batch, Callback, Training
from hdlif.training.checkpoints import Checkpoints, RunFiles
from hdlif.training.evaluate import answered, evaluate, reestimate, reestimated
from hdlif.training.metrics import Log, note, progress_bar, tell, warn
from hdlif.training.mixup import Mix, Mixing
from hdlif.training.optimization import Optimization, sgd
from hdlif.training.progress import Progress
from hdlif.training.ranks import Ranks, check_share
from hdlif.training.teacher import Teacher, Teaching, load_teacher
from hdlif.training.threads import Threads, using_threads
from hdlif.training.trainer import BestInMemory, Fit, Patience, Trainer
from hdlif.training.update import Updater

__all__ = [
    "Accelerator",
    "ActivityPenalty",
    "Averaging",
    "Batch",
    "BestInMemory",
    "Callback",
    "Checkpoints",
    "Fit",
    "Log",
    "Mix",
    "Mixing",
    "Optimization",
    "Patience",
    "Progress",
    "Ranks",
    "RunFiles",
    "Teacher",
    "Teaching",
    "Threads",
    "Trainer",
    "Training",
    "Updater",
    "answered",
    "check_share",
    "evaluate",
    "load_teacher",
    "note",
    "progress_bar",
    "reestimate",
    "reestimated",
    "sgd",
    "tell",
    "using_threads",
    "warn",
]
