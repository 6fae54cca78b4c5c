"""Weights of 1.5 bits by the compiled kernel are those of the equation."""

import pytest
import torch
from torch import Tensor

from hdlif import _native
from hdlif.functional import ternarize_weight
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
