"""Weights of 1.5 bits by the compiled kernel are those of the equation, and the threads of the compiled kernels."""

import multiprocessing
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hdlif import _native
from hdlif.functional import ternarize_weight
from hdlif.nn.kernels.tensors import openmp_parallel, share_threads
from hdlif.nn.kernels.ternary import ternarize


def latent(*shape: int, scale: float = 0.7) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)) * scale


def assert_same(weight: Tensor) -> None:
    """In every bit, values and gradients."""
    weight = weight.detach().requires_grad_()
    back = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    results = []
    for quantize in (ternarize, ternarize_weight):
        weight_q = quantize(weight)
        results.append((weight_q, *torch.autograd.grad(weight_q, weight, back)))
    for found, right in zip(*results, strict=True):
        assert torch.equal(found, right), weight.shape


def test_values_and_gradients_are_those_of_the_equation() -> None:
    for threads in (1, 3):
        torch.set_num_threads(threads)
        for shape in ((1,), (15,), (7, 3), (33, 5, 3, 3), (64, 300, 3, 3)):
            for scale in (0.7, 0.05):
                assert_same(latent(*shape, scale=scale))
    # No weight above the threshold, and the ends of the range.
    for values in ([0.0, 0.0], [1.0, -1.0, 3.0, -0.1], [-0.0, 0.5]):
        assert_same(torch.tensor(values))


def test_what_is_no_number_spoils_all_as_in_the_equation() -> None:
    weight = latent(40)
    weight[3] = torch.nan
    assert ternarize(weight).isnan().any()
    assert ternarize_weight(weight).isnan().any()


def test_other_layouts_and_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, calls, kernel = latent(6, 5, 3, 3), list[int](), _native.ternarize
    monkeypatch.setattr(_native, "ternarize", lambda *a, **k: (calls.append(1), kernel(*a, **k)))
    last = weight.contiguous(memory_format=torch.channels_last)
    for given, is_run in ((last, True), (weight[:, ::2], False), (weight.double(), False)):
        calls.clear()
        torch.testing.assert_close(ternarize(given), ternarize_weight(given), rtol=1e-7, atol=0)
        assert bool(calls) == is_run


def test_every_instruction_set_gives_the_same_bits() -> None:
    for size in (1, 7, 16, 100, 40_000):
        weight = latent(size)
        for name in _native.instruction_sets():
            found = torch.empty(size)
            _native.ternarize(weight.data_ptr(), size, found.data_ptr(), threads=1, instruction_set=name)
            assert torch.equal(found, ternarize_weight(weight)), (size, name)


# The threads of every kernel, of which this is the shortest. A forked process has only the one that forked it.
THREADS = 3
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="as on Linux")


@pytest.fixture
def several_threads() -> Iterator[Tensor]:
    """Weights enough for several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield latent(1_000_000)
    torch.set_num_threads(before)
    share_threads()


@on_linux
def test_kernels_take_the_threads_that_pytorch_has_and_give_the_same_on_their_own(several_threads: Tensor) -> None:
    if not openmp_parallel():
        pytest.skip("PyTorch has threads of another kind")
    threads = Path("/proc/self/task")
    # So that PyTorch has made its own.
    several_threads.add(1)
    before = len(list(threads.iterdir()))
    shared = ternarize(several_threads)
    assert len(list(threads.iterdir())) == before
    _native.set_parallel(0)
    assert torch.equal(ternarize(several_threads), shared)


def _in_child(queue: "multiprocessing.Queue[list[float]]", weight: Tensor, to: Tensor) -> None:
    # No operation of PyTorch's, which would wait for its threads for ever.
    _native.ternarize(weight.data_ptr(), weight.numel(), to.data_ptr(), threads=THREADS)
    queue.put(to[-9:].tolist())


@on_linux
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_does_not_wait_for_threads_that_it_has_not(several_threads: Tensor) -> None:
    here = ternarize(several_threads)
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[list[float]] = context.Queue()
    child = context.Process(target=_in_child, args=(queue, several_threads, torch.zeros_like(several_threads)))
    child.start()
    assert queue.get(timeout=60) == here[-9:].tolist()
    child.join(timeout=60)
    assert child.exitcode == 0
