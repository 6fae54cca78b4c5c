"""The forecast that a network has to beat: the next value is the last one."""

import torch

from hdlif.data import ImageSets
from hdlif.errors import InputError
from hdlif.tasks import Evaluation, Regress

_TOGETHER = 256


def persistence(sets: ImageSets, task: Regress) -> Evaluation:
    """How well the values at a step forecast those that are learned of it: x_{t+ahead} = x_t, in the values' units.

    Args:
        sets: series whose channels are what is learned, so many steps later.
        task: what is learned, of each step.
    Raises:
        InputError: the values that are learned are no next ones of the channels.
    """
    if not task.ahead or len(task.outputs) != len(sets.mean):
        raise InputError(
            f"a forecast by the last value is of the next values of {len(sets.mean)} channels, and "
            f"{len(task.outputs)} values are learned, {task.ahead} steps ahead; give data with `ahead`"
        )
    mean, std, shift, size = map(torch.tensor, (sets.mean, sets.std, tuple(task.mean), tuple(task.std)))
    tally = task.tally()
    for x, target in sets.of("test").sequences(_TOGETHER):
        tally((x.flatten(2) * std + mean - shift) / size, target)
    return tally.evaluation()
