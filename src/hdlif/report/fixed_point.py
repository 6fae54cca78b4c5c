"""A network in fixed point, with formats for what its numbers grow to on its data, and what that changes."""

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
"""Samples, of those for validation, from which the formats of fixed point are chosen."""
COMPARED = 1000
"""Most samples for testing that fixed point and float32 are compared on."""
_TOGETHER = 32


@dataclass(frozen=True)
class Rounded:
    """What fixed point changes, on samples for testing.

    Attributes:
        agreement: the share of samples that get the same answer, or of what else `agreement_of` names.
        mean_error, largest_error: of the outputs.
        largest_output: of the outputs in float32, in magnitude.
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
    """`graph` in fixed point, and how its answers compare with those in float32.

    Raises:
        InputError: a layer has no form in fixed point.
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
    """Frames [T or 1, N, C, H, W] of samples for testing."""
    return np.concatenate(list(_frames(sets.of("test"), most)), axis=1)


def _frames(samples: Samples, most: int) -> Iterator[NDArray[np.float32]]:
    """Frames [T or 1, B, C, H, W] of samples that are spread over a set."""
    indices = torch.linspace(0, len(samples) - 1, min(most, len(samples))).long()
    for x, _ in samples.sequences(_TOGETHER, indices):
        yield x.contiguous().numpy()
