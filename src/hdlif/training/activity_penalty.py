"""The callback that adds a penalty on activity to every loss."""

from hdlif.training.activity import Penalty
from hdlif.training.callback import Callback


class ActivityPenalty(Callback):
    """Adds a penalty on the activity of the layers to every loss. A training takes one at most.

    >>> from hdlif.training import ActivityPenalty
    >>> from hdlif.training.activity import Density
    >>> penalty = ActivityPenalty(Density(target=0.1, weight=1.0))

    Args:
        penalty: the penalty to add, such as `hdlif.training.activity.Density`.
    """

    def __init__(self, penalty: Penalty) -> None:
        self.penalty = penalty
