"""Batch norm in time, against torch's own run step by step and against closed forms."""

import pytest
import torch

from cases import every
from hdlif.errors import ShapeError
from hdlif.nn import BatchNorm1d, BatchNorm2d

EXACT = {"atol": 1e-12, "rtol": 0.0}


def sequence(steps: int, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
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
    kind, theirs = (BatchNorm1d, torch.nn.BatchNorm1d) if len(shape) < 4 else (BatchNorm2d, torch.nn.BatchNorm2d)
    ours = kind(3, time_steps=time_steps, momentum=momentum).double()
    torchs = [theirs(3, momentum=momentum).double() for _ in range(time_steps or 1)]
    for norm in (ours, *torchs):
        torch.nn.init.constant_(norm.weight, 1.5)
        torch.nn.init.constant_(norm.bias, -0.5)
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


def test_constant_input_enters_the_statistics_once_per_step_in_closed_form() -> None:
    # K steps with the same batch mean μ: running = (1 - p)^K running + (1 - (1 - p)^K) μ
    norm = BatchNorm2d(3, momentum=0.3).double()
    norm.running_mean.fill_(2.0)
    norm.running_var.fill_(3.0)
    x = sequence(1)
    norm(x, None, range(4))
    kept = 0.7**4
    mean = x[0].mean((0, 2, 3))
    var = x[0].transpose(0, 1).flatten(1).var(1, unbiased=True)
    torch.testing.assert_close(norm.running_mean, kept * 2 + (1 - kept) * mean, **EXACT)
    torch.testing.assert_close(norm.running_var, kept * 3 + (1 - kept) * var, **EXACT)
    assert norm.num_batches_tracked == 4


def test_a_graph_outlives_what_later_steps_do_to_the_statistics() -> None:
    norm, reference = BatchNorm1d(3), torch.nn.BatchNorm1d(3)
    x = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    one, other = x[:1].clone().requires_grad_(), x[0].clone().requires_grad_()
    y, _ = norm(one, None, range(1))
    with torch.no_grad():
        norm(x[1:], None, range(1, 4))
    (y[0] * x[1]).sum().backward()
    (reference(other) * x[1]).sum().backward()
    assert one.grad is not None
    torch.testing.assert_close(one.grad[0], other.grad)


def test_what_a_norm_is_not_for_is_refused() -> None:
    with pytest.raises(ShapeError, match="for 3 time steps"):
        BatchNorm2d(3)(torch.ones(2, 4, 3, 2, 2), None, range(3))
    with pytest.raises(ShapeError, match=r"BatchNorm1d is for \[K, B, C\] or \[K, B, C, L\]"):
        BatchNorm1d(3)(torch.ones(2, 4, 3, 2, 2), None, range(2))
    with pytest.raises(ValueError, match="time_steps = 0; it must be at least 1, or None"):
        BatchNorm2d(3, time_steps=0)


# Statistics per step


def test_constant_input_enters_the_statistics_of_each_of_its_steps() -> None:
    constant, repeated = (BatchNorm2d(3, time_steps=3).double() for _ in range(2))
    x = sequence(1)
    y, _ = constant(x, None, range(1, 3))
    torch.testing.assert_close(y.expand(2, -1, -1, -1, -1), repeated(x.expand(2, -1, -1, -1, -1), None, range(1, 3))[0])
    assert len(y) == 1
    for name, buffer in repeated.named_buffers():
        torch.testing.assert_close(getattr(constant, name), buffer, **EXACT)
    assert constant.num_batches_tracked.tolist() == [0, 1, 1]


def test_forgotten_statistics_are_those_of_the_steps_named() -> None:
    norm = BatchNorm2d(3, time_steps=3).double()
    norm(sequence(3), None, range(3))
    kept = norm.running_mean[2].clone()
    norm.forget(2)
    assert norm.running_mean[:2].eq(0).all()
    assert torch.equal(norm.running_mean[2], kept)
    assert norm.num_batches_tracked.tolist() == [0, 0, 1]
