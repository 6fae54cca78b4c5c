"""Theorem 4.2 of arXiv 2410.07547 in a three-layer network, layer by layer, given the same G = dL/ds.

d_t(online) = χ_tt / (χ_tt + Σ_{i>t} ε[i, t]) · d_t(STBP), with 0/0 := 0. For HD-LIF the ratio is 0 or 1.
"""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cases import every
from hdlif.nn import HDLIF, LIF, SpikeQuantizer, Temporal, detach

STEPS, BATCH = 6, 16
WIDTHS = (8, 12, 12, 12, 5)


@dataclass
class Layer:
    """What one neuron layer received, and the gradients that arrived at it under STBP; all [T, B, N]."""

    neuron: Temporal
    current: Tensor
    along_spikes: Tensor
    along_membrane: Tensor


def three_layers(make: type[HDLIF] | type[LIF], **arguments: object) -> list[Layer]:
    """Back-propagate a loss on every step through time and depth."""
    torch.manual_seed(0)
    h = torch.rand(STEPS, BATCH, WIDTHS[0], dtype=torch.float64)
    kept = []
    for fan_in, fan_out in itertools.pairwise(WIDTHS[:-1]):
        neuron = make(STEPS, **arguments).double()
        for name, parameter in neuron.named_parameters():
            # λ in about (0.4, 0.9)
            nn.init.uniform_(parameter, *((-0.4, 2.2) if name.startswith("leak") else (-1.0, 0.5)))
        current = h @ (torch.randn(fan_in, fan_out, dtype=torch.float64) * 1.6 / fan_in**0.5).requires_grad_()
        current.retain_grad()
        spikes, _ = neuron(current, None, range(STEPS))
        # a copy: the gradient at the spikes themselves would also hold the reset path v = m - s
        h = spikes.clone()
        h.retain_grad()
        kept.append((neuron, current, h))
    logits = h @ torch.randn(WIDTHS[-2], WIDTHS[-1], dtype=torch.float64)
    target = torch.randint(0, WIDTHS[-1], (BATCH,))
    sum(nn.functional.cross_entropy(step, target) for step in logits).backward()
    return [Layer(n, c.detach(), s.grad, c.grad) for n, c, s in kept]


def online(layer: Layer) -> Tensor:
    """dL/dm of the same layer given the same G, its potential detached between steps."""
    current, state, spikes = layer.current.clone().requires_grad_(), None, []
    for t in range(STEPS):
        spike, state = layer.neuron(current[t : t + 1], detach(state), range(t, t + 1))
        spikes.append(spike)
    (d,) = torch.autograd.grad((torch.cat(spikes) * layer.along_spikes).sum(), current)
    return d


def jacobian(layer: Layer) -> tuple[Tensor, Tensor]:
    """χ [T, B, N] by v = min(m, θ), and ε[i, t] = χ_ii Π_{j=t+1..i} λ_j (1 - χ_{j-1}), [T, T, B, N]."""
    leak, threshold = layer.neuron.leak.values().detach(), layer.neuron.threshold.values().detach()
    v, chi = torch.zeros_like(layer.current[0]), torch.zeros_like(layer.current)
    for t in range(STEPS):
        m = leak[t] * v + layer.current[t]
        chi[t], v = (m > threshold[t]).double(), torch.minimum(m, threshold[t])
    eps = torch.zeros(STEPS, *chi.shape, dtype=chi.dtype)
    for t in range(STEPS):
        product = torch.ones_like(v)
        for i in range(t, STEPS):
            if i > t:
                product = product * leak[i] * (1 - chi[i - 1])
            eps[i, t] = chi[i] * product
    return chi, eps


@every(quantizer=[None, SpikeQuantizer()])
def test_stbp_gradient_is_the_sum_over_the_temporal_jacobian_in_every_layer(quantizer: SpikeQuantizer | None) -> None:
    for layer in three_layers(HDLIF, quantizer=quantizer):
        chi, eps = jacobian(layer)
        expected = (eps * layer.along_spikes[:, None]).sum(0)
        torch.testing.assert_close(layer.along_membrane, expected, atol=1e-10, rtol=0)
        # One future spike at most reaches back to a step.
        assert ((eps != 0).sum(0) <= 1).all()
        # Online it is that of firing neurons, and zero for silent ones, some of which have one under STBP.
        d = online(layer)
        torch.testing.assert_close(d, chi * layer.along_spikes, atol=1e-10, rtol=0)
        assert (layer.along_membrane[chi == 0].abs() > 1e-6).any()
        # Their ratio is 0 or 1, and turns one into the other.
        whole = eps.sum(0)
        ratio = torch.where(whole > 0, chi / whole.clamp_min(1e-300), 0.0)
        assert set(ratio.unique().tolist()) == {0.0, 1.0}
        torch.testing.assert_close(ratio * layer.along_membrane, d, atol=1e-10, rtol=0)


def test_the_ratio_is_no_mask_for_lif() -> None:
    ratios = []
    for layer in three_layers(LIF):
        d, whole = online(layer), layer.along_membrane
        ratios.append((d / whole)[whole.abs() > 1e-9])
    ratio = torch.cat(ratios)
    assert ((ratio > 0.05) & (ratio < 0.95)).double().mean() > 0.1
    assert (ratio < 0).any()
