"""Chunks by Triton's kernels, in Triton's interpreter, against the same by PyTorch's operations.

`tests/kernels/test_gpu.py` compares them on a GPU, `tests/kernels/test_triton_compiled.py` compiles them for some.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import chunks
from chunks import (
    CASES,
    SURROGATES,
    as_written,
    assert_bits,
    assert_close,
    assert_passes_on,
    drawn,
    everything,
    fires_twice,
    given_to,
    random_given,
    written_of,
)
from hdlif.accounting import watching_saved
from hdlif.equations import Needs, Saving, trace_written
from hdlif.errors import MissingExtraError
from hdlif.kernels.chunk import FusedStep, gpu
from hdlif.kernels.chunk import step as chunk_step
from hdlif.nn import GLIF, HDLIF, LIF, AdaptiveHDLIF, SteppedNeuron

# Before its interpreter is asked for, so that what else uses Triton in this process is compiled.
pytest.importorskip("triton", reason="needs Triton: pip install 'hdlif[triton]'")
# NumPy's, of numbers that are none.
pytestmark = [pytest.mark.usefixtures("interpreted"), pytest.mark.filterwarnings("ignore::RuntimeWarning:triton")]

T = 5

compared = partial(chunks.compared, kernels="triton")
every_neuron = pytest.mark.parametrize("make", CASES.values(), ids=CASES)


@every_neuron
def test_a_chunk_is_what_operations_make_of_it(make: Callable[..., SteppedNeuron], launches: list[str]) -> None:
    neuron = make(time_steps=T)
    assert_close(*compared(neuron, given_to(neuron, drawn(T, 5, 8), T), T))
    assert len(launches) == 2


@pytest.mark.slow
@every_neuron
@pytest.mark.parametrize("shape", [(3, 8), (2, 4, 3, 3), (1, 200), (2, 4, 4, 4)], ids=str)
def test_chunks_of_all_kinds_are_what_operations_make_of_them(
    make: Callable[..., SteppedNeuron], shape: tuple[int, ...], launches: list[str]
) -> None:
    """Rows a step and not, of one value and of channels; currents that are the same at all steps; one step."""
    for given in ({}, {"channels": shape[1]}, {"channels": shape[1], "per_step": False}):
        neuron = make(time_steps=T, **given)
        for steps, shares in ((T, "per_step" in given), (1, False)):
            of = given, steps
            assert_close(*compared(neuron, given_to(neuron, drawn(steps, *shape), steps, shares=shares), steps), of=of)
            assert_close(*compared(neuron, given_to(neuron, drawn(1, *shape), steps, shares=shares), steps), of=of)
    assert len(launches) == 2 * 3 * 4


@pytest.mark.parametrize("make", [HDLIF, partial(LIF, learned=True)], ids=["hdlif", "lif"])
def test_rows_of_channels_and_constant_currents(make: Callable[..., SteppedNeuron], launches: list[str]) -> None:
    for given in ({"channels": 4}, {"channels": 4, "per_step": False}):
        neuron = make(time_steps=T, **given)
        assert_close(*compared(neuron, given_to(neuron, drawn(T, 3, 4, 2, 5), T, shares="per_step" in given), T))
        assert_close(*compared(neuron, given_to(neuron, drawn(1, 4, 4), T, shares="per_step" in given), T))
    assert len(launches) == 8


def test_bits_that_do_not_fill_bytes_are_left_to_operations(launches: list[str]) -> None:
    neuron = HDLIF(T)
    for shape, number in (((3, 5), 0), ((3, 8), 2)):
        launches.clear()
        assert_close(*compared(neuron, given_to(neuron, drawn(T, *shape), T), T))
        assert len(launches) == number
    launches.clear()
    lif = LIF(T, learned=True)
    assert_close(*compared(lif, given_to(lif, drawn(T, 3, 5), T), T))
    assert len(launches) == 2


def test_channels_last_stay_so_and_rows_find_their_channels(launches: list[str]) -> None:
    neuron = HDLIF(T, channels=3)
    x = drawn(T, 2, 3, 4, 5)
    last = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (T, 2))
    found, expected = compared(neuron, given_to(neuron, last, T), T)
    assert_close(found, expected)
    assert found[0][0][0].is_contiguous(memory_format=torch.channels_last)
    assert len(launches) == 2


def test_a_chunk_twice_has_the_same_bits() -> None:
    neuron = GLIF(2, channels=4)
    given = given_to(neuron, drawn(2, 3, 4, 2, 4), 2)
    assert_bits(compared(neuron, given, 2)[0], compared(neuron, given, 2)[0])


def test_gradients_that_do_not_arrive_are_zeros(launches: list[str]) -> None:
    neuron = AdaptiveHDLIF(T)
    written, x = written_of(neuron), drawn(T, 3, 8)
    for asked in ((0,), (1,), (2,), (0, 2)):
        found = []
        for kernels in ("triton", None):
            given = given_to(neuron, x, T)
            spikes, after = FusedStep(written, kernels=kernels)(given[0], given[1:3], given[3:], steps=T)
            results = [spikes, *after]
            leaves = [one for one in given if isinstance(one, Tensor)]
            loss = sum((results[i] * drawn(*results[i].shape, seed=i)).sum() for i in asked)
            gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
            found.append([torch.zeros(()) if one is None else one for one in gradients])
        for its, gradient in zip(*found, strict=True):
            torch.testing.assert_close(its, gradient.expand_as(its), rtol=1e-4, atol=1e-4)
    assert len(launches) == 8


def test_nothing_is_saved_without_a_graph(launches: list[str]) -> None:
    neuron = GLIF(T)
    given = given_to(neuron, drawn(T, 3, 8), T)
    step = FusedStep(written_of(neuron), kernels="triton")
    count = 1 + len(neuron.states)
    expected, expected_after = step(given[0], given[1:count], given[count:], steps=T)
    with torch.no_grad():
        spikes, after = step(given[0], given[1:count], given[count:], steps=T)
    for value, its in zip((expected, *expected_after), (spikes, *after), strict=True):
        assert torch.equal(value, its)
    assert "result1" in launches[0]
    assert "result1" not in launches[1]


@every_neuron
def test_what_is_no_number_is_passed_on(make: Callable[..., SteppedNeuron], launches: list[str]) -> None:
    x = drawn(3, 2, 8)
    x[1, 0, :3] = torch.tensor([np.inf, -np.inf, np.nan])
    assert_passes_on(make(time_steps=3), x, 3, kernels="triton")
    assert len(launches) == 1


@pytest.mark.parametrize("surrogate", SURROGATES, ids=str)
def test_surrogates_that_are_programs_and_others(surrogate: Any, launches: list[str]) -> None:
    neuron = LIF(T, learned=True, surrogate=surrogate)
    assert_close(*compared(neuron, given_to(neuron, drawn(T, 3, 5), T), T))
    assert len(launches) == 2


def test_what_programs_cannot_run_is_left_to_operations(launches: list[str]) -> None:
    """A surrogate without a program whose argument is not saved; another dtype; rows in no columns; no neurons."""

    written = trace_written(fires_twice, states=("potential",), rows={"a": torch.tensor([0.5])})
    row = torch.tensor([[[0.5]]])
    hdlif = written_of(HDLIF(T))
    for one, given in (
        (written, [drawn(T, 3, 8).requires_grad_(), drawn(3, 8), row.clone().requires_grad_()]),
        (hdlif, [drawn(T, 3, 8, dtype=torch.float64).requires_grad_(), drawn(3, 8, dtype=torch.float64), row, row]),
        (hdlif, [drawn(T, 2, 3, 4, 2).requires_grad_(), drawn(2, 3, 4, 2), drawn(T, 1, 3, 1, 2), row]),
        (hdlif, [drawn(T, 0, 8).requires_grad_(), drawn(0, 8), row, row]),
    ):
        assert_close(*(everything(FusedStep(one, kernels=kernels), given, T, states=1) for kernels in ("triton", None)))
        assert not launches, given[0].shape


@pytest.mark.parametrize(
    "seeds", [range(15), pytest.param(range(15, 1000), marks=pytest.mark.slow)], ids=["some", "many"]
)
def test_programs_at_random_are_what_operations_make_of_them(seeds: range, launches: list[str]) -> None:
    for seed in seeds:
        program, steps, given = random_given(seed)
        written, states = as_written(program), len(program.states)
        asked = [one.requires_grad for one in given]
        found, expected = (
            everything(FusedStep(written, kernels=kernels), given, steps, states=states) for kernels in ("triton", None)
        )
        assert_close(found, expected, of=seed)
        if given[0].shape[0] == steps and any(asked):
            with watching_saved(given[1 + states :]) as saved:
                held = FusedStep(written, kernels="triton")(
                    given[0], given[1 : 1 + states], given[1 + states :], steps=steps
                )
            assert held is not None
            needs = Needs(asked[0], tuple(asked[1 : 1 + states]), tuple(asked[1 + states :]))
            assert saved.peak == Saving(written, needs, steps == 1).bytes(steps, given[0][0].numel()), seed
    assert len(launches) > len(seeds)


SPECIAL = [0.0, -0.0, 0.5, -0.5, 1e-40, -1e-40, -1.0, 2.0**23 - 0.5, 2.0**31, -3e38, np.inf, -np.inf, np.nan]
OPERATIONS: list[Callable[[Any, Any], Any]] = [
    torch.add,
    torch.subtract,
    torch.multiply,
    torch.minimum,
    torch.maximum,
    torch.fmin,
    torch.fmax,
    lambda x, y: x / 3.0 - y,
    lambda x, y: -x * torch.abs(y),
    lambda x, y: torch.relu(x),
    lambda x, y: torch.clamp(x, -0.5, 0.5),
    lambda x, y: torch.floor(x),
    lambda x, y: torch.where(x > y, x, 1.0),
    lambda x, y: torch.where(x >= y, y, 2.0),
]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_operations_on_all_pairs_of_special_numbers(operation: Callable[[Any, Any], Any], launches: list[str]) -> None:
    written = trace_written(lambda x, y: (operation(x, y), y), states=("y",), rows={})
    x, y = (one.flatten()[None] for one in torch.meshgrid(*[torch.tensor(SPECIAL)] * 2, indexing="ij"))
    found, expected, native = (
        FusedStep(written, kernels=one)(x[None], [y], [], steps=1)[0] for one in ("triton", None, "")
    )
    torch.testing.assert_close(found, expected, rtol=0.0, atol=0.0, equal_nan=True)
    # A relu of -0 is 0 by all kernels, and -0 by PyTorch.
    numbers = ~found.isnan()
    assert torch.equal(torch.signbit(found[numbers]), torch.signbit(native[numbers]))
    assert len(launches) == 1


def test_what_lies_behind_the_last_neuron_is_in_no_sum(launches: list[str]) -> None:
    """There rows of channels are read as 0, by which is divided."""

    def step(current: Any, a: Any, b: Any) -> Any:
        return current / a * b

    written = trace_written(step, states=(), rows={"a": torch.ones(T, 4), "b": torch.ones(T, 1)})
    for shape in ((3, 4, 3), (3, 4, 1)):
        rows = written.rows([1.0 + drawn(T, 1, 4, 1).abs(), drawn(T, 1, 1, 1)])
        given = [drawn(T, *shape), *(row.requires_grad_() if isinstance(row, Tensor) else row for row in rows)]
        found, expected = (
            everything(FusedStep(written, kernels=kernels), given, T, states=0) for kernels in ("triton", None)
        )
        assert_close(found, expected)
        assert all(gradient.isfinite().all() for gradient in found[1])
    assert len(launches) == 4


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk_step, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'hdlif\[triton\]'"):
        FusedStep(written_of(HDLIF(T)), kernels="triton")


def test_tensors_on_a_cpu_are_for_other_kernels(launches: list[str]) -> None:
    neuron = HDLIF(T)
    given = given_to(neuron, drawn(T, 3, 8), T)
    everything(FusedStep(written_of(neuron)), given, T, states=1)
    assert not launches
    assert gpu.serves(given[0], given[1:2], given[2:])
