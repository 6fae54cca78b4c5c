"""Batch norm by Triton's kernels, in Triton's interpreter, against PyTorch's.

`tests/kernels/test_gpu.py` compares them on a GPU, `tests/kernels/test_triton_compiled.py` compiles them for some.
"""

import pytest
import torch

from hdlif.kernels.batch_norm import moments_of
from norms import LAYOUTS, SHAPES, assert_as_pytorch, by_pytorch, by_rows, drawn_maps, drawn_norm

pytest.importorskip("triton", reason="needs Triton: pip install 'hdlif[triton]'")
# NumPy's, of numbers that are none.
pytestmark = [pytest.mark.usefixtures("as_a_gpu"), pytest.mark.filterwarnings("ignore::RuntimeWarning:triton")]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("per_step", [False, True])
def test_values_gradients_and_statistics_are_pytorch_s(
    per_step: bool, shape: tuple[int, ...], layout: str, launches: list[str]
) -> None:
    maps = drawn_maps(shape, layout)
    assert_as_pytorch(maps, lambda: drawn_norm(shape, per_step=per_step))
    assert launches == ["block_moments", "added_moments", "rows", "row_gradients", "add_statistics_gradient"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_mean_far_from_0_takes_nothing_from_the_variance(layout: str) -> None:
    maps = drawn_maps((2, 3, 5, 4, 3), layout) + 1e4
    moments = moments_of(maps)
    found = moments.squares - moments.totals.square() / moments.count
    wide = maps.double()
    distances = (wide - wide.mean((1, 3, 4), keepdim=True)).square().sum((1, 3, 4))
    torch.testing.assert_close(found, distances, rtol=1e-5, atol=0)
    torch.testing.assert_close(moments.totals, wide.sum((1, 3, 4)), rtol=1e-12, atol=0)
    # A mean in float32 is off by up to 5e-4.
    assert_as_pytorch(maps, lambda: drawn_norm(maps.shape), off=2e-3)


def test_running_statistics_normalise_and_stay(launches: list[str]) -> None:
    shape = (3, 2, 5, 3, 3)
    maps = drawn_maps(shape, "contiguous")
    norm = drawn_norm(shape, per_step=True, of_batch=False)
    before = norm.running_mean.clone(), norm.running_var.clone()
    mean, scale, shift = norm.rows(moments_of(maps))
    (y, *_), _ = by_pytorch(maps, norm)
    torch.testing.assert_close(scale * (maps - mean) + shift, y, rtol=1e-5, atol=1e-5)
    assert torch.equal(norm.running_mean, before[0])
    assert torch.equal(norm.running_var, before[1])
    assert launches[-1] == "rows"


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_no_number_spoils_its_channel_and_step_alone(layout: str, bad: float) -> None:
    shape = (2, 3, 5, 4, 3)
    maps = drawn_maps(shape, layout)
    maps[1, 0, 2, 1, 1] = bad
    found, expected = (one(maps, drawn_norm(shape, per_step=True)) for one in (by_rows, by_pytorch))
    for its, right in zip((*found[0], *found[1]), (*expected[0], *expected[1]), strict=True):
        assert torch.equal(its.isfinite(), right.isfinite())
        torch.testing.assert_close(its[right.isfinite()], right[right.isfinite()], rtol=1e-4, atol=1e-4)


def test_the_same_bits_twice() -> None:
    shape = (2, 3, 5, 4, 3)
    maps = drawn_maps(shape, "channels last")
    first, second = (by_rows(maps, drawn_norm(shape)) for _ in range(2))
    for a, b in zip((*first[0], *first[1]), (*second[0], *second[1]), strict=True):
        assert torch.equal(a, b)
