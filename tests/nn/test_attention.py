"""Channel attention: its equation against a plain loop, its parameters, and its step. Sums of Q-K attention."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cases import every, naming
from hdlif.errors import ShapeError
from hdlif.nn import SECA, HeadSum, TokenSum, eca, step_parameters

EXACT = {"atol": 1e-10, "rtol": 0.0}


def currents(steps: int) -> Tensor:
    g = torch.Generator().manual_seed(0)
    return torch.randn(steps, 3, 6, 4, 5, generator=g, dtype=torch.float64) + 0.3


def attention(channels: int = 6, **arguments: Any) -> SECA:
    torch.manual_seed(3)
    return SECA(channels, **arguments).double()


def scattered(module: SECA) -> SECA:
    """Rows that differ by step."""
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module


def by_loop(module: SECA, x: Tensor, start: int = 0) -> Tensor:
    """The equation, one channel of one step after the other."""
    y = torch.empty_like(x)
    half = (module.kernel_size - 1) // 2
    for k, step in enumerate(x):
        row = min(start + k, len(module.weight) - 1)
        for c in range(module.channels):
            logit = torch.zeros(len(step), dtype=x.dtype) if module.bias is None else module.bias[row]
            for j, weight in enumerate(module.weight[row]):
                if 0 <= c + j - half < module.channels:
                    logit = logit + weight * step[:, c + j - half].mean((1, 2))
            y[k, :, c] = step[:, c] * torch.sigmoid(logit).view(-1, 1, 1)
    return y


@every(arguments=[{}, {"kernel_size": 3}, {"kernel_size": 1}, {"bias": False}, {"time_steps": 2}], is_row=[False, True])
def test_gate_is_the_sigmoid_of_the_weighted_means_of_neighbouring_channels(
    arguments: dict[str, Any], is_row: bool
) -> None:
    """Of maps, and of sequences, which are maps of one row."""
    module, x = scattered(attention(**arguments)), currents(4)[..., : 1 if is_row else 4, :].requires_grad_()
    y, state = module(x.squeeze(3) if is_row else x, None, range(1, 5))
    expected = by_loop(module, x, start=1)
    assert state is None
    y = y.reshape(expected.shape)
    torch.testing.assert_close(y, expected, **EXACT)
    leaves = [x, *module.parameters()]
    by_module, by_hand = (torch.autograd.grad((one * one.detach().cos()).sum(), leaves) for one in (y, expected))
    torch.testing.assert_close(by_module, by_hand, **EXACT)


@every(module=[SECA(64), SECA(64, time_steps=4), eca(64)])
def test_its_parameters_are_those_of_steps(module: SECA) -> None:
    assert [id(p) for p in step_parameters(module)] == [id(p) for p in module.parameters()]


def test_kernels_per_step_start_as_the_shared_one() -> None:
    shared, per_step, x = attention(), attention(time_steps=4), currents(6)
    assert torch.equal(per_step(x, None, range(6))[0], shared(x, None, range(6))[0])


def test_parameters_start_as_those_of_a_convolution() -> None:
    torch.manual_seed(0)
    drawn = torch.stack([torch.cat([m.weight[0], m.bias]) for m in (SECA(4) for _ in range(2000))]).detach()
    reach = 5**-0.5
    assert drawn.abs().max() <= reach
    # the spread of a uniform distribution; 12,000 draws give it within 2 %
    assert drawn.std().item() == pytest.approx(reach / 3**0.5, rel=0.02)


def test_kernels_and_inputs_that_do_not_fit_are_refused() -> None:
    for kernel_size in (0, 2, -1):
        with pytest.raises(ValueError, match="must be odd"):
            SECA(8, kernel_size=kernel_size)
    for shape in ((1, 2, 5, 4, 4), (1, 2, 6), (1, 2, 5, 4), (1, 2, 6, 2, 2, 2)):
        with naming(shape), pytest.raises(ShapeError, match=r"maps \[K, B, 6, H, W\]"):
            attention()(torch.zeros(shape, dtype=torch.float64), None, range(1))


def test_low_precision_input_keeps_its_type() -> None:
    x = currents(2).bfloat16()
    assert SECA(6)(x, None, range(2))[0].dtype == torch.bfloat16


def test_sums_are_those_of_heads_and_of_tokens() -> None:
    x = torch.arange(24.0).view(1, 4, 2, 3)
    assert torch.equal(HeadSum(2)(x), torch.stack([x[:, 0] + x[:, 1], x[:, 2] + x[:, 3]], 1))
    assert torch.equal(HeadSum(4)(x.flatten(2)[..., None])[..., 0], x.flatten(2))
    assert TokenSum()(x).tolist() == [[15.0, 51.0, 87.0, 123.0]]
    for module, shape in ((HeadSum(3), (1, 4, 2, 3)), (HeadSum(2), (1, 4)), (TokenSum(), (1, 4))):
        with naming(module, shape), pytest.raises(ShapeError, match=r"it must be \[N, C, H, W\]"):
            module(torch.zeros(shape))
    with pytest.raises(ValueError, match="heads = 0"):
        HeadSum(0)
