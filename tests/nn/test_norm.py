"""Batch norm in time and Mem-BN, against torch's own run step by step and closed forms; gains without statistics."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from cases import every
from hdlif.errors import ShapeError, StateError
from hdlif.nn import HDLIF, Affine, BatchNorm1d, BatchNorm2d, MemBN

EXACT = {"atol": 1e-12, "rtol": 0.0}
CLOSE = {"atol": 1e-10, "rtol": 0.0}
T, C = 3, 4


def sequence(steps: int) -> Tensor:
    g = torch.Generator().manual_seed(0)
    return torch.randn(steps, 4, 3, 2, 2, generator=g, dtype=torch.float64) * 2 + 1


@every(
    shape=[(4, 3), (4, 3, 1), (4, 3, 1, 1), (4, 3, 5), (4, 3, 2, 2)],
    time_steps=[None, 6, 4],
    momentum=[0.1, 1.0, None],
)
def test_normalising_equals_torch_run_step_by_step(
    shape: tuple[int, ...], time_steps: int | None, momentum: float | None
) -> None:
    """In train and eval mode: values, gradients and statistics; from T on, those of the last step."""
    kind, theirs = (BatchNorm1d, nn.BatchNorm1d) if len(shape) < 4 else (BatchNorm2d, nn.BatchNorm2d)
    ours = kind(3, time_steps=time_steps, momentum=momentum).double()
    torchs = [theirs(3, momentum=momentum).double() for _ in range(time_steps or 1)]
    for norm in (ours, *torchs):
        nn.init.constant_(norm.weight, 1.5)
        nn.init.constant_(norm.bias, -0.5)
    for seed, steps in enumerate((range(5), range(1), range(1, 6), range(6))):
        for norm in (ours, *torchs):
            norm.train(seed < 3)
        g = torch.Generator().manual_seed(seed)
        x = (torch.randn(len(steps), *shape, generator=g, dtype=torch.float64) * 2 + 1).requires_grad_()
        towards = torch.randn(x.shape, generator=g, dtype=torch.float64)
        expected = torch.stack(
            [torchs[min(t, len(torchs) - 1)](step) for t, step in zip(steps, x.unbind(), strict=True)]
        )
        found, state = ours(x, None, steps)
        assert state is None
        torch.testing.assert_close(found, expected, **EXACT)
        parameters = [(one.weight, one.bias) for one in torchs]
        by_x, *by_each = torch.autograd.grad(
            expected, [x, *(one for both in parameters for one in both)], towards, allow_unused=True
        )
        sums = [sum(one for one in by_each[place::2] if one is not None) for place in (0, 1)]
        by_found = torch.autograd.grad(found, [x, ours.weight, ours.bias], towards)
        torch.testing.assert_close(by_found, (by_x, *sums), **EXACT)
        for name, buffer in ours.named_buffers():
            stacked = torch.stack([dict(one.named_buffers())[name] for one in torchs])
            torch.testing.assert_close(buffer, stacked if time_steps else stacked[0], **EXACT)


def test_a_graph_outlives_what_later_steps_do_to_the_statistics() -> None:
    norm, reference = BatchNorm1d(3), nn.BatchNorm1d(3)
    x = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    one, other = x[:1].clone().requires_grad_(), x[0].clone().requires_grad_()
    y, _ = norm(one, None, range(1))
    with torch.no_grad():
        norm(x[1:], None, range(1, 4))
    (y[0] * x[1]).sum().backward()
    (reference(other) * x[1]).sum().backward()
    assert one.grad is not None
    torch.testing.assert_close(one.grad[0], other.grad)


@every(
    "error",
    "words",
    "make",
    of=[
        (ShapeError, "for 3 time steps", lambda: BatchNorm2d(3)(torch.ones(2, 4, 3, 2, 2), None, range(3))),
        (ShapeError, r"\[K, B, C, L\]", lambda: BatchNorm1d(3)(torch.ones(2, 4, 3, 2, 2), None, range(2))),
        (ValueError, "time_steps = 0; it must be at least 1, or None", lambda: BatchNorm2d(3, time_steps=0)),
        (ShapeError, r"shape \[5, 4, 2, 2\]; Mem-BN is for", lambda: MemBN(T, 3)(torch.ones(5, 4, 2, 2), 0)),
        (ValueError, "choose one of raw, sigmoid", lambda: MemBN(T, C, mix="tanh")),
        (ValueError, "does not go with Mem-BN", lambda: HDLIF(T, norm=MemBN(T, C), path="fused")),
    ],
)
def test_what_a_norm_is_not_for_is_refused(error: type[Exception], words: str, make: Callable[[], object]) -> None:
    with pytest.raises(error, match=words):
        make()


def test_forgotten_statistics_are_those_of_the_steps_named() -> None:
    norm = BatchNorm2d(3, time_steps=3).double()
    norm(sequence(3), None, range(3))
    kept = norm.running_mean[2].clone()
    norm.forget(2)
    assert norm.running_mean[:2].eq(0).all()
    assert torch.equal(norm.running_mean[2], kept)
    assert norm.num_batches_tracked.tolist() == [0, 0, 1]


def test_affine_scales_and_shifts_each_channel_alike_at_every_step() -> None:
    layer = Affine(3, scale=2.0)
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([0.0, 1.0, -1.0]))
        layer.weight[2] = 0.5
    for mode in (layer.train(), layer.eval()):
        y, state = mode(torch.ones(4, 2, 3, 1, 1), None, range(4))
        assert state is None
        # What all samples have in common stays.
        assert y[..., 0, 0].tolist() == [[[2.0, 3.0, -0.5]] * 2] * 4
    with pytest.raises(StateError):
        layer(torch.ones(4, 2, 3, 1, 1), {"potential": torch.zeros(1)}, range(4))


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
            torch.testing.assert_close(norm(m, t), alpha[t] * m + beta[t] * plain(m), **CLOSE)
            torch.testing.assert_close(norm.running_mean[t], plain.running_mean, **EXACT)
            torch.testing.assert_close(norm.running_var[t], plain.running_var, **EXACT)
    norm.forget(1)
    assert norm.num_batches_tracked.tolist() == [0, 2, 2]


@every(mix=["raw", "sigmoid"])
def test_mem_bn_is_its_affine_in_eval_mode(mix: str) -> None:
    norm = scattered(mix).eval()
    scale, shift = norm.affine()
    assert scale.shape == shift.shape == (T, C)
    for step in range(T + 2):
        t, m = min(step, T - 1), membranes(step)
        expected = scale[t].view(-1, 1, 1) * m - shift[t].view(-1, 1, 1)
        torch.testing.assert_close(norm(m, step), expected, **CLOSE)


def test_mem_bn_starts_as_no_norm_at_all() -> None:
    x = torch.randn(T, 6, C, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plain, normed = HDLIF(T).double(), HDLIF(T, norm=MemBN(T, C)).double()
    assert torch.equal(normed(x, None, range(T))[0], plain(x, None, range(T))[0])
    # But for the form of the release.
    alpha, beta = MemBN(T, C, mix="sigmoid").gains()
    assert alpha.tolist() == beta.tolist() == [0.5] * T
