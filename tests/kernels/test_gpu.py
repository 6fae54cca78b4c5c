"""Chunks by Triton's kernels on a GPU, against the same by PyTorch's operations there."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from chunks import (
    CASES,
    as_written,
    assert_bits,
    assert_close,
    compared,
    drawn,
    everything,
    given_to,
    random_given,
    written_of,
)
from hdlif.kernels.chunk import FusedStep
from hdlif.nn import GLIF, HDLIF, SteppedNeuron

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that PyTorch can use")
pytest.importorskip("triton", reason="needs Triton: pip install 'hdlif[triton]'")

T = 5
every_neuron = pytest.mark.parametrize("make", CASES.values(), ids=CASES)


def there(given: list[Any]) -> list[Any]:
    """On the GPU, as leaves."""
    return [one.detach().cuda().requires_grad_(one.requires_grad) if isinstance(one, Tensor) else one for one in given]


def compare(neuron: SteppedNeuron, given: list[Any], steps: int, *, of: object = "") -> None:
    assert_close(*compared(neuron, there(given), steps), of=of)


@every_neuron
@pytest.mark.parametrize("shape", [(3, 8), (2, 4, 3, 3), (1, 200), (16, 64, 32, 32)], ids=str)
def test_a_chunk_is_what_operations_make_of_it(
    make: Callable[..., SteppedNeuron], shape: tuple[int, ...], launches: list[str]
) -> None:
    for given in ({}, {"channels": shape[1]}, {"channels": shape[1], "per_step": False}):
        neuron = make(time_steps=T, **given)
        for steps, shares in ((T, "per_step" in given), (1, False)):
            for x in (drawn(steps, *shape), drawn(1, *shape)):
                compare(neuron, given_to(neuron, x, steps, shares=shares), steps, of=(given, steps))
    assert len(launches) == 2 * 3 * 4


def test_channels_last_stay_so(launches: list[str]) -> None:
    neuron, x = HDLIF(T, channels=3), drawn(T, 2, 3, 4, 5)
    last = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (T, 2))
    compare(neuron, given_to(neuron, last, T), T)
    assert len(launches) == 2


def test_a_chunk_twice_has_the_same_bits() -> None:
    neuron = GLIF(T, channels=64)
    given = there(given_to(neuron, drawn(T, 8, 64, 16, 16), T))
    found = [everything(FusedStep(written_of(neuron)), given, T, states=len(neuron.states)) for _ in range(2)]
    assert_bits(*found)


def test_programs_at_random_are_what_operations_make_of_them(launches: list[str]) -> None:
    for seed in range(200):
        program, steps, given = random_given(seed)
        written, states, given = as_written(program), len(program.states), there(given)
        found, expected = (
            everything(FusedStep(written, kernels=one), given, steps, states=states) for one in ("", None)
        )
        assert_close(found, expected, of=seed)
    assert len(launches) > 200
