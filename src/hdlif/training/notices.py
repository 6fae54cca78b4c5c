"""Notices to the user before the first epoch: omitted samples, and the memory of a rule's traces."""

import torch

from hdlif.data import Samples
from hdlif.data.draws import fuller_batch, many_left_out
from hdlif.learning import Tracing
from hdlif.training.callback import Training


def report_omitted_samples(training: Training, samples: int, batch_size: int) -> None:
    """Report how many samples each epoch omits because they fill no batch, if they are many."""
    left = samples - training.batches * batch_size
    if not many_left_out(left, samples) or not training.ranks.first:
        return
    line = (
        f"{left} of {samples} training samples are left out of each epoch, which has whole batches of {batch_size} "
        "alone"
    )
    if training.config.accumulate > 1:
        training.say(f"{line}, {training.config.accumulate} to an update")
        return
    # Mixup pairs the samples of each rank's share.
    size = fuller_batch(samples, batch_size, multiple_of=2 * training.ranks.count)
    training.say(line if size is None else f"{line}; --set data.batch_size={size} leaves {samples % size} out")


def report_traces(training: Training, samples: Samples, batch_size: int) -> None:
    """Report and log the memory of the rule's traces; too much of it ends the training before it begins."""
    if not isinstance(training.rule, Tracing):
        return
    share = batch_size // training.ranks.count
    x, _ = samples.plain().sequence(torch.zeros(1, dtype=torch.int64))
    sizes = training.rule.traces_of(training.model, x.to(training.device), share)
    if not training.counters.step:
        training.log("traces", bytes=dict(sizes))
    most = max(sizes, key=lambda name: sizes[name], default=None)
    if most is not None:
        training.say(
            f"traces take {sum(sizes.values()) / 1e6:.1f} MB for a batch of {share}, most of {most}, "
            f"{sizes[most] / 1e6:.1f} MB"
        )
