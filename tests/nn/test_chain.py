"""Children that run as one give what they give one by one: values, states, statistics and gradients."""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cases import every, sampled
from hdlif.errors import ShapeError, StateError
from hdlif.functional import Triangle, heaviside
from hdlif.learning import SLTT, STBP, StochasticStep
from hdlif.models import resnet
from hdlif.models.blocks import Place
from hdlif.nn import (
    HDLIF,
    LIF,
    BatchNorm2d,
    EquationNeuron,
    HeldWeights,
    Measure,
    ParallelHDLIF,
    QuantConv2d,
    Scope,
    Sequential,
    SpikeQuantizer,
    State,
    Temporal,
    carrying,
    chain,
    detach,
)
from hdlif.nn import scope as scope_module
from hdlif.nn.kernels import batch_norm
from hdlif.nn.synapses import Binary, Integer, Ternary
from hdlif.report.accounting.memory import watching_saved

TIME_STEPS = 4


def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scope_module, "may_run_as_one", lambda *_: False)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What ran as a part of a chain: "rows" of norms, "coded" spikes, "sums" of codes."""
    found: list[str] = []

    def watch(owner: Any, name: str, what: str) -> None:
        made = getattr(owner, name)

        def watched(*given: Any, **named: Any) -> Any:
            found.append(what)
            return made(*given, **named)

        monkeypatch.setattr(owner, name, watched)

    watch(batch_norm.Norm, "rows", "rows")
    watch(chain, "sum_products", "sums")
    watch(chain, "convolve_with_moments", "sums with a graph")
    watch(SpikeQuantizer, "coded", "coded with a graph")
    return found


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Norms that were a pass of their own, however small: "alone", or with what was added, "plus"."""
    found: list[str] = []

    def watch(name: str, place: int) -> None:
        made = getattr(chain, name)

        def watched(*given: Any, **named: Any) -> Tensor:
            found.append("alone" if len(given) <= place or given[place] is None else "plus")
            result: Tensor = made(*given, **named)
            return result

        monkeypatch.setattr(chain, name, watched)

    watch("apply_rows", 2)
    watch("apply_norm", 3)
    monkeypatch.setattr(chain, "WORTH_NORMALISING", 0)
    return found


def hd_lif(quantizer: SpikeQuantizer | None = None, **options: Any) -> HDLIF:
    return HDLIF(TIME_STEPS, quantizer=quantizer, path="fused", **options)


def triple(
    neuron: Temporal, *, weights: Any = None, per_step: bool = False, momentum: float | None = 0.1
) -> Sequential:
    """A neuron of codes or surpluses, convolution, norm, and the neuron."""
    torch.manual_seed(0)
    steps = TIME_STEPS if per_step else None
    first = hd_lif(SpikeQuantizer() if weights is not None else None)
    conv = QuantConv2d(6, 10, 3, padding=1, quantizer=weights)
    norm = BatchNorm2d(10, time_steps=steps, momentum=momentum)
    network = Sequential({"first": first, "conv": conv, "norm": norm, "neuron": neuron})
    with torch.no_grad():
        norm.weight.copy_(torch.rand(10) + 0.5)
        norm.bias.copy_(torch.randn(10) / 2)
    return network


def currents(steps: int = TIME_STEPS, seed: int = 1, channels: int = 6, layout: str = "plain") -> Tensor:
    x = torch.randn(steps, 3, channels, 5, 7, generator=torch.Generator().manual_seed(seed)) * 2
    if layout == "plain":
        return x
    return x.flatten(0, 1).to(memory_format=torch.channels_last).view(x.shape)


