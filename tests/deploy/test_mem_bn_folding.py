"""Mem-BN folded into HD-LIF's constants, against the module itself in float64."""

import numpy as np
import pytest
import torch

from cases import every
from hdlif.deploy import FoldedNeuron, fold_mem_bn, fold_mem_bn_on_current
from hdlif.errors import LoweringError
from hdlif.functional import hd_lif_step, spike_codes
from hdlif.nn import HDLIF, MemBN

C, BEYOND = 5, 3


def neuron(time_steps: int, *, seed: int = 0, signs: bool = False, channels: int | None = None) -> HDLIF:
    """HD-LIF with a scattered Mem-BN in eval mode; with `signs`, some α* are negative."""
    torch.manual_seed(seed)
    norm = MemBN(time_steps, C)
    module = HDLIF(time_steps, norm=norm, channels=channels).double().eval()
    for parameter in (module.leak.logit, module.threshold.logit, norm.bias):
        torch.nn.init.normal_(parameter)
    torch.nn.init.uniform_(norm.mem_scale, 0.3, 1.2)
    torch.nn.init.uniform_(norm.bn_scale, -0.4, 0.8)
    torch.nn.init.uniform_(norm.weight, 0.3, 1.0)
    norm.running_mean.normal_(std=0.5)
    norm.running_var.uniform_(0.5, 2)
    if signs:
        norm.bn_scale.data[:] = 0.8
        norm.weight.data[:, ::2] = -2.5
    return module


def rows_of(module: HDLIF) -> list[np.ndarray]:
    values = (module.leak.values(), module.threshold.values(), *module.norm.affine())
    return [v.detach().numpy().reshape(len(v), -1) for v in values]


