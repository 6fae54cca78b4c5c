"""Training: the loop, its optimiser and checkpoints, evaluation, and batch norm's statistics."""

from hdlif.training.evaluate import Evaluation, evaluate
from hdlif.training.loop import Fit, fit
from hdlif.training.metrics import progress_bar
from hdlif.training.reestimate import reestimate, reestimated

__all__ = ["Evaluation", "Fit", "evaluate", "fit", "progress_bar", "reestimate", "reestimated"]
