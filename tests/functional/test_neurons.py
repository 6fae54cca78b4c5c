"""The equations of neurons and surrogates, against numbers by hand and formulas that do not use autograd."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from cases import every
from hdlif.errors import ShapeError
from hdlif.functional import (
    ATan,
    DetachedReset,
    GLIFParameters,
    HardReset,
    Rectangle,
    Reset,
    Sigmoid,
    Surrogate,
    Triangle,
    dspike,
    glif_step,
    graded_lif_step,
    hd_lif_step,
    late_reset_lif_step,
    lif_step,
    parallel_hd_lif_step,
    soft_reset,
    unit_lif_step,
)

T, N = 6, 200
EXACT = {"atol": 1e-10, "rtol": 0.0}
Step = Callable[..., tuple[Tensor, Tensor]]


def through(step: Step, current: Tensor, *rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A step over [T, N], with a value of each row per step: spikes, and the potentials before and after each step."""
    potential = torch.zeros_like(current[0])
    spikes, before, after = [], [], []
    for t, arriving in enumerate(current):
        before.append(potential)
        spike, potential = step(arriving, potential, *(row[t] for row in rows))
        spikes.append(spike)
        after.append(potential)
    return torch.stack(spikes), torch.stack(before).detach(), torch.stack(after)


scan = partial(through, hd_lif_step)


def lif_scan(
    current: Tensor, *, leak: float = 0.5, threshold: float = 1.0, reset: Reset = soft_reset
) -> tuple[Tensor, Tensor]:
    rows = (torch.full((len(current),), value) for value in (leak, threshold))
    spikes, _, after = through(partial(lif_step, reset=reset), current, *rows)
    return spikes, after


