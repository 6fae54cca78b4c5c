"""Batch norms on a batch that lies on several ranks, here threads, against the same batch on one."""

import copy
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from cases import sampled
from hdlif.nn import HDLIF, BatchNorm2d, MemBN, carrying
from hdlif.nn.batch_statistics import Gather

STEPS = 3


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


class Currents(nn.Module):
    def __init__(self, time_steps: int | None, momentum: float | None) -> None:
        super().__init__()
        self.norm = BatchNorm2d(3, time_steps=time_steps, momentum=momentum)

    def forward(self, x: Tensor, gather: Gather | None = None) -> Tensor:
        return self.norm(x, None, carrying(range(STEPS), gather=gather))[0]


class Neurons(nn.Module):
    """HD-LIF with Mem-BN, which is given what the steps of its neuron carry."""

    def __init__(self) -> None:
        super().__init__()
        norm = MemBN(STEPS, 3)
        nn.init.constant_(norm.bn_scale, 0.7)
        self.act = HDLIF(STEPS, norm=norm)

    def forward(self, x: Tensor, gather: Gather | None = None) -> Tensor:
        # Near the threshold, so that neither all fire nor none.
        return self.act(x - 1e4, None, carrying(range(STEPS), gather=gather))[0]


NETWORKS = {
    "shared": lambda: Currents(None, 0.1),
    "per step": lambda: Currents(STEPS, 0.1),
    "mean of all": lambda: Currents(STEPS, None),
    "neurons with Mem-BN": Neurons,
}


@sampled(len(NETWORKS), network=list(NETWORKS), constant=[False, True], sizes=[[4, 4], [1, 5, 2, 3]])
def test_ranks_normalise_as_one_process_with_the_whole_batch(network: str, constant: bool, sizes: list[int]) -> None:
    torch.manual_seed(0)
    alone = NETWORKS[network]().double()
    for name, parameter in alone.named_parameters():
        if name.endswith(("weight", "bias")):
            nn.init.uniform_(parameter, 0.5, 1.5)
    # Far from zero, where a variance from sums of squares would lose its digits.
    x = torch.randn(1 if constant else STEPS, sum(sizes), 3, 2, 2, dtype=torch.float64) + 1e4
    slope = torch.randn(len(alone(x)), *x.shape[1:], dtype=torch.float64)
    ranks = [copy.deepcopy(alone) for _ in sizes]

    def loss(network: nn.Module, x: Tensor, slope: Tensor, gather: Gather | None = None) -> tuple[Tensor, Tensor]:
        x = x.clone().requires_grad_()
        y = network(x, gather)
        (y * slope).sum().backward()
        assert x.grad is not None
        return y, x.grad

    y, grad = loss(alone, x, slope)
    outputs: dict[int, tuple[Tensor, Tensor]] = {}

    def run(rank: int, share: Tensor, gather: Gather) -> None:
        outputs[rank] = loss(ranks[rank], share, slopes[rank], gather)
        # A pass without a graph moves the statistics as well.
        with torch.no_grad():
            ranks[rank](share, gather)

    slopes = slope.split(sizes, 1)
    on_ranks(list(x.split(sizes, 1)), run)
    with torch.no_grad():
        alone(x)
    tolerance = {"atol": 1e-10, "rtol": 0.0}
    torch.testing.assert_close(torch.cat([outputs[r][0] for r in range(len(sizes))], 1), y, **tolerance)
    torch.testing.assert_close(torch.cat([outputs[r][1] for r in range(len(sizes))], 1), grad, **tolerance)
    for rank in ranks:
        for name, buffer in alone.named_buffers():
            torch.testing.assert_close(rank.get_buffer(name), buffer, **tolerance)
    for name, parameter in alone.named_parameters():
        # Each rank has its part of the sum.
        parts = torch.stack([rank.get_parameter(name).grad for rank in ranks])
        torch.testing.assert_close(parts.sum(0), parameter.grad, **tolerance)


def test_half_precision_is_summed_in_single() -> None:
    x = torch.randn(1, 8, 3, 2, 2, generator=torch.Generator().manual_seed(0)).bfloat16()
    alone, outputs = Currents(None, 0.1), dict[int, Tensor]()
    ranks = [copy.deepcopy(alone) for _ in range(2)]
    expected = alone(x)
    on_ranks(list(x.split(4, 1)), lambda rank, share, gather: outputs.update({rank: ranks[rank](share, gather)}))
    assert outputs[0].dtype == torch.bfloat16
    torch.testing.assert_close(torch.cat([outputs[0], outputs[1]], 1), expected)
    torch.testing.assert_close(ranks[0].norm.running_var, alone.norm.running_var)


def test_ranks_are_not_asked_in_eval_mode() -> None:
    asked: list[Tensor] = []
    Currents(None, 0.1).eval()(torch.randn(STEPS, 4, 3, 2, 2), lambda own: asked.append(own) or own)
    assert not asked
