"""The compiled kernels run on PyTorch's threads, give the same on their own, and none are there in a forked process."""

import multiprocessing
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from hdlif import _native
from hdlif.nn.kernels.tensors import openmp_parallel, share_threads
from hdlif.nn.kernels.ternary import ternarize

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="as on Linux")
THREADS = 3


@pytest.fixture(autouse=True)
def _several_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)
    share_threads()


def threads_of_process() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def result() -> torch.Tensor:
    return ternarize(torch.randn(1_000_000, generator=torch.Generator().manual_seed(0)))


def test_kernels_take_the_threads_that_pytorch_has() -> None:
    if not openmp_parallel():
        pytest.skip("PyTorch has threads of another kind")
    # So that PyTorch has made its own.
    torch.randn(1_000_000).add_(1)
    before = threads_of_process()
    result()
    assert threads_of_process() == before


def test_their_own_threads_give_the_same() -> None:
    shared = result()
    _native.set_parallel(0)
    assert torch.equal(result(), shared)


def _in_child(queue: "multiprocessing.Queue[list[float]]", weight: torch.Tensor, to: torch.Tensor) -> None:
    # No operation of PyTorch's, which would wait for its threads for ever.
    _native.ternarize(weight.data_ptr(), weight.numel(), to.data_ptr(), threads=THREADS)
    queue.put(to[-9:].tolist())


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_does_not_wait_for_threads_that_it_has_not() -> None:
    weight = torch.randn(1_000_000, generator=torch.Generator().manual_seed(0))
    here = ternarize(weight)
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[list[float]] = context.Queue()
    child = context.Process(target=_in_child, args=(queue, weight, torch.zeros_like(weight)))
    child.start()
    assert queue.get(timeout=60) == here[-9:].tolist()
    child.join(timeout=60)
    assert child.exitcode == 0
