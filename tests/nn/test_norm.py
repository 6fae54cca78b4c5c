"""Batch norm in time and Mem-BN, against torch's own run step by step, and on ranks; gains without statistics."""

import copy
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from cases import every, sampled
from hdlif.errors import ShapeError, StateError
from hdlif.nn import HDLIF, Affine, BatchNorm1d, BatchNorm2d, MemBN, Temporal, carrying
from hdlif.nn.batch_statistics import Gather

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
    nn.init.constant_(ours.weight, 1.5)
    nn.init.constant_(ours.bias, -0.5)
    for norm in torchs:
        norm.weight, norm.bias = ours.weight, ours.bias
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
        gradients = [torch.autograd.grad(y, [x, ours.weight, ours.bias], towards) for y in (found, expected)]
        torch.testing.assert_close(*gradients, **EXACT)
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
        (ShapeError, r"shape \[5, 4, 2, 2\]; Mem-BN takes", lambda: MemBN(T, 3)(torch.ones(5, 4, 2, 2), 0)),
        (ValueError, "choose one of raw, sigmoid", lambda: MemBN(T, C, mix="tanh")),
        (ValueError, "cannot be combined with Mem-BN", lambda: HDLIF(T, norm=MemBN(T, C), path="fused")),
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


# A batch that is on several ranks, here threads


def on_ranks(shares: list[Tensor], run: Callable[[int, Tensor, Gather], None]) -> None:
    """Call run(rank, share, gather) for every share at the same time, each on a thread."""
    barrier, box = threading.Barrier(len(shares), timeout=30), [torch.empty(0)] * len(shares)

    def of(rank: int) -> None:
        def gather(tensor: Tensor) -> Tensor:
            box[rank] = tensor.clone()
            barrier.wait()
            gathered = torch.stack(box)
            barrier.wait()
            return gathered

        run(rank, shares[rank], gather)

    with ThreadPoolExecutor(len(shares)) as pool:
        list(pool.map(of, range(len(shares))))


def through(module: Temporal, x: Tensor, gather: Gather | None = None) -> Tensor:
    return module(x, None, carrying(range(T), gather=gather))[0]


def mem_bn() -> HDLIF:
    norm = MemBN(T, 3)
    nn.init.constant_(norm.bn_scale, 0.7)
    return HDLIF(T, norm=norm)


# Currents far from zero, where a variance from sums of squares would lose its digits; neurons near their threshold.
NETWORKS: dict[str, tuple[Callable[[], Temporal], float]] = {
    "shared": (lambda: BatchNorm2d(3), 1e4),
    "per step": (lambda: BatchNorm2d(3, time_steps=T), 1e4),
    "mean of all": (lambda: BatchNorm2d(3, time_steps=T, momentum=None), 1e4),
    "neurons with Mem-BN": (mem_bn, 0.0),
}


@sampled(len(NETWORKS), network=NETWORKS, constant=[False, True], sizes=[[4, 4], [1, 5, 2, 3]])
def test_ranks_normalise_as_one_process_with_the_whole_batch(
    network: tuple[Callable[[], Temporal], float], constant: bool, sizes: list[int]
) -> None:
    torch.manual_seed(0)
    make, offset = network
    alone = make().double()
    for name, parameter in alone.named_parameters():
        if name.endswith(("weight", "bias")):
            nn.init.uniform_(parameter, 0.5, 1.5)
    x = torch.randn(1 if constant else T, sum(sizes), 3, 2, 2, dtype=torch.float64) + offset
    slope = torch.randn(len(through(alone, x)), *x.shape[1:], dtype=torch.float64)
    ranks = [copy.deepcopy(alone) for _ in sizes]

    def loss(module: Temporal, x: Tensor, slope: Tensor, gather: Gather | None = None) -> tuple[Tensor, Tensor]:
        x = x.clone().requires_grad_()
        y = through(module, x, gather)
        (y * slope).sum().backward()
        assert x.grad is not None
        return y, x.grad

    y, grad = loss(alone, x, slope)
    outputs: dict[int, tuple[Tensor, Tensor]] = {}

    def run(rank: int, share: Tensor, gather: Gather) -> None:
        outputs[rank] = loss(ranks[rank], share, slopes[rank], gather)
        # A pass without a graph moves the statistics as well.
        with torch.no_grad():
            through(ranks[rank], share, gather)

    slopes = slope.split(sizes, 1)
    on_ranks(list(x.split(sizes, 1)), run)
    with torch.no_grad():
        through(alone, x)
    torch.testing.assert_close(torch.cat([outputs[r][0] for r in range(len(sizes))], 1), y, **CLOSE)
    torch.testing.assert_close(torch.cat([outputs[r][1] for r in range(len(sizes))], 1), grad, **CLOSE)
    for rank in ranks:
        for name, buffer in alone.named_buffers():
            torch.testing.assert_close(rank.get_buffer(name), buffer, **CLOSE)
    for name, parameter in alone.named_parameters():
        # Each rank has its part of the sum.
        parts = torch.stack([rank.get_parameter(name).grad for rank in ranks])
        torch.testing.assert_close(parts.sum(0), parameter.grad, **CLOSE)


def test_half_precision_is_summed_in_single() -> None:
    x = torch.randn(1, 8, 3, 2, 2, generator=torch.Generator().manual_seed(0)).bfloat16()
    alone, ranks, outputs = BatchNorm2d(3), [BatchNorm2d(3) for _ in range(2)], dict[int, Tensor]()
    expected = through(alone, x)
    on_ranks(list(x.split(4, 1)), lambda rank, *given: outputs.update({rank: through(ranks[rank], *given)}))
    assert outputs[0].dtype == torch.bfloat16
    torch.testing.assert_close(torch.cat([outputs[0], outputs[1]], 1), expected)
    torch.testing.assert_close(ranks[0].running_var, alone.running_var)


def test_under_autocast_on_a_cpu_values_go_on_in_float32() -> None:
    x = torch.randn(1, 8, 3, 2, 2).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        y = through(BatchNorm2d(3), x)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, through(BatchNorm2d(3), x.float()))


def test_ranks_are_not_asked_in_eval_mode() -> None:
    asked: list[Tensor] = []
    through(BatchNorm2d(3).eval(), torch.randn(T, 4, 3, 2, 2), lambda own: asked.append(own) or own)
    assert not asked