def run(
    network: nn.Module, x: Tensor, chunks: tuple[int, ...], *, learn: bool
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Outputs and states, and the gradients and buffers behind them."""
    state: State | None = None
    found, at = [], 0
    network.zero_grad()
    x = x.clone().requires_grad_(learn)
    total = torch.zeros(())
    with torch.set_grad_enabled(learn):
        for size in chunks:
            y, state = network(x[at : at + size], state, range(at, at + size))
            total = total + (y * torch.linspace(-1, 1, y.numel()).view(y.shape)).sum()
            found.append(y.detach())
            at += size
    assert state is not None
    found += [value.detach() for of_child in state.values() for value in of_child.values()]  # type: ignore[union-attr]
    others = {name: buffer.clone() for name, buffer in network.named_buffers()}
    if learn:
        torch.autograd.backward(total)
        assert x.grad is not None
        others |= {"x": x.grad, **{name: one.grad for name, one in network.named_parameters() if one.grad is not None}}
    return found, others


def assert_alike(
    network: Sequential, x: Tensor, chunks: tuple[int, ...], monkeypatch: pytest.MonkeyPatch, *, learn: bool
) -> None:
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    found = run(network, x, chunks, learn=learn)
    network.load_state_dict(before, strict=False)
    with monkeypatch.context() as patch:
        one_by_one(patch)
        right = run(network, x, chunks, learn=learn)
    for a, b in zip(found[0], right[0], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=2e-5)
    assert found[1].keys() == right[1].keys()
    for name, value in right[1].items():
        assert torch.allclose(found[1][name], value, rtol=2e-4, atol=2e-4), name


class Adaptive(EquationNeuron):
    states = ("potential", "adaptation")

    @staticmethod
    def step(current: Any, potential: Any, adaptation: Any) -> Any:
        membrane = 0.5 * potential + current
        spike = heaviside(membrane - 1 - adaptation, Triangle())
        return spike, membrane - spike, 0.9 * adaptation + 0.1 * spike


NEURONS: dict[str, Callable[[], Temporal]] = {
    "hd-lif": hd_lif,
    "hd-lif by channel": lambda: hd_lif(channels=10),
    "parallel": lambda: ParallelHDLIF(TIME_STEPS, path="fused"),
    "lif": lambda: LIF(TIME_STEPS, path="fused"),
    "equation": lambda: Adaptive(TIME_STEPS, path="fused"),
}


@sampled(
    6,
    neuron=list(NEURONS),
    layout=["plain", "channels last"],
    chunks=[(1, 1, 1, 1), (3, 1)],
    learn=[False, True],
)
def test_a_norm_and_a_neuron_are_as_one_by_one(
    neuron: str,
    layout: str,
    chunks: tuple[int, ...],
    learn: bool,
    monkeypatch: pytest.MonkeyPatch,
    seen: list[str],
) -> None:
    seen.clear()
    network = triple(NEURONS[neuron]())
    if neuron in ("lif", "equation"):
        # Where a spike may come or not, by rounding, are none.
        assert_away_from_thresholds(network, layout)
        seen.clear()
    assert_alike(network, currents(layout=layout), chunks, monkeypatch, learn=learn)
    assert seen == ["rows"] * len(chunks)


def assert_away_from_thresholds(network: Sequential, layout: str) -> None:
    """So that the comparison is not one of roundings: outputs do not change where inputs change a little."""
    network.eval()
    with torch.no_grad():
        x = currents(layout=layout)
        a, _ = network(x, None, range(TIME_STEPS))
        b, _ = network(x * (1 + 1e-6), None, range(TIME_STEPS))
    network.train()
    assert torch.equal(a, b)


@every(
    weights=[Ternary(), Binary()],
    statistics=[(0.1, False), (None, True)],
    chunks=[(1, 1, 1, 1), (4,)],
    learn=[False, True],
)
def test_sums_of_codes_are_normalised_as_one_by_one(
    weights: Any,
    statistics: tuple[float | None, bool],
    chunks: tuple[int, ...],
    learn: bool,
    monkeypatch: pytest.MonkeyPatch,
    seen: list[str],
) -> None:
    seen.clear()
    network = triple(hd_lif(), weights=weights, momentum=statistics[0], per_step=statistics[1])
    assert_alike(network, currents(), chunks, monkeypatch, learn=learn)
    of_chunk = ["coded with a graph", "sums with a graph", "rows"] if learn else ["sums", "rows"]
    assert seen == of_chunk * len(chunks)


@every(
    "pool",
    "bits",
    "are_codes",
    of=[
        (nn.AvgPool2d(2), 5, True),
        (nn.AvgPool2d((2, 3)), 4, True),
        (nn.AvgPool2d(3, 2), 4, False),
        (nn.MaxPool2d(2), 4, False),
        # Too large sums.
        (nn.AvgPool2d(2), 8, False),
    ],
    learn=[False, True],
)
def test_means_of_codes_are_codes(
    pool: nn.Module, bits: int, are_codes: bool, learn: bool, monkeypatch: pytest.MonkeyPatch, seen: list[str]
) -> None:
    seen.clear()
    torch.manual_seed(0)
    conv = QuantConv2d(6, 10, 3, padding=1, quantizer=Ternary())
    first = hd_lif(SpikeQuantizer(bits=bits))
    network = Sequential({"first": first, "pool": pool, "conv": conv, "norm": BatchNorm2d(10), "neuron": hd_lif()})
    assert_alike(network, currents(), (3, 1), monkeypatch, learn=learn)
    assert seen == (["sums", "rows"] if are_codes and not learn else ["rows"]) * 2


@every(weights=[None, Ternary()])
def test_running_statistics_normalise_where_nothing_is_learned(
    weights: Any, monkeypatch: pytest.MonkeyPatch, seen: list[str]
) -> None:
    network = triple(hd_lif(), weights=weights, per_step=True)
    run(network, currents(), (4,), learn=False)
    network.eval()
    seen.clear()
    assert_alike(network, currents(seed=2), (2, 2), monkeypatch, learn=False)
    assert seen.count("rows") == 2
    # With a graph it is PyTorch's, whose statistics are constants.
    seen.clear()
    assert_alike(network, currents(seed=2), (4,), monkeypatch, learn=True)
    assert "rows" not in seen


def test_weights_that_are_all_zero_are_normalised(monkeypatch: pytest.MonkeyPatch) -> None:
    network = triple(hd_lif(), weights=Ternary())
    conv = network.get_submodule("conv")
    assert isinstance(conv, QuantConv2d)
    with torch.no_grad():
        conv.weight[3] = 0
    for mode in (True, False):
        network.train(mode)
        assert_alike(network, currents(), (4,), monkeypatch, learn=False)


def test_a_block_is_as_one_by_one(monkeypatch: pytest.MonkeyPatch, seen: list[str]) -> None:
    def neuron(place: Place) -> HDLIF:
        return hd_lif(SpikeQuantizer())

    conv = partial(QuantConv2d, quantizer=Ternary())

    torch.manual_seed(0)
    network = resnet(neuron=neuron, blocks=(1, 1), width=8, classes=3, in_channels=2, conv=conv)
    x = torch.randn(1, 4, 2, 8, 8)

    def logits() -> Tensor:
        with torch.no_grad():
            state: State | None = None
            held = HeldWeights(network)
            for t in range(TIME_STEPS):
                y, state = network(x, state, steps=carrying(range(t, t + 1), weights=held.weights))
        result: Tensor = y
        return result

    found = logits()
    # bn2 of each block, too, though a sum stands behind it; but no shortcut, whose input is no spike.
    assert seen == ["sums", "rows"] * 4 * TIME_STEPS
    one_by_one(monkeypatch)
    # A code at a rounding boundary may be another; the logits move by less than one code's share then.
    torch.testing.assert_close(found, logits(), rtol=0.02, atol=0.02)


@every(rule=[STBP(), SLTT(), SLTT(chunk=3), StochasticStep(chunk=2)])
def test_rules_learn_as_one_by_one(rule: Any, monkeypatch: pytest.MonkeyPatch, seen: list[str]) -> None:
    seen.clear()
    network = Sequential({"body": triple(hd_lif()), "flatten": nn.Flatten(), "out": nn.Linear(350, 3)})
    target = torch.tensor([0, 1, 2])
    plan = rule.schedule(TIME_STEPS, torch.Generator().manual_seed(3))

    def gradients() -> list[Tensor]:
        network.zero_grad()
        for step in rule(network, currents(), target, plan):
            step.loss.backward()
        return [one.grad for one in network.parameters() if one.grad is not None]

    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    found = gradients()
    assert "rows" in seen
    network.load_state_dict(before, strict=False)
    with monkeypatch.context() as patch:
        one_by_one(patch)
        right = gradients()
    for a, b in zip(found, right, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_what_does_not_fit_is_refused_as_ever() -> None:
    coded, plain = triple(hd_lif(), weights=Ternary()), triple(hd_lif())
    for network, steps in itertools.product((coded, plain), (range(3), range(5))):
        with torch.no_grad(), pytest.raises(ShapeError, match="time steps; it must be"):
            network(currents(), None, steps)
    for learn in (False, True):
        with torch.set_grad_enabled(learn), pytest.raises(RuntimeError, match="to have 6 channels"):
            coded(currents(channels=4), None, range(TIME_STEPS))
    with torch.no_grad(), pytest.raises(ValueError, match="more than 1 value per channel"):
        coded(torch.ones(1, 1, 6, 1, 1), None, range(1))
    with torch.no_grad():
        _, state = plain(currents(1), None, range(1))
        assert state is not None
        lost = {name: one for name, one in state.items() if name != "neuron"}
        with pytest.raises(StateError, match="state lacks 'neuron'"):
            plain(currents(1), lost, range(1, 2))
        with pytest.raises(StateError, match="keeps none"):
            plain(currents(1), {**state, "norm": {"potential": torch.zeros(1)}}, range(1, 2))
        with pytest.raises(ShapeError, match="a new batch starts with state=None"):
            plain(currents(1)[:, :2], detach(state), range(1, 2))


@every(layout=["expanded", "a part", "every other"], learn=[False, True])
def test_maps_that_do_not_follow_on_each_other(layout: str, learn: bool) -> None:
    for size in ((1, 5, 7), (10, 1, 1)):
        x = torch.randn(TIME_STEPS, 6, *size, generator=torch.Generator().manual_seed(0))
        part = {"expanded": x[:1].expand(x.shape), "a part": x[:, :3], "every other": x[:, ::2]}[layout]
        network = Sequential({"norm": BatchNorm2d(size[0]), "neuron": hd_lif()})
        found, _ = network(part.clone().requires_grad_(learn), None, range(TIME_STEPS))
        network.get_submodule("norm").forget(TIME_STEPS)  # type: ignore[operator]
        right, _ = network(part.requires_grad_(learn) if learn else part, None, range(TIME_STEPS))
        torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-4)


def test_default_dtypes_are_of_no_consequence() -> None:
    network, x = triple(hd_lif(), weights=Ternary()), currents()
    right, _ = run(network, x, (4,), learn=True)
    network.get_submodule("norm").forget(TIME_STEPS)  # type: ignore[operator]
    torch.set_default_dtype(torch.float64)
    try:
        found, _ = run(network, x, (4,), learn=True)
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(found, right, strict=True))


def test_a_hook_of_a_quantiser_is_called(seen: list[str]) -> None:
    network = triple(hd_lif(), weights=Ternary())
    quantizer = network.get_submodule("first.quantizer")
    quantizer.register_forward_hook(lambda *_: torch.zeros_like(currents()))
    with torch.no_grad():
        y, _ = network(currents(), None, range(TIME_STEPS))
    # No spike, so that only what the norm adds is left of the currents.
    assert torch.equal(y[:, :, :, :1, :1].expand(y.shape), y)
    assert "sums" not in seen


def test_statistics_that_a_graph_needs_are_not_changed_unseen() -> None:
    network = triple(hd_lif())
    network.eval()
    y, _ = network(currents().requires_grad_(), None, range(TIME_STEPS))
    network.train()
    with torch.no_grad():
        network(currents(seed=3), None, range(TIME_STEPS))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.backward(y.sum())


def test_a_learned_step_of_a_quantiser_is_fused_without_its_codes(
    monkeypatch: pytest.MonkeyPatch, seen: list[str]
) -> None:
    network = triple(hd_lif(SpikeQuantizer(learned=True)), weights=Ternary())
    network.add_module("last", QuantConv2d(10, 2, 1, quantizer=Ternary()))
    with torch.no_grad():
        found, _ = network(currents(), None, range(TIME_STEPS))
        assert seen[:2] == ["sums", "rows"]
        network.get_submodule("norm").forget(TIME_STEPS)  # type: ignore[operator]
        one_by_one(monkeypatch)
        right, _ = network(currents(), None, range(TIME_STEPS))
    torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-4)


@every(name=["first", "conv", "norm", "neuron"])
def test_what_somebody_sees_runs_by_itself(name: str, seen: list[str]) -> None:
    seen.clear()
    network, found = triple(hd_lif(), weights=Ternary()), list[Tensor]()
    handle = network.get_submodule(name).register_forward_hook(lambda _, __, output: found.append(output))
    with torch.no_grad():
        y, _ = network(currents(), None, range(TIME_STEPS))
    handle.remove()
    assert len(found) == 1
    assert ("sums" in seen, "rows" in seen) == (name in ("norm", "neuron"), name != "norm")
    child = network.get_submodule(name)
    seen.clear()
    taken: list[Tensor] = []
    steps = carrying(range(TIME_STEPS), measures={child: Measure(lambda x, y: y.sum(), taken.append)})
    z, _ = network(currents(), None, steps)
    assert not seen
    assert len(taken) == 1
    torch.testing.assert_close(z, y, rtol=1e-4, atol=1e-4)


def test_steps_one_by_one_and_maps_of_one_pixel_have_no_chain_and_more_bits_no_codes(seen: list[str]) -> None:
    with torch.no_grad():
        for neuron in (HDLIF(TIME_STEPS, path="steps"), LIF(TIME_STEPS, path="steps")):
            triple(neuron)(currents(), None, range(TIME_STEPS))
        triple(hd_lif())(torch.randn(TIME_STEPS, 9, 6, 1, 1), None, range(TIME_STEPS))
        assert not seen
        triple(hd_lif(), weights=Integer(4))(currents(), None, range(TIME_STEPS))
        assert seen == ["rows"]


@every(bad=[float("nan"), float("inf")], learn=[False, True])
def test_what_is_no_number_is_not_hidden_by_codes(bad: float, learn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    network = triple(hd_lif(SpikeQuantizer()), weights=Ternary())
    x = currents()
    x[1, 0, 0, 0, 0] = bad
    with torch.set_grad_enabled(learn):
        found, _ = network(x, None, range(TIME_STEPS))
        with monkeypatch.context() as patch:
            one_by_one(patch)
            right, _ = network(x, None, range(TIME_STEPS))
    assert torch.equal(found.isnan(), right.isnan())
    assert found.isnan().any()


@every(weights=[None, Ternary()])
def test_no_more_is_saved_than_one_by_one(weights: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    network = triple(hd_lif(SpikeQuantizer() if weights else None), weights=weights)

    def saved() -> int:
        x = currents().requires_grad_()
        with watching_saved([*network.parameters(), *network.buffers(), x], saver=lambda: "all") as found:
            y, _ = network(x, None, range(TIME_STEPS))
        assert y.requires_grad
        return found.peaks["all"]

    as_one = saved()
    with monkeypatch.context() as patch:
        one_by_one(patch)
        assert as_one <= saved()


def test_nothing_depends_on_the_number_of_threads() -> None:
    def found(threads: int) -> tuple[list[Tensor], dict[str, Tensor]]:
        torch.set_num_threads(threads)
        return run(triple(hd_lif(), weights=Ternary()), currents(), (2, 2), learn=False)

    before = torch.get_num_threads()
    try:
        (one, of_one), (three, of_three) = found(1), found(3)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(one, three, strict=True))
    assert all(torch.equal(of_one[name], of_three[name]) for name in of_one)


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


@every(
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


def test_what_is_laid_otherwise_is_added_behind(passes: list[str]) -> None:
    network = Branches(weights=None, per_step=False)
    x = currents()
    scope = Scope(network, None, range(TIME_STEPS))
    maps = network.other(x.flatten(0, 1)).view(TIME_STEPS, 3, 16, 5, 7)
    for plus in (maps.transpose(3, 4).contiguous().transpose(3, 4), maps.double()):
        torch.testing.assert_close(
            scope.chain(maps, "norm", plus=partial(Tensor.view_as, plus, plus)),
            network.norm(maps, None, range(TIME_STEPS))[0] + plus,
            rtol=1e-5,
            atol=1e-5,
        )
    assert passes == ["alone"] * 2


@every(momentum=[0.1, None], per_step=[True, False], learn=[True, False])
def test_what_is_the_same_at_all_steps_is_normalised_once(
    momentum: float | None, per_step: bool, learn: bool, monkeypatch: pytest.MonkeyPatch, passes: list[str]
) -> None:
    passes.clear()
    torch.manual_seed(0)
    norm = BatchNorm2d(6, time_steps=TIME_STEPS if per_step else None, momentum=momentum)
    network = Sequential({"norm": norm, "neuron": hd_lif()})

    class Repeated(nn.Module):
        def forward(self, x: Tensor, state: Any, steps: range) -> Any:
            return network(x[:1], state, steps)

    whole = Repeated()
    whole.network = network
    assert_alike(whole, currents(), (1, 3), monkeypatch, learn=learn)  # type: ignore[arg-type]
    # The first chunk has one step, whose rows the neuron applies.
    assert passes == ["alone"]


def test_small_maps_are_left_to_operations(passes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    network = Sequential({"norm": BatchNorm2d(6), "linear": nn.Conv2d(6, 6, 1)})
    monkeypatch.setattr(chain, "WORTH_NORMALISING", currents().numel() + 1)
    network(currents(), None, range(TIME_STEPS))
    assert not passes
    monkeypatch.setattr(chain, "WORTH_NORMALISING", currents().numel())
    network(currents(), None, range(TIME_STEPS))
    assert passes == ["alone"]


def test_maps_that_others_read_are_not_written_over() -> None:
    """A norm's own pass may take the place of sums that a convolution has just made, and of nothing else."""
    network = Sequential({"norm": BatchNorm2d(16), "again": BatchNorm2d(16)})
    x = currents(channels=16)
    x = torch.cat([x, x], 1).repeat(1, 4, 1, 1, 1)
    before = x.clone()
    with torch.no_grad():
        first, _ = network(x, None, range(TIME_STEPS))
    assert torch.equal(x, before)
    assert first.data_ptr() != x.data_ptr()
