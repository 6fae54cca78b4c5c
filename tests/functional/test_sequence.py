"""HD-LIF over a chunk, as a scan, against the loop under autograd."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cases import every
from hdlif.errors import ParameterError, ShapeError
from hdlif.functional import hd_lif_sequence, hd_lif_step
from hdlif.functional.sequence import hd_lif_potentials, pack_bits, unpack_bits

EXACT = {"atol": 1e-10, "rtol": 0.0}


def loop(current: Tensor, potential: Tensor, leak: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    """The plain oracle: steps one by one under autograd."""
    spikes = []
    leak, threshold = (row.expand(len(current), *row.shape[1:]) for row in (leak, threshold))
    for k in range(len(current)):
        spike, potential = hd_lif_step(current[k], potential, leak[k], threshold[k])
        spikes.append(spike)
    return torch.stack(spikes), potential


def case(steps: int, rows: tuple[int, ...], seed: int) -> list[Tensor]:
    """Currents [K, 3, 5], a potential, leaks and thresholds with `rows` as their shape."""
    g = torch.Generator().manual_seed(seed)
    return [
        torch.randn(steps, 3, 5, generator=g, dtype=torch.float64).requires_grad_(),
        torch.randn(3, 5, generator=g, dtype=torch.float64).requires_grad_(),
        torch.rand(rows, generator=g, dtype=torch.float64).requires_grad_(),
        torch.rand(rows, generator=g, dtype=torch.float64).requires_grad_(),
    ]


def everything(function, inputs: list[Tensor], seed: int, *, learned_from: str = "both") -> list[Tensor]:  # type: ignore[no-untyped-def]
    """Spikes, last potential, and the gradient of a fixed weighting of both, or of one of them."""
    spikes, after = function(*inputs)
    g = torch.Generator().manual_seed(seed + 1)
    of_spikes = (spikes * torch.randn(spikes.shape, generator=g, dtype=spikes.dtype)).sum()
    of_potential = (after * torch.randn(after.shape, generator=g, dtype=after.dtype)).sum()
    loss = {"spikes": of_spikes, "potential": of_potential, "both": of_spikes + of_potential}[learned_from]
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    return [spikes.detach(), after.detach(), *torch.autograd.grad(loss, wanted)]


ROWS = {"layer": (0, 1, 1), "channel": (0, 1, 5), "shared": (1, 1, 1), "shared by steps": (1, 1, 5)}


@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    steps=st.integers(1, 17),
    rows=st.sampled_from(sorted(ROWS)),
    path=st.sampled_from(["loop", "scan"]),
    learned_from=st.sampled_from(["spikes", "potential", "both"]),
    learned=st.sampled_from([(0, 1, 2, 3), (0, 2, 3), (0, 1, 3), (0, 1, 2), (1, 3), (0,)]),
    seed=st.integers(0, 1000),
)
def test_sequence_equals_the_loop_in_value_and_every_gradient(
    steps: int, rows: str, path: str, learned_from: str, learned: tuple[int, ...], seed: int
) -> None:
    first, *rest = ROWS[rows]
    inputs = [
        one.detach().requires_grad_(i in learned) for i, one in enumerate(case(steps, (first or steps, *rest), seed))
    ]
    found = everything(lambda *a: hd_lif_sequence(*a, path=path), inputs, seed, learned_from=learned_from)
    for ours, oracle in zip(found, everything(loop, inputs, seed, learned_from=learned_from), strict=True):
        torch.testing.assert_close(ours, oracle, **EXACT)
    with torch.no_grad():
        assert not any(one.requires_grad for one in hd_lif_sequence(*inputs))


def test_scan_takes_logarithmically_many_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = []
    minimum = torch.minimum
    monkeypatch.setattr(torch, "minimum", lambda *a: rounds.append(1) or minimum(*a))
    hd_lif_potentials(torch.zeros(64, 1), torch.zeros(1), torch.ones(64, 1), torch.ones(64, 1))
    # six rounds of composition and the application to the first potential
    assert len(rounds) == 7


@every(shape=[(1,), (8,), (9,), (3, 5, 7), (0,)])
def test_bits_come_back(shape: tuple[int, ...]) -> None:
    values = torch.rand(shape, generator=torch.Generator().manual_seed(0)) > 0.5
    packed = pack_bits(values)
    assert packed.dtype == torch.uint8
    assert len(packed) == -(-values.numel() // 8)
    assert torch.equal(unpack_bits(packed, values.shape), values)


def test_unknown_path_and_other_shape_are_refused() -> None:
    current, potential, leak, threshold = (v.detach() for v in case(2, (2, 1, 1), 0))
    with pytest.raises(ValueError, match="choose one of loop, scan"):
        hd_lif_sequence(current, potential, leak, threshold, path="tree")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="they must be equal"):
        hd_lif_sequence(current, potential[:2], leak, threshold)


@every(leak=[-0.5, -1e-6, 1.5, float("nan"), float("inf")])
def test_a_scan_refuses_a_leak_under_which_its_steps_do_not_compose(leak: float) -> None:
    current, potential, _, threshold = case(5, (5, 1, 1), 0)
    leaks = torch.full((5, 1, 1), 0.5, dtype=torch.float64)
    leaks[3] = leak
    with pytest.raises(ParameterError, match=r"leak = .*; a scan requires a leak in 0\.\.1"):
        hd_lif_sequence(current, potential, leaks, threshold, path="scan")
