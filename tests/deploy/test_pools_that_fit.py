"""Pools that PyTorch states in other words than the graph does."""

import pytest
import torch
from torch import nn

from hdlif import deploy
from hdlif.errors import LoweringError
from hdlif.graph.artefact import InputRecord
from hdlif.graph.ops import Graph
from hdlif.nn import Sequential
from hdlif.runtime import Session

RECORD = InputRecord((2, 6, 8), (0.0,) * 2, (1.0,) * 2)


def lowered(pool: nn.Module) -> Graph:
    network = Sequential({"pool": pool, "flat": nn.Flatten()}).eval()
    entries = pool(torch.zeros(1, *RECORD.shape)).numel()
    return deploy.lower(network, input=RECORD, labels=tuple(map(str, range(entries))), time_steps=1)


@pytest.mark.parametrize(
    "pool",
    [
        nn.AdaptiveAvgPool2d((6, 8)),
        nn.AdaptiveAvgPool2d((3, 2)),
        nn.AdaptiveAvgPool2d((12, 8)),
        nn.AvgPool2d(2, ceil_mode=True),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.MaxPool2d(4, 2, 1, ceil_mode=True),
    ],
)
def test_it_gives_what_torch_does(pool: nn.Module) -> None:
    x = torch.randn(1, 3, *RECORD.shape, generator=torch.Generator().manual_seed(0))
    expected = pool(x[0]).flatten(1)
    torch.testing.assert_close(torch.from_numpy(Session(lowered(pool)).run(x.numpy()))[0], expected)


@pytest.mark.parametrize(
    ("pool", "words"),
    [
        (
            nn.AdaptiveAvgPool2d((4, 4)),
            r"pool: an adaptive pool of \[6, 8\] to \[4, 4\] has windows of different sizes",
        ),
        (nn.AvgPool2d(4, ceil_mode=True), r"pool: average pools .* where windows overhang as on \[2, 6, 8\]"),
        (nn.MaxPool2d(3, 2, ceil_mode=True), r"pool: max pools .* where windows overhang as on \[2, 6, 8\]"),
    ],
)
def test_windows_that_overhang_are_refused(pool: nn.Module, words: str) -> None:
    with pytest.raises(LoweringError, match=words):
        lowered(pool)
