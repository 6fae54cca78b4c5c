"""Convert a network to fixed point with number formats chosen from data, and measure the rounding errors."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hdlif.data import DataSets, Samples
from hdlif.deploy.c import FixedPoint, fixed_point, reals
from hdlif.graph.artefact import Graph
from hdlif.runtime import Session
from hdlif.runtime.answers import AGREEMENT_OF, alike

SEEN = 256
"""Number of validation samples from which the fixed-point formats are chosen."""
COMPARED = 1000
"""Maximum number of test samples on which fixed point and float32 are compared."""
_TOGETHER = 32


@dataclass(frozen=True)
class Rounded:
    """The effect of fixed-point arithmetic on a network's predictions and outputs, measured on test samples.

    Attributes:
        agreement: fraction of samples, or of `agreement_of`, with the same prediction.
        mean_error, largest_error: mean and largest error of the outputs.
        largest_output: largest magnitude of the float32 outputs.
    """

    samples: int
    agreement: float
    mean_error: float
    largest_error: float
    largest_output: float
    agreement_of: str = "samples"

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def rounded_on_data(graph: Graph, sets: DataSets) -> tuple[FixedPoint, Rounded]:
    """Convert a graph to fixed point and compare its outputs with the float32 outputs on test samples.

    Raises:
        InputError: a layer has no fixed-point form.
    """
    seen = sets.validation if len(sets.validation) else sets.train
    fixed = fixed_point(graph, np.concatenate(list(_frames(seen, SEEN)), axis=1), graph.time_steps)
    session = Session(graph)
    outputs: dict[str, list[Any]] = {"float": [], "fixed": []}
    for x in _frames(sets.of("test"), COMPARED):
        outputs["float"].append(session.run(x, graph.time_steps))
        outputs["fixed"].append(reals(fixed.run(fixed.frame(x), graph.time_steps), fixed.fractions[graph.output]))
    exact, near = (np.concatenate(parts, axis=1) for parts in outputs.values())
    error = np.abs(exact - near)
    agreement = float(alike(exact, near.astype(np.float32), graph).mean())
    mean, most, output = (float(value) for value in (error.mean(), error.max(), np.abs(exact).max()))
    of = AGREEMENT_OF.get(graph.task.kind, "samples")
    return fixed, Rounded(exact.shape[1], agreement, mean, most, output, of)


def shown(sets: DataSets, most: int) -> NDArray[np.float32]:
    """Return at most `most` test samples as frames [T or 1, N, C, H, W]."""
    return np.concatenate(list(_frames(sets.of("test"), most)), axis=1)


def _frames(samples: Samples, most: int) -> Iterator[NDArray[np.float32]]:
    """Yield batches [T or 1, B, C, H, W] of evenly spaced samples from a data set."""
    indices = torch.linspace(0, len(samples) - 1, min(most, len(samples))).long()
    for x, _ in samples.sequences(_TOGETHER, indices):
        yield x.contiguous().numpy()
