"""timm's Mixup and CutMix, with randomness that depends only on a seed."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from torch import Tensor

from hdlif.training.callback import Batch, Callback, Training


class Mix:
    """Mixup and CutMix, which mix samples i and j = B - 1 - i of a batch and their labels.

    Mixup computes ρ·x_i + (1 - ρ)·x_j, where ρ is the fraction of x_i in the target (Zhang et al., ICLR 2018). CutMix
    pastes a rectangle of x_j into x_i (Yun et al., ICCV 2019). One random draw determines the mix for all samples of
    the batch and for all of their frames.

    >>> from hdlif.training import Mix, Mixing
    >>> mixing = Mixing(Mix(classes=10, mixup_alpha=0.8, cutmix_alpha=1.0, prob=1.0, switch_prob=0.5))

    Args:
        classes: number of labels.
        mixup_alpha, cutmix_alpha: ρ ~ Beta(α, α); 0 turns one off.
        prob: probability of mixing a batch.
        switch_prob: probability of CutMix if both are on.
    """

    def __init__(
        self, *, classes: int, mixup_alpha: float, cutmix_alpha: float, prob: float, switch_prob: float
    ) -> None:
        # timm takes seconds to import, and most training runs do not need it.
        from timm.data import Mixup

        # Labels are smoothed by the criterion, which gives the same loss.
        self._mixup = Mixup(
            mixup_alpha, cutmix_alpha, prob=prob, switch_prob=switch_prob, label_smoothing=0.0, num_classes=classes
        )

    def __call__(self, x: Tensor, labels: Tensor, *, seed: int) -> tuple[Tensor, Tensor]:
        """Return the mixed `x`, and targets [B, classes] that contain the fraction of each label; B must be even.

        Args:
            x: [T or 1, B, C, ...], not modified.
            labels: int64 [B].
            seed: in 0..2^63 - 1.
        """
        frames = len(x)
        # timm mixes in place along the first axis, and cuts along the last two, so frames take the place of channels.
        samples = x.transpose(0, 1).flatten(1, 2).clone()
        with _numpy_seeded(seed):
            mixed, targets = self._mixup(samples, labels)
        return mixed.unflatten(1, (frames, -1)).transpose(0, 1).contiguous(), targets


@contextmanager
def _numpy_seeded(seed: int) -> Iterator[None]:
    """Seed NumPy's global generator (used by timm) inside the context, and restore it afterwards."""
    kept = np.random.get_state()
    np.random.seed([seed & 0xFFFFFFFF, seed >> 32])
    try:
        yield
    finally:
        np.random.set_state(kept)


class Mixing(Callback):
    """A callback that mixes each batch; the label with the largest fraction counts as correct.

    See `Mix` for an example.

    Args:
        mix: mixes a batch.
    """

    def __init__(self, mix: Mix) -> None:
        self.mix = mix

    def on_batch_start(self, training: Training, batch: Batch) -> Batch:
        x, target = self.mix(batch.x, batch.target, seed=training.seed_for("mixup"))
        return Batch(x, target, target)
