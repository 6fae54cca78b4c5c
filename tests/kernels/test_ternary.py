"""Weights of 1.5 bits by the compiled kernel are those of the equation."""

import pytest
import torch

from hdlif import _native
from hdlif.functional import ternarize_weight
from hdlif.kernels.weights import ternarized


def latent(*shape: int, seed: int = 0, scale: float = 0.7) -> torch.Tensor:
    return (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale).requires_grad_()


@pytest.mark.parametrize("shape", [(1,), (15,), (7, 3), (33, 5, 3, 3), (64, 300, 3, 3)], ids=str)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("scale", [0.7, 0.05])
def test_values_and_gradients_are_those_of_the_equation(shape: tuple[int, ...], threads: int, scale: float) -> None:
    torch.set_num_threads(threads)
    weight = latent(*shape, scale=scale)
    back = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    results = []
    for quantize in (ternarized, ternarize_weight):
        weight_q = quantize(weight)
        results.append((weight_q, *torch.autograd.grad(weight_q, weight, back)))
    for found, right in zip(*results, strict=True):
        assert torch.equal(found, right)


def test_no_weight_above_the_threshold_and_ends_of_the_range() -> None:
    for values in ([0.0, 0.0], [1.0, -1.0, 3.0, -0.1], [-0.0, 0.5]):
        weight = torch.tensor(values).requires_grad_()
        assert torch.equal(ternarized(weight), ternarize_weight(weight))
        gradients = [
            torch.autograd.grad(quantize(weight).sum(), weight)[0] for quantize in (ternarized, ternarize_weight)
        ]
        assert torch.equal(*gradients)


def test_what_is_no_number_spoils_all_as_in_the_equation() -> None:
    weight = latent(40)
    with torch.no_grad():
        weight[3] = torch.nan
    assert ternarized(weight).isnan().any()
    assert ternarize_weight(weight).isnan().any()


@pytest.mark.parametrize("layout", ["channels last", "strided", "float64"])
def test_other_layouts_and_dtypes(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = latent(6, 5, 3, 3)
    given = {
        "channels last": weight.detach().contiguous(memory_format=torch.channels_last),
        "strided": weight.detach()[:, ::2],
        "float64": weight.detach().double(),
    }[layout]
    calls = []
    kernel = _native.ternarize
    monkeypatch.setattr(_native, "ternarize", lambda *a, **k: (calls.append(1), kernel(*a, **k)))
    torch.testing.assert_close(ternarized(given), ternarize_weight(given), rtol=1e-7, atol=0)
    assert len(calls) == (layout == "channels last")


@pytest.mark.parametrize("size", [1, 7, 16, 100, 40_000])
def test_every_instruction_set_gives_the_same_bits(size: int) -> None:
    weight = latent(size).detach()
    results = []
    for name in _native.instruction_sets():
        results.append(torch.empty(size))
        _native.ternarize(weight.data_ptr(), size, results[-1].data_ptr(), threads=1, instruction_set=name)
    assert all(torch.equal(results[0], other) for other in results)
    assert torch.equal(results[0], ternarize_weight(weight))
