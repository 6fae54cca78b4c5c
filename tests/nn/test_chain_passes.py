"""Norms of a chain that are a pass of their own, with what is added after them."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cases import every, sampled
from hdlif.nn import BatchNorm2d, QuantConv2d, Scope, Sequential, SpikeQuantizer, State, Temporal, Ternary, chain
from nn.test_chain import TIME_STEPS, assert_alike, currents, hd_lif, watch


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Norms that were a pass of their own, however small: "alone", or with what was added, "plus"."""
    found: list[str] = []
    for name, place in (("apply_rows", 2), ("apply_norm", 3)):
        say = lambda *given, place=place: "plus" if given[place:] and given[place] is not None else "alone"  # noqa: E731
        watch(monkeypatch, chain, name, say, found)
    monkeypatch.setattr(chain, "WORTH_NORMALISING", 0)
    return found


class Branches(Temporal):
    """What a chain gives, plus another value."""

    def __init__(self, *, weights: Any, per_step: bool) -> None:
        super().__init__()
        self.neuron = hd_lif(SpikeQuantizer() if weights is not None else None)
        self.conv = QuantConv2d(6, 16, 3, padding=1, quantizer=weights)
        self.norm = BatchNorm2d(16, time_steps=TIME_STEPS if per_step else None)
        self.other = nn.Conv2d(6, 16, 1)

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State | None]:
        scope = Scope(self, state, steps)
        other = x[:1] if self.is_constant else x
        return scope.chain(x, "neuron", "conv", "norm", plus=lambda: scope("other", other)), scope.state

    is_constant = False


@sampled(
    12,
    weights=[None, Ternary()],
    layout=["plain", "channels last"],
    per_step=[True, False],
    is_constant=[True, False],
    learn=[True, False],
)
def test_a_norm_adds_what_stands_behind_it(
    weights: Any,
    layout: str,
    per_step: bool,
    is_constant: bool,
    learn: bool,
    monkeypatch: pytest.MonkeyPatch,
    passes: list[str],
) -> None:
    passes.clear()
    torch.manual_seed(0)
    network = Branches(weights=weights, per_step=per_step)
    network.is_constant = is_constant
    with torch.no_grad():
        network.norm.weight.copy_(torch.rand(16) + 0.5)
    assert_alike(network, currents(layout=layout), (1, 3), monkeypatch, learn=learn)
    # A convolution of codes gives channels last, another one of small maps does not; the other branch is laid as x is.
    is_laid_alike = (layout == "channels last") == (weights is not None)
    assert passes == (["plus"] if is_laid_alike else ["alone"]) * 2


class Repeated(Sequential):
    """A network that is given the first step as an input constant in time."""

    def forward(self, x: Tensor, state: Any, steps: range) -> Any:  # type: ignore[override]
        return super().forward(x[:1], state, steps)


@every(momentum=[0.1, None], per_step=[True, False], learn=[True, False])
def test_what_is_the_same_at_all_steps_is_normalised_once(
    momentum: float | None, per_step: bool, learn: bool, monkeypatch: pytest.MonkeyPatch, passes: list[str]
) -> None:
    passes.clear()
    norm = BatchNorm2d(6, time_steps=TIME_STEPS if per_step else None, momentum=momentum)
    assert_alike(Repeated({"norm": norm, "neuron": hd_lif()}), currents(), (1, 3), monkeypatch, learn=learn)
    # The first chunk has one step, whose rows the neuron applies.
    assert passes == ["alone"]


def test_maps_that_others_read_are_not_written_over() -> None:
    """A norm's own pass may take the place of sums that a convolution has just made, and of nothing else."""
    x = currents(channels=16).repeat(1, 8, 1, 1, 1)
    before = x.clone()
    with torch.no_grad():
        first, _ = Sequential(BatchNorm2d(16), BatchNorm2d(16))(x)
    assert torch.equal(x, before)
    assert first.data_ptr() != x.data_ptr()
