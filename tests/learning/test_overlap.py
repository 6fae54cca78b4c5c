"""Sums of two gradients side by side."""

import pytest
import torch

from hdlif.learning.overlap import Overlap, Shares


def test_cosine_and_norm_ratio_by_hand() -> None:
    overlap = Overlap()
    overlap.add(torch.tensor([3.0, 0.0]), torch.tensor([3.0, 4.0]))
    assert overlap.cosine == pytest.approx(0.6)
    assert overlap.norm_ratio == pytest.approx(0.6)


def test_batches_and_layers_add_up_to_gradients_laid_end_to_end() -> None:
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 6, generator=g, dtype=torch.float64)
    whole, parts = Overlap(), Overlap()
    whole.add(a, b)
    parts.add(a[:2], b[:2])
    other = Overlap()
    other.add(a[2:], b[2:])
    parts.merge(other)
    assert parts.cosine == pytest.approx(whole.cosine, abs=1e-12)
    assert parts.norm_ratio == pytest.approx(whole.norm_ratio, abs=1e-12)


def test_a_zero_gradient_has_no_direction() -> None:
    overlap = Overlap()
    overlap.add(torch.zeros(2), torch.ones(2))
    assert (overlap.cosine, overlap.norm_ratio) == (None, 0.0)
    overlap = Overlap()
    overlap.add(torch.ones(2), torch.zeros(2))
    assert (overlap.cosine, overlap.norm_ratio) == (None, None)


def test_entries_are_equal_dropped_or_wrong() -> None:
    shares = Shares()
    #                          equal  idle  dropped  rescaled  other sign  made of nothing
    own = torch.tensor([1.0, 0.0, 0.0, 0.5, -1.0, 1.0], dtype=torch.float64)
    reference = torch.tensor([1.0, 0.0, 0.3, 1.0, 1.0, 0.0], dtype=torch.float64)
    shares.add(own, reference, torch.ones(6, dtype=torch.float64))
    assert (shares.equal, shares.idle, shares.dropped, shares.wrong, shares.opposite) == (2, 1, 1, 3, 1)
    assert shares.entries == 6
