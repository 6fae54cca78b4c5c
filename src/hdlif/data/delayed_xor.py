"""The exclusive or of two bits that are far apart: the smallest task that only memory solves."""

from pathlib import Path

import torch
from torch import Tensor

from hdlif.data.augment import Augment
from hdlif.data.draws import part_generator
from hdlif.data.samples import ImageSets
from hdlif.data.series_samples import series_sets
from hdlif.data.splits import check_generated
from hdlif.generated import DelayedXor


def delayed_xor(
    root: Path | None = None,
    *,
    content: DelayedXor | None = None,
    validation: int,
    augment: Augment = (),
    seed: int = 0,
) -> ImageSets:
    """Series of delay + 1 steps and two channels, `validation` of them held out; `root` is not needed.

    Channel 0 is a bit b_0 in {-1, 1} at step 0 and another, b_1, at step `delay`; between them it is normal noise.
    Channel 1 is 1 at these two steps and 0 elsewhere. The class is 1 where b_0 and b_1 differ. The four pairs take
    turns, so that either class, and either bit by itself, has half of the samples: what looks at the last step alone is
    right on half of them. Each part has a generator of its own, of (`draw`, part): it is the same whatever the sizes of
    the others and whatever `seed`, which is that of the augmentation.

    >>> import torch
    >>> from hdlif.data import delayed_xor, rows
    >>> from hdlif.generated import DelayedXor
    >>> sets = delayed_xor(content=DelayedXor(delay=5, samples=40, test=10), validation=10)
    >>> sets.train.frames = rows
    >>> x, y = sets.train.sequence(torch.arange(3))
    >>> list(x.shape), list(y.shape)
    ([6, 3, 2, 1, 1], [3])

    Args:
        content: delay, noise, sizes and draw; the defaults of `DelayedXor` without it.
        root, validation, augment, seed: as of `digits`.
    """
    content = DelayedXor() if content is None else content
    check_generated("delayed_xor", content, validation)
    record = content.input

    def draw(part: int, n: int) -> tuple[Tensor, Tensor]:
        pair = torch.arange(n) % 4
        bits = torch.stack([pair // 2, pair % 2], 1)
        values = torch.zeros(n, *record.shape)
        values[:, 0, :, 0] = content.noise * torch.randn(n, content.steps, generator=part_generator(content.draw, part))
        values[:, 0, [0, -1], 0] = 2.0 * bits - 1
        values[:, 1, [0, -1], 0] = 1
        return values, bits[:, 0] ^ bits[:, 1]

    counts = (content.samples, validation, content.test)
    parts = [draw(part, n) for part, n in enumerate(counts)]
    return series_sets(parts, record, content.names, augment=augment, seed=seed)
