"""Symbols that have to be repeated after a delay (Hochreiter and Schmidhuber 1997; Arjovsky, arXiv 1511.06464)."""

from pathlib import Path

import torch
from torch import Tensor

from hdlif.data.augment import Augment
from hdlif.data.draws import part_generator
from hdlif.data.samples import ImageSets
from hdlif.data.series_samples import series_sets
from hdlif.data.splits import check_generated
from hdlif.generated import Copy


def copy_task(
    root: Path | None = None,
    *,
    content: Copy | None = None,
    validation: int,
    augment: Augment = (),
    seed: int = 0,
) -> ImageSets:
    """Series of delay + 2·symbols steps and alphabet + 1 channels, `validation` of them held out; `root` is not needed.

    At each of the first `symbols` steps the channel of the symbol that is shown is 1; the last channel is 1 at the step
    before the first one that is to be repeated; all else is 0. The class of a step is the symbol that it shows, or
    `alphabet`, the blank. Symbols are independent and all equally likely. Each part has a generator of its own, of
    (`draw`, part), whatever the sizes of the others and whatever `seed`, which is that of the augmentation. Parts may
    have sequences in common where alphabet^symbols is not large against their sizes.

    >>> import torch
    >>> from hdlif.data import copy_task, rows
    >>> from hdlif.generated import Copy
    >>> sets = copy_task(content=Copy(delay=5, symbols=2, alphabet=4, samples=40, test=10), validation=10)
    >>> sets.train.frames = rows
    >>> x, y = sets.train.sequence(torch.arange(3))
    >>> list(x.shape), list(y.shape)
    ([9, 3, 5, 1, 1], [3, 9])

    Args:
        content: delay, symbols, alphabet, sizes and draw; the defaults of `Copy` without it.
        root, validation, augment, seed: as of `digits`.
    """
    content = Copy() if content is None else content
    check_generated("copy", content, validation)
    record, shown = content.input, content.symbols

    def draw(part: int, n: int) -> tuple[Tensor, Tensor]:
        symbols = torch.randint(content.alphabet, (n, shown), generator=part_generator(content.draw, part))
        values, labels = torch.zeros(n, *record.shape), torch.full((n, content.steps), content.alphabet)
        values[:, :, :shown, 0].scatter_(1, symbols[:, None], 1.0)
        values[:, -1, shown + content.delay - 1, 0] = 1
        labels[:, :shown] = symbols
        return values, labels

    counts = (content.samples, validation, content.test)
    parts = [draw(part, n) for part, n in enumerate(counts)]
    return series_sets(parts, record, content.names, augment=augment, seed=seed)