def random_case(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Currents [T, N] that stay clear of ties, leaks and thresholds [T], and an arbitrary G = dL/ds."""
    g = torch.Generator().manual_seed(seed)
    current = torch.randn(T, N, generator=g, dtype=torch.float64) * 0.7 + 0.1
    leak = torch.rand(T, generator=g, dtype=torch.float64) * 0.9 + 0.05
    threshold = torch.rand(T, generator=g, dtype=torch.float64) * 0.8 + 0.1
    return current, leak, threshold, torch.randn(T, N, generator=g, dtype=torch.float64)


def fired(current: Tensor, leak: Tensor, threshold: Tensor) -> Tensor:
    """χ_t = 1[m_t > θ_t]."""
    _, before, _ = scan(current, leak, threshold)
    return (leak[:, None] * before + current > threshold[:, None]).double()


def test_hd_lif_trace_by_hand() -> None:
    # m: 0.25, 0.375, 0.9375 (fires 0.4375), 0.25 - 2 = -1.75 (kept: no lower bound), -0.875 + 1 = 0.125
    half = torch.full((5,), 0.5, dtype=torch.float64)
    found, _, potentials = scan(torch.tensor([[0.25], [0.25], [0.75], [-2.0], [1.0]], dtype=torch.float64), half, half)
    assert found[:, 0].tolist() == [0.0, 0.0, 0.4375, 0.0, 0.0]
    assert potentials[:, 0].tolist() == [0.25, 0.375, 0.5, -1.75, 0.125]


def test_p2_reset_clamps_potential_to_threshold_and_conserves_the_membrane() -> None:
    current, leak, threshold, _ = random_case(0)
    spikes, before, after = scan(current, leak, threshold)
    membrane = leak[:, None] * before + current
    torch.testing.assert_close(after, torch.minimum(membrane, threshold[:, None]), **EXACT)
    torch.testing.assert_close(after + spikes, membrane, **EXACT)
    assert (spikes >= 0).all()
    # 1 ulp: the code has v = m - s, not a minimum
    assert (after <= threshold[:, None] + 1e-15).all()


def test_a_potential_of_another_shape_is_refused() -> None:
    half = torch.tensor(0.5)

    def glif(current: Tensor, potential: Tensor, *_: Tensor) -> object:
        return glif_step(current, potential, current, GLIFParameters(*[half] * 8))

    for step in (hd_lif_step, lif_step, unit_lif_step, graded_lif_step, partial(late_reset_lif_step, size=half), glif):
        with pytest.raises(ShapeError, match=r"potential has shape \[3\], the current \[2\]"):
            step(torch.zeros(2), torch.zeros(3), half, half)


def test_hd_lif_derivatives_on_each_branch() -> None:
    # v = 0.25 and λ = 0.5 put 0.125 in; the rest is the current; it fires, is silent, and a tie is silent
    for membrane, chi in ((0.75, 1.0), (0.25, 0.0), (0.5, 0.0)):
        inputs = [torch.tensor(value, requires_grad=True) for value in (membrane - 0.125, 0.25, 0.5, 0.5)]
        spike, after = hd_lif_step(*inputs)
        ds = [float(g) for g in torch.autograd.grad(spike, inputs, retain_graph=True)]
        dv = [float(g) for g in torch.autograd.grad(after, inputs)]
        assert ds == [chi, 0.5 * chi, 0.25 * chi, -chi]
        assert dv == [1 - chi, 0.5 * (1 - chi), 0.25 * (1 - chi), chi]


def test_stbp_gradients_of_leak_and_threshold_follow_the_recurrence_of_firing_bits() -> None:
    current, leak, threshold, G = random_case(2)
    chi = fired(current, leak, threshold)
    g = torch.zeros(T + 1, N, dtype=torch.float64)
    carried = torch.zeros(T, N, dtype=torch.float64)
    for t in reversed(range(T)):
        carried[t] = leak[t + 1] * g[t + 1] if t + 1 < T else 0.0
        g[t] = chi[t] * G[t] + (1 - chi[t]) * carried[t]
    for value in (current, leak, threshold):
        value.requires_grad_()
    spikes, before, _ = scan(current, leak, threshold)
    (spikes * G).sum().backward()
    torch.testing.assert_close(current.grad, g[:T], **EXACT)
    torch.testing.assert_close(threshold.grad, (chi * (carried - G)).sum(1), **EXACT)
    torch.testing.assert_close(leak.grad, (g[:T] * before).sum(1), **EXACT)
    assert leak.grad is not None
    assert leak.grad[0] == 0


def test_gradcheck_passes_for_hd_lif_through_time() -> None:
    current, leak, threshold, _ = (v.detach()[:, :5] if v.ndim == 2 else v for v in random_case(4))
    _, before, _ = scan(current, leak, threshold)
    assert (leak[:, None] * before + current - threshold[:, None]).abs().min() > 1e-4
    inputs = tuple(v.clone().requires_grad_() for v in (current, leak, threshold))
    assert torch.autograd.gradcheck(lambda *a: scan(*a)[0], inputs)


def test_lif_traces_of_both_resets_detached_or_not() -> None:
    # λ = 0.5, θ = 1; soft m: 0.75, 1.125, 0.0625 + 1.5 = 1.5625, 0.28125 + 0.75 = 1.03125
    # hard m: 0.75, 1.125 -> -0.25, -0.125 + 1.5 = 1.375 -> -0.25, -0.125 + 0.75 = 0.625
    current = torch.tensor([[0.75], [0.75], [1.5], [0.75]], dtype=torch.float64)
    soft = [0.0, 1.0, 1.0, 1.0], [0.75, 0.125, 0.5625, 0.03125]
    hard = [0.0, 1.0, 1.0, 0.0], [0.75, -0.25, -0.25, 0.625]
    for reset, expected in ((soft_reset, soft), (HardReset(-0.25), hard)):
        for one in (reset, DetachedReset(reset)):
            spikes, after = lif_scan(current, reset=one)
            assert (spikes[:, 0].tolist(), after[:, 0].tolist()) == expected


def test_lif_fires_at_the_threshold_itself_and_emits_the_threshold() -> None:
    spikes, after = lif_scan(torch.tensor([[0.75], [0.375]], dtype=torch.float64), threshold=0.75)
    assert spikes[:, 0].tolist() == [0.75, 0.0]
    assert after[:, 0].tolist() == [0.0, 0.375]


@every(
    "reset",
    "dv_dm",
    of=[
        (soft_reset, lambda m, h, f: 1 - 0.75 * f),
        (DetachedReset(), lambda m, h, f: torch.ones_like(m)),
        (HardReset(), lambda m, h, f: 1 - h - m * f),
        (DetachedReset(HardReset()), lambda m, h, f: 1 - h),
    ],
)
def test_lif_temporal_jacobian_follows_the_hand_formula(reset: Reset, dv_dm) -> None:  # type: ignore[no-untyped-def]
    # ε[i, t] = ds_i/dm_t = θ f_i Π_{j=t+1..i} λ dv_{j-1}/dm_{j-1}; soft: dv/dm = 1 - θ f
    steps, neurons, leak, threshold = 5, 40, 0.5, 0.75
    # Multiples of 1/16: sums and halves of them are exact.
    draws = torch.Generator().manual_seed(0)
    current = (torch.randint(-15, 32, (steps, neurons), generator=draws).double() / 16).requires_grad_()
    spikes, after = lif_scan(current, leak=leak, threshold=threshold, reset=reset)
    before = torch.cat([torch.zeros(1, neurons, dtype=torch.float64), after[:-1].detach()])
    membrane = leak * before + current.detach()
    step, f = (membrane >= threshold).double(), Triangle()(membrane - threshold)
    along = dv_dm(membrane, step, f)
    for i in range(steps):
        (row,) = torch.autograd.grad(spikes[i].sum(), current, retain_graph=True)
        for t in range(steps):
            expected = threshold * f[i] if t <= i else torch.zeros(neurons, dtype=torch.float64)
            for j in range(t + 1, i + 1):
                expected = expected * leak * along[j - 1]
            torch.testing.assert_close(row[t], expected, **EXACT)


def test_parallel_hd_lif_equals_hd_lif_without_leak_in_value_and_gradient() -> None:
    current, _, threshold, G = random_case(8)
    given = [current.requires_grad_(), threshold.requires_grad_()]
    with_leak, _, _ = scan(current, torch.zeros(T, dtype=torch.float64), threshold)
    without = parallel_hd_lif_step(current, threshold[:, None])
    assert torch.equal(with_leak, without)
    for one, other in zip(*(torch.autograd.grad(spikes, given, G) for spikes in (with_leak, without)), strict=True):
        torch.testing.assert_close(one, other, **EXACT)


def test_graded_lif_spike_gradient_is_true_and_its_reset_uses_the_surrogate() -> None:
    current = torch.tensor([1.0, 0.25], dtype=torch.float64, requires_grad=True)
    half = torch.tensor(0.5, dtype=torch.float64)
    spike, after = graded_lif_step(current, torch.zeros_like(current), half, half)
    (of_spike,) = torch.autograd.grad(spike.sum(), current, retain_graph=True)
    (of_potential,) = torch.autograd.grad(after.sum(), current)
    assert of_spike.tolist() == [1.0, 0.0]
    # 1 - θ·f(m - θ), f(0.5) = 0.5, f(-0.25) = 0.75
    assert of_potential.tolist() == [0.75, 0.625]


def test_glif_trace_by_hand() -> None:
    # α = β = γ = λ = c = r = ½, l = 1/4, θ = 1: decay factor 1 - ½·½ = ¾, input weight ¾.
    # u_1 = -1/8 + 3/2 = 1.375 fires; u_2 = ¾·1.375·½ - 1/8 + 3/2 - ¼ = 1.640625 fires;
    # u_3 = ¾·1.640625·½ - 1/8 - ¼ = 0.240234375.
    values = dict.fromkeys(GLIFParameters.__dataclass_fields__, 0.5) | {"linear_leak": 0.25, "threshold": 1.0}
    parameters = GLIFParameters(**{name: torch.tensor(value) for name, value in values.items()})
    potential = fired = torch.zeros(1)
    for current, expected in ((2.0, (1.0, 1.375)), (2.0, (1.0, 1.640625)), (0.0, (0.0, 0.240234375))):
        fired, potential = glif_step(torch.tensor([current]), potential, fired, parameters)
        assert (fired.item(), potential.item()) == expected


def test_norm_of_the_membrane_stands_for_it_in_spike_and_potential() -> None:
    half = torch.tensor(0.5)
    spike, after = hd_lif_step(torch.tensor([1.0, 0.0]), torch.zeros(2), half, half, norm=lambda m: 2 * m - 0.25)
    assert spike.tolist() == [1.25, 0.0]
    assert after.tolist() == [0.5, -0.25]


VALUES: dict[Surrogate, dict[float, float]] = {
    Triangle(): {0.0: 1.0, -0.25: 0.75, 1.5: 0.0},
    Triangle(2.0): {1.0: 0.25},
    Rectangle(): {0.25: 1.0, 0.5: 0.0},
    Rectangle(2.0): {-0.75: 0.5},
    # σ(ln 3) = 3/4
    Sigmoid(): {0.0: 1.0, math.log(3) / 4: 0.75},
    Sigmoid(2.0): {-math.log(3) / 2: 0.375},
    ATan(): {0.0: 1.0, 1 / math.pi: 0.5},
    ATan(4.0): {-1 / math.pi: 0.4},
}


@every(surrogate=list(VALUES))
def test_surrogate_has_the_values_by_hand(surrogate: Surrogate) -> None:
    for x, value in VALUES[surrogate].items():
        assert surrogate(torch.tensor(x, dtype=torch.float64)).item() == pytest.approx(value, abs=1e-12), x


@every(surrogate=[Triangle(), Triangle(0.5), Rectangle(), Rectangle(3.0), Sigmoid(), Sigmoid(1.0), ATan(), ATan(5.0)])
def test_surrogate_has_unit_area(surrogate: Surrogate) -> None:
    # x = tan(u) brings the whole line into (-π/2, π/2); midpoints, 1e-4 for the jumps of the rectangle
    n = 100_000
    u = (torch.arange(n, dtype=torch.float64) + 0.5) / n * math.pi - math.pi / 2
    area = (surrogate(torch.tan(u)) / torch.cos(u) ** 2).sum() * math.pi / n
    assert area.item() == pytest.approx(1.0, abs=1e-4)


def test_dspike_is_the_derivative_of_the_smooth_step() -> None:
    b = torch.tensor(3.0, dtype=torch.float64)
    y = torch.linspace(0.001, 0.999, 50, dtype=torch.float64, requires_grad=True)
    smooth = (torch.tanh(b * (y - 0.5)) + torch.tanh(b / 2)) / (2 * torch.tanh(b / 2))
    (slope,) = torch.autograd.grad(smooth.sum(), y)
    torch.testing.assert_close(dspike(y.detach() - 0.5, b), slope, atol=1e-12, rtol=0)
