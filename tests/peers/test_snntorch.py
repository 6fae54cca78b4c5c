"""LIF beside snnTorch's `Leaky`, where the settings agree; theirs does not fire at the threshold itself, ours does."""

import pytest
import torch

from hdlif.functional import ATan, HardReset, Reset, soft_reset
from hdlif.nn import LIF

snn = pytest.importorskip("snntorch", reason="pip install snntorch")

pytestmark = pytest.mark.peers
T = 8


@pytest.mark.parametrize(("mechanism", "reset"), [("subtract", soft_reset), ("zero", HardReset())])
def test_lif_equals_leaky_with_its_reset_at_once(mechanism: str, reset: Reset) -> None:
    g = torch.Generator().manual_seed(0)
    # Continuous, so that no membrane lies on the threshold, and small enough that none does so after its reset:
    # theirs would subtract again at the next step.
    x = torch.rand(T, 60, generator=g, dtype=torch.float64) * 2.25 - 1
    weights = torch.randn(T, 60, generator=g, dtype=torch.float64)
    leaky = snn.Leaky(
        beta=0.5,
        threshold=1.0,
        reset_mechanism=mechanism,
        reset_delay=False,
        spike_grad=snn.surrogate.atan(alpha=2.0),
    )
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    spikes, _ = LIF(T, surrogate=ATan(2.0), reset=reset).double()(ours, None, range(T))
    membrane, expected = torch.zeros(60, dtype=torch.float64), []
    for t in range(T):
        spike, membrane = leaky(theirs[t], membrane)
        expected.append(spike)
    # With its reset at once, theirs is not detached.
    assert torch.equal(spikes, torch.stack(expected).to(spikes.dtype))
    assert 0.05 < spikes.mean() < 0.95
    (spikes * weights).sum().backward()
    (torch.stack(expected) * weights).sum().backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-6, rtol=0)