def run(folded: FoldedNeuron, current: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Spikes before and after the gain, [K, B, C, H]."""
    potential = torch.zeros_like(current[0])
    surplus, spikes = [], []
    for t, x in enumerate(current):
        scale, shift, leak, threshold, gain = (
            torch.from_numpy(rows[min(t, len(rows) - 1)]).view(-1, 1)
            for rows in (folded.scale, folded.shift, folded.leak, folded.threshold, folded.gain)
        )
        spike, potential = hd_lif_step(x * scale + shift, potential, leak, threshold)
        surplus.append(spike)
        spikes.append(spike * gain)
    return torch.stack(surplus), torch.stack(spikes)


def expected(module: HDLIF, current: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return module(current, None, range(len(current)))[0]


@every(time_steps=[1, 2, 4, 7], channels=[None, C])
def test_fold_on_the_state_equals_the_module_and_beyond_the_trained_steps(time_steps, channels):
    module = neuron(time_steps, channels=channels)
    assert (rows_of(module)[2] > 0).all()
    current = torch.randn(time_steps + BEYOND, 8, C, 6, dtype=torch.float64)
    folded = fold_mem_bn(*rows_of(module))
    assert folded.leak.shape == folded.threshold.shape == folded.gain.shape == (time_steps + 2, C)
    spikes = expected(module, current)
    torch.testing.assert_close(run(folded, current)[1], spikes, atol=1e-10, rtol=0)
    assert (spikes[-1] > 0).any()
    # rows held without the conversion go wrong
    held = FoldedNeuron(*(rows[:time_steps] for rows in vars(folded).values()))
    assert (run(held, current)[1] - spikes).abs().max() > 1e-3


@every(time_steps=[1, 4], signs=[False, True])
def test_fold_on_the_current_equals_the_module_for_every_alpha(time_steps, signs):
    module = neuron(time_steps, signs=signs)
    assert (rows_of(module)[2] < 0).any() == signs
    current = torch.randn(time_steps + BEYOND, 8, C, 6, dtype=torch.float64)
    spikes = run(fold_mem_bn_on_current(*rows_of(module)), current)[1]
    torch.testing.assert_close(spikes, expected(module, current), atol=1e-10, rtol=0)


def test_fold_on_the_threshold_equals_the_module():
    """The older form for α* > 0: m is charged as ever, s = α*·max(m - (θ + β*)/α*, 0), v = (α*·m - β*) - s."""
    module = neuron(4)
    leak, threshold, scale, shift = (torch.from_numpy(rows).view(len(rows), 1, -1, 1) for rows in rows_of(module))
    current = torch.randn(4, 8, C, 6, dtype=torch.float64)
    potential, spikes = torch.zeros_like(current[0]), []
    for t in range(4):
        membrane = leak[t] * potential + current[t]
        spike = scale[t] * torch.relu(membrane - (threshold[t] + shift[t]) / scale[t])
        potential = scale[t] * membrane - shift[t] - spike
        spikes.append(spike)
    torch.testing.assert_close(torch.stack(spikes), expected(module, current), atol=1e-10, rtol=0)
    torch.testing.assert_close(run(fold_mem_bn(*rows_of(module)), current)[1], torch.stack(spikes), atol=1e-10, rtol=0)


def test_fold_on_the_current_merges_with_a_convolution_of_one_bit_and_its_batch_norm():
    """One convolution of signs, and for each step one scale and one shift: α*·k·a and α*·(b - kμ) - β*."""
    module = neuron(3)
    folded = fold_mem_bn_on_current(*rows_of(module))
    x = torch.rand(3, 4, 2, 5, 5, dtype=torch.float64)
    signs = torch.randn(C, 2, 3, 3, dtype=torch.float64).sign()
    a, k, mean, bias = torch.rand(4, C, 1, 1, dtype=torch.float64) + 0.5
    counts = torch.stack([torch.nn.functional.conv2d(step, signs, padding=1) for step in x])
    current = k * (a * counts - mean) + bias
    potential, spikes = torch.zeros_like(current[0]), []
    for t in range(3):
        alpha, beta, leak, threshold = (
            torch.from_numpy(rows[t]).view(-1, 1, 1)
            for rows in (folded.scale, -folded.shift, folded.leak, folded.threshold)
        )
        charged = counts[t] * (alpha * k * a) + (alpha * (bias - k * mean) - beta)
        spike, potential = hd_lif_step(charged, potential, leak, threshold)
        spikes.append(spike)
    torch.testing.assert_close(torch.stack(spikes), expected(module, current), atol=1e-10, rtol=0)


def test_codes_of_four_bit_spikes_are_those_of_the_unfolded_neuron():
    module = neuron(4)
    current = 2 * torch.randn(4 + BEYOND, 16, C, 20, dtype=torch.float64)
    folded = fold_mem_bn(*rows_of(module))
    surplus, _ = run(folded, current)
    gain = torch.from_numpy(folded.gain[np.minimum(np.arange(len(current)), 5)]).view(len(current), 1, C, 1)
    codes = torch.floor(surplus * (gain / 0.25) + 0.5).clamp(0, 15)
    assert torch.equal(codes, spike_codes(expected(module, current), bits=4, step=0.25, offset=0.5))
    assert len(codes.unique()) == 16


def test_worked_example():
    ones = np.ones((2, 1))
    folded = fold_mem_bn(0.5 * ones, ones, 2 * ones, ones)
    np.testing.assert_array_equal(folded.leak[:2, 0], [0.5, 1])
    np.testing.assert_array_equal(folded.threshold[:2, 0], [1, 1.5])
    # at the third step v = 2 (w - 0.5) - 1 = 1 from w = 1.5, and with I = 2: 2 (0.5 + 2) - 1 = 4, of which 1 stays
    current = torch.full((4, 1, 1, 1), 2.0, dtype=torch.float64)
    assert run(folded, current)[1].flatten().tolist() == [2, 3, 3, 3]


def test_fold_on_the_state_is_refused_where_a_gain_is_not_positive():
    with pytest.raises(LoweringError):
        fold_mem_bn(*rows_of(neuron(4, signs=True)))
    with pytest.raises(LoweringError):
        fold_mem_bn(*(rows * np.nan for rows in rows_of(neuron(4))))
