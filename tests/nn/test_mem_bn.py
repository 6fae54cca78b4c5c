"""Mem-BN: its equation, its statistics per step, and the affine that it is in eval mode."""

import pytest
import torch
from torch import Tensor, nn

from cases import every
from hdlif.errors import ShapeError
from hdlif.learning import StochasticStep
from hdlif.nn import HDLIF, MemBN
from small_networks import tiny_resnet

T, C = 3, 4
EXACT = {"atol": 1e-10, "rtol": 0.0}


def scattered(mix: str = "raw", momentum: float | None = 0.1) -> MemBN:
    torch.manual_seed(0)
    norm = MemBN(T, C, mix=mix, momentum=momentum)
    for tensor in (norm.weight, norm.bias, norm.mem_scale, norm.bn_scale, norm.running_mean):
        nn.init.normal_(tensor, mean=0.3, std=0.5)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    return norm.double()


def membranes(seed: int = 0) -> Tensor:
    return torch.randn(5, C, 2, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@every(mix=["raw", "sigmoid"], momentum=[0.1, None])
def test_mixes_the_membrane_with_a_batch_norm_of_its_step(mix: str, momentum: float | None) -> None:
    norm = scattered(mix, momentum)
    alpha, beta = (
        (norm.mem_scale, norm.bn_scale) if mix == "raw" else (norm.mem_scale.sigmoid(), norm.bn_scale.sigmoid())
    )
    for t in range(T):
        plain = nn.BatchNorm2d(C, momentum=momentum).double()
        plain.weight.data, plain.bias.data = norm.weight[t].detach().clone(), norm.bias[t].detach().clone()
        plain.running_mean.copy_(norm.running_mean[t])
        plain.running_var.copy_(norm.running_var[t])
        for m in (membranes(t), membranes(t + T)):
            torch.testing.assert_close(norm(m, t), alpha[t] * m + beta[t] * plain(m), **EXACT)
            torch.testing.assert_close(norm.running_mean[t], plain.running_mean, **EXACT)
            torch.testing.assert_close(norm.running_var[t], plain.running_var, **EXACT)
    norm.forget(1)
    assert norm.num_batches_tracked.tolist() == [0, 2, 2]


@every(mix=["raw", "sigmoid"])
def test_is_its_affine_in_eval_mode(mix: str) -> None:
    norm = scattered(mix).eval()
    scale, shift = norm.affine()
    assert scale.shape == shift.shape == (T, C)
    for step in range(T + 2):
        t, m = min(step, T - 1), membranes(step)
        expected = scale[t].view(-1, 1, 1) * m - shift[t].view(-1, 1, 1)
        torch.testing.assert_close(norm(m, step), expected, **EXACT)


def test_starts_as_no_norm_at_all() -> None:
    x = torch.randn(T, 6, C, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plain, normed = HDLIF(T).double(), HDLIF(T, norm=MemBN(T, C)).double()
    assert torch.equal(normed(x, None, range(T))[0], plain(x, None, range(T))[0])
    # But for the form of the release.
    alpha, beta = MemBN(T, C, mix="sigmoid").gains()
    assert alpha.tolist() == beta.tolist() == [0.5] * T


def test_each_step_counts_the_batches_in_which_it_ran() -> None:
    network = tiny_resnet(lambda place: HDLIF(4, norm=MemBN(4, place.channels)))
    rule, generator = StochasticStep(), torch.Generator().manual_seed(0)
    x, target = torch.randn(1, 4, 2, 6, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    ran = [0] * 4
    for _ in range(12):
        plan = rule.schedule(4, generator)
        for t in range(max(plan.steps) + 1):
            ran[t] += 1
        for step in rule(network, x, target, plan):
            step.loss.backward()
    assert ran[0] == 12 > ran[3] > 0
    counts = [module.num_batches_tracked.tolist() for module in network.modules() if isinstance(module, MemBN)]
    assert counts == [ran] * 4


def test_refuses_other_channels_mixes_and_time_paths() -> None:
    with pytest.raises(ShapeError, match=r"membrane has shape \[5, 4, 2, 2\]; Mem-BN is for \[B, 3, ...\]"):
        MemBN(T, 3)(membranes().float(), 0)
    with pytest.raises(ValueError, match="choose one of raw, sigmoid"):
        MemBN(T, C, mix="tanh")
    with pytest.raises(ValueError, match="does not go with Mem-BN"):
        HDLIF(T, norm=MemBN(T, C), path="fused")
