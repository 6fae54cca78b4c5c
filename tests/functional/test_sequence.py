"""HD-LIF over a chunk, as a scan and by forward mode, against the loop under autograd."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cases import every
from hdlif.errors import ParameterError, ShapeError
from hdlif.functional import forward_mode_gradient, hd_lif_sequence, hd_lif_step
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
    with pytest.raises(ParameterError, match=r"leak = .*; a scan takes one in 0\.\.1"):
        hd_lif_sequence(current, potential, leaks, threshold, path="scan")


T, B, N_IN, N_OUT = 6, 5, 4, 7


def layer_case(seed: int, *, per_channel: bool) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(T, B, N_IN, generator=g, dtype=torch.float64)
    weight = torch.randn(N_OUT, N_IN, generator=g, dtype=torch.float64).requires_grad_()
    leak, threshold = torch.rand(2, T, *([N_OUT] if per_channel else []), generator=g, dtype=torch.float64)
    return x, weight, leak, threshold, torch.randn(T, B, N_OUT, generator=g, dtype=torch.float64)


@every(seed=range(3), per_channel=[False, True])
def test_forward_mode_is_back_propagation_through_time(seed: int, per_channel: bool) -> None:
    x, weight, leak, threshold, upstream = layer_case(seed, per_channel=per_channel)
    potential, spikes = torch.zeros(B, N_OUT, dtype=torch.float64), []
    for t in range(T):
        spike, potential = hd_lif_step(x[t] @ weight.T, potential, leak[t], threshold[t])
        spikes.append(spike)
    # The edge to the next layer alone has the gradient G: the reset's own path is the neuron's.
    torch.stack([spike * 1 for spike in spikes]).backward(upstream)
    fired = torch.stack(spikes) > 0
    assert 0.1 < fired.double().mean() < 0.9
    found = forward_mode_gradient(x, fired, leak, upstream)
    torch.testing.assert_close(found, weight.grad, atol=1e-10, rtol=0)
    # What OTTT's trace leaves out: a neuron forgets when it fires.
    trace, ungated = torch.zeros(B, N_IN, dtype=torch.float64), torch.zeros_like(found)
    for t in range(T):
        trace = leak[t].mean() * trace + x[t]
        ungated += (upstream[t] * fired[t]).T @ trace
    assert (ungated - found).abs().max() > 0.1


def test_forward_mode_refuses_shapes_that_do_not_match() -> None:
    x, _, leak, _, upstream = layer_case(0, per_channel=False)
    fired = upstream > 0
    with pytest.raises(ShapeError, match=r"\[6, 5, 4\], \[5, 5, 7\], \[6\], \[6, 5, 7\]"):
        forward_mode_gradient(x, fired[:5], leak, upstream)
    for other in (leak[:2], torch.tensor(0.5), torch.rand(T, N_IN), torch.rand(T, 1, N_OUT)):
        with pytest.raises(ShapeError, match="have shapes"):
            forward_mode_gradient(x, fired, other, upstream)
    with pytest.raises(ShapeError, match="have shapes"):
        forward_mode_gradient(x[0], fired[0], leak, upstream[0])
