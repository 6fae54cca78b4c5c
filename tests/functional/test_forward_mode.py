"""Forward mode through one layer, against back-propagation through time."""

import pytest
import torch
from torch import Tensor

from cases import every
from hdlif.errors import ShapeError
from hdlif.functional import forward_mode_gradient, hd_lif_step

T, B, N_IN, N_OUT = 6, 5, 4, 7


def case(seed: int, *, per_channel: bool) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(T, B, N_IN, generator=g, dtype=torch.float64)
    weight = torch.randn(N_OUT, N_IN, generator=g, dtype=torch.float64).requires_grad_()
    leak, threshold = torch.rand(2, T, *([N_OUT] if per_channel else []), generator=g, dtype=torch.float64)
    return x, weight, leak, threshold, torch.randn(T, B, N_OUT, generator=g, dtype=torch.float64)


@every(seed=range(3), per_channel=[False, True])
def test_forward_mode_is_back_propagation_through_time(seed: int, per_channel: bool) -> None:
    x, weight, leak, threshold, upstream = case(seed, per_channel=per_channel)
    potential, spikes = torch.zeros(B, N_OUT, dtype=torch.float64), []
    for t in range(T):
        spike, potential = hd_lif_step(x[t] @ weight.T, potential, leak[t], threshold[t])
        spikes.append(spike)
    # The edge to the next layer alone has the gradient G: the reset's own path is the neuron's.
    torch.stack([spike * 1 for spike in spikes]).backward(upstream)
    fired = torch.stack(spikes) > 0
    assert 0.1 < fired.double().mean() < 0.9
    found = forward_mode_gradient(x, fired, leak, upstream)
    torch.testing.assert_close(found, weight.grad, atol=1e-10, rtol=0)
    # What OTTT's trace leaves out: a neuron forgets when it fires.
    trace, ungated = torch.zeros(B, N_IN, dtype=torch.float64), torch.zeros_like(found)
    for t in range(T):
        trace = leak[t].mean() * trace + x[t]
        ungated += (upstream[t] * fired[t]).T @ trace
    assert (ungated - found).abs().max() > 0.1


def test_shapes_that_do_not_match_are_refused() -> None:
    x, _, leak, _, upstream = case(0, per_channel=False)
    fired = upstream > 0
    with pytest.raises(ShapeError, match=r"\[6, 5, 4\], \[5, 5, 7\], \[6\], \[6, 5, 7\]"):
        forward_mode_gradient(x, fired[:5], leak, upstream)
    for other in (leak[:2], torch.tensor(0.5), torch.rand(T, N_IN), torch.rand(T, 1, N_OUT)):
        with pytest.raises(ShapeError, match="have shapes"):
            forward_mode_gradient(x, fired, other, upstream)
    with pytest.raises(ShapeError, match="have shapes"):
        forward_mode_gradient(x[0], fired[0], leak, upstream[0])
