"""Children that run as one give what they give one by one: values, states, statistics and gradients."""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import own_neurons
from cases import every, naming, sampled
from chunks import channels_last
from hdlif.errors import ShapeError, StateError
from hdlif.learning import SLTT, STBP, StochasticStep
from hdlif.models import resnet
from hdlif.nn import (
    HDLIF,
    LIF,
    BatchNorm2d,
    Measure,
    ParallelHDLIF,
    QuantConv2d,
    Sequential,
    SpikeQuantizer,
    Temporal,
    carrying,
    chain,
)
from hdlif.nn import scope as scope_module
from hdlif.nn.kernels import batch_norm
from hdlif.nn.synapses import Binary, Integer, Ternary
from hdlif.report.accounting import saved_bytes

TIME_STEPS = 4


def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scope_module, "may_run_as_one", lambda *_: False)


def watch(patch: pytest.MonkeyPatch, owner: Any, name: str, say: Callable[..., str], found: list[str]) -> None:
    made = getattr(owner, name)
    patch.setattr(owner, name, lambda *given, **named: (found.append(say(*given)), made(*given, **named))[1])


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What ran as a part of a chain: "rows" of norms, "coded" spikes, "sums" of codes."""
    found: list[str] = []
    for owner, name, what in (
        (batch_norm.Norm, "rows", "rows"),
        (chain, "sum_products", "sums"),
        (chain, "convolve_with_moments", "sums with a graph"),
        (SpikeQuantizer, "coded", "coded with a graph"),
    ):
        watch(monkeypatch, owner, name, lambda *_, what=what: what, found)
    return found


def hd_lif(quantizer: SpikeQuantizer | None = None, **options: Any) -> HDLIF:
    return HDLIF(TIME_STEPS, quantizer=quantizer, path="fused", **options)


def triple(
    neuron: Temporal,
    *,
    weights: Any = None,
    quantizer: SpikeQuantizer | None = None,
    per_step: bool = False,
    momentum: float | None = 0.1,
    pool: nn.Module | None = None,
) -> Sequential:
    """A neuron of codes or surpluses, convolution, norm, and the neuron."""
    torch.manual_seed(0)
    first = hd_lif(quantizer or (SpikeQuantizer() if weights is not None else None))
    conv = QuantConv2d(6, 10, 3, padding=1, quantizer=weights)
    norm = BatchNorm2d(10, time_steps=TIME_STEPS if per_step else None, momentum=momentum)
    with torch.no_grad():
        norm.weight.copy_(torch.rand(10) + 0.5)
        norm.bias.copy_(torch.randn(10) / 2)
    between = {} if pool is None else {"pool": pool}
    return Sequential({"first": first, **between, "conv": conv, "norm": norm, "neuron": neuron})


def pooled(pool: nn.Module, bits: int) -> Sequential:
    return triple(hd_lif(), weights=Ternary(), quantizer=SpikeQuantizer(bits=bits), pool=pool)


def currents(steps: int = TIME_STEPS, seed: int = 1, channels: int = 6, layout: str = "plain") -> Tensor:
    x = torch.randn(steps, 3, channels, 5, 7, generator=torch.Generator().manual_seed(seed)) * 2
    return x if layout == "plain" else channels_last(x)


def run(
    network: nn.Module, x: Tensor, chunks: tuple[int, ...], *, learn: bool
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Outputs and states, and the gradients and buffers after them."""
    state: Any = None
    found, start = [], 0
    network.zero_grad()
    x = x.clone().requires_grad_(learn)
    with torch.set_grad_enabled(learn):
        for size in chunks:
            y, state = network(x[start : start + size], state, range(start, start + size))
            found.append(y)
            start += size
        total = sum((y * torch.linspace(-1, 1, y.numel()).view(y.shape)).sum() for y in found)
    found += [value for of_child in state.values() for value in of_child.values()]
    others = {name: buffer.clone() for name, buffer in network.named_buffers()}
    if learn:
        total.backward()
        others |= {"x": x.grad, **{name: one.grad for name, one in network.named_parameters() if one.grad is not None}}
    return [one.detach() for one in found], others


def assert_alike(
    network: Sequential,
    x: Tensor,
    chunks: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
    *,
    learn: bool,
    off: float = 2e-5,
) -> None:
    """Up to roundings, `off` of values of about 1; of what is no number, where it is none."""
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    found = run(network, x, chunks, learn=learn)
    network.load_state_dict(before, strict=False)
    with monkeypatch.context() as patch:
        one_by_one(patch)
        right = run(network, x, chunks, learn=learn)
    torch.testing.assert_close(found[0], right[0], rtol=off / 2, atol=off, equal_nan=True)
    torch.testing.assert_close(found[1], right[1], rtol=10 * off, atol=10 * off, equal_nan=True)


ROWS, SUMS, CODED = ["rows"], ["sums", "rows"], ["coded with a graph", "rows"]
WHOLE = ["coded with a graph", "sums with a graph", "rows"]
CHAINS: dict[str, tuple[Callable[[], Sequential], list[str], list[str]]] = {
    # A network, and what runs of it in a chain without a graph, and with one.
    "hd-lif": (lambda: triple(hd_lif()), ROWS, ROWS),
    "hd-lif by channel": (lambda: triple(hd_lif(channels=10)), ROWS, ROWS),
    "parallel": (lambda: triple(ParallelHDLIF(TIME_STEPS, path="fused")), ROWS, ROWS),
    "lif": (lambda: triple(LIF(TIME_STEPS, path="fused")), ROWS, ROWS),
    "equation": (lambda: triple(own_neurons.LIF(TIME_STEPS, path="fused")), ROWS, ROWS),
    "statistics per step": (lambda: triple(hd_lif(), per_step=True), ROWS, ROWS),
    "ternary": (lambda: triple(hd_lif(), weights=Ternary()), SUMS, WHOLE),
    "binary": (lambda: triple(hd_lif(), weights=Binary(), per_step=True, momentum=None), SUMS, WHOLE),
    "learned step": (
        lambda: triple(hd_lif(), weights=Ternary(), quantizer=SpikeQuantizer(learned=True)),
        CODED,
        CODED,
    ),
    "learned step after": (lambda: triple(hd_lif(SpikeQuantizer(learned=True)), weights=Ternary()), SUMS, WHOLE),
    "means of codes": (lambda: pooled(nn.AvgPool2d(2), 5), SUMS, ROWS),
    "means of a wide window": (lambda: pooled(nn.AvgPool2d((2, 3)), 4), SUMS, ROWS),
    "means that overlap": (lambda: pooled(nn.AvgPool2d(3, 2), 4), ROWS, ROWS),
    "largest codes": (lambda: pooled(nn.MaxPool2d(2), 4), ROWS, ROWS),
    "sums beyond a byte": (lambda: pooled(nn.AvgPool2d(2), 8), ROWS, ROWS),
    "weights of 4 bits": (lambda: triple(hd_lif(), weights=Integer(4)), ROWS, ROWS),
    "steps one by one": (lambda: triple(HDLIF(TIME_STEPS, path="steps")), [], []),
}


@sampled(
    len(CHAINS),
    name=list(CHAINS),
    layout=["plain", "channels last"],
    chunks=[(1, 1, 1, 1), (3, 1)],
    learn=[False, True],
    mode=["train", "train", "eval"],
)
def test_a_norm_and_a_neuron_are_as_one_by_one(
    name: str,
    layout: str,
    chunks: tuple[int, ...],
    learn: bool,
    mode: str,
    monkeypatch: pytest.MonkeyPatch,
    seen: list[str],
) -> None:
    make, without, with_graph = CHAINS[name]
    network = make()
    if mode == "eval":
        run(network, currents(seed=2), (4,), learn=False)
        network.eval()
    if not learn:
        # A channel of sums that are all 0.
        nn.init.zeros_(network.get_submodule("conv").weight[3])  # type: ignore[arg-type, index]
    seen.clear()
    assert_alike(network, currents(layout=layout), chunks, monkeypatch, learn=learn)
    if mode == "train" or not learn:
        assert seen == (with_graph if learn else without) * len(chunks)
    else:
        # Its statistics are constants, which PyTorch normalises by.
        assert "rows" not in seen


@every(rule=[STBP(), SLTT(), SLTT(chunk=3), StochasticStep(chunk=2)])
def test_rules_learn_as_one_by_one(rule: Any, monkeypatch: pytest.MonkeyPatch, seen: list[str]) -> None:
    """With weights that are held for the update."""
    plan = rule.schedule(TIME_STEPS, torch.Generator().manual_seed(3))

    def gradients() -> list[Tensor]:
        network = Sequential(triple(hd_lif(), weights=Ternary()), nn.Flatten(), nn.Linear(350, 3))
        for step in rule(network, currents(), torch.tensor([0, 1, 2]), plan):
            step.loss.backward()
        return [one.grad for one in network.parameters() if one.grad is not None]

    seen.clear()
    found = gradients()
    assert "sums with a graph" in seen
    with monkeypatch.context() as patch:
        one_by_one(patch)
        right = gradients()
    torch.testing.assert_close(found, right, rtol=1e-3, atol=1e-5)


def test_what_does_not_fit_is_refused_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    coded, plain, x = triple(hd_lif(), weights=Ternary()), triple(hd_lif()), currents()
    with torch.no_grad():
        _, state = plain(x[:1], None, range(1))
    lost = {name: one for name, one in state.items() if name != "neuron"}
    cases: list[tuple[Sequential, Tensor, Any, range, type[Exception]]] = [
        *((network, x, None, steps, ShapeError) for network in (coded, plain) for steps in (range(3), range(5))),
        (coded, currents(channels=4), None, range(TIME_STEPS), RuntimeError),
        (coded, torch.ones(1, 1, 6, 1, 1), None, range(1), ValueError),
        (plain, x[:1], lost, range(1, 2), StateError),
        (plain, x[:1], {**state, "norm": {"potential": torch.zeros(1)}}, range(1, 2), StateError),
        (plain, x[:1, :2], state, range(1, 2), ShapeError),
    ]
    for learn, (network, given, before, steps, kind) in itertools.product((True, False), cases):
        with torch.set_grad_enabled(learn), naming(learn, given.shape, steps, kind), monkeypatch.context() as patch:
            with pytest.raises(kind) as found:
                network(given, before, steps)
            one_by_one(patch)
            with pytest.raises(kind) as right:
                network(given, before, steps)
            assert str(found.value) == str(right.value)


@every(
    lay=[lambda x: x[:1].expand(x.shape), lambda x: x[:, :3], lambda x: x[:, ::2]],
    size=[(1, 5, 7), (10, 1, 1)],
    learn=[False, True],
)
def test_maps_that_do_not_follow_on_each_other(
    lay: Callable[[Tensor], Tensor], size: tuple[int, ...], learn: bool
) -> None:
    x = lay(torch.randn(TIME_STEPS, 6, *size, generator=torch.Generator().manual_seed(0)))
    found, right = (
        Sequential({"norm": BatchNorm2d(size[0]), "neuron": hd_lif()})(given.requires_grad_(learn))[0]
        for given in (x.clone(), x.detach())
    )
    torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-4)


@every(name=["first", "first.quantizer", "conv", "norm", "neuron"])
def test_what_somebody_sees_runs_by_itself(name: str, seen: list[str]) -> None:
    seen.clear()
    network, found = triple(hd_lif(), weights=Ternary()), list[Tensor]()
    child = network.get_submodule(name)
    handle = child.register_forward_hook(lambda _, __, output: found.append(output))
    with torch.no_grad():
        y, _ = network(currents(), None, range(TIME_STEPS))
        handle.remove()
        assert len(found) == 1
        assert ("sums" in seen, "rows" in seen) == (name in ("norm", "neuron"), name != "norm")
    if child in network:
        seen.clear()
        taken: list[Tensor] = []
        steps = carrying(range(TIME_STEPS), measures={child: Measure(lambda x, y: y.sum(), taken.append)})
        z, _ = network(currents(), None, steps)
        assert not seen
        assert len(taken) == 1
        torch.testing.assert_close(z, y, rtol=1e-4, atol=1e-4)


@every(bad=[float("nan"), float("inf")], learn=[False, True], weights=[None, Ternary()])
def test_what_is_no_number_spoils_what_it_must(
    bad: float, learn: bool, weights: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It spoils its channel and step alone, as one by one."""
    x = currents()
    x[1, 0, 0, 0, 0] = bad
    norm = Sequential({"norm": BatchNorm2d(6, time_steps=TIME_STEPS), "neuron": hd_lif()})
    network = norm if weights is None else triple(hd_lif(SpikeQuantizer()), weights=weights)
    with torch.set_grad_enabled(learn), monkeypatch.context() as patch:
        found, _ = network(x, None, range(TIME_STEPS))
        one_by_one(patch)
        right, _ = network(x, None, range(TIME_STEPS))
    assert torch.equal(found.isnan(), right.isnan())
    assert found.isnan().any()
    assert weights is not None or found[:, :, 1:].isfinite().all()


@every(per_step=[True, False])
def test_a_mean_far_from_0_takes_little_from_the_variance(per_step: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # A mean in float32 is off by up to 5e-4. Neurons that all fire pass on the norm itself.
    norm = BatchNorm2d(6, time_steps=TIME_STEPS if per_step else None)
    network = Sequential({"norm": norm, "neuron": hd_lif(threshold=-100.0, learned=False)})
    assert_alike(network, currents() + 1e4, (TIME_STEPS,), monkeypatch, learn=True, off=2e-3)


def test_maps_of_one_pixel_have_no_chain(seen: list[str]) -> None:
    triple(hd_lif())(torch.randn(TIME_STEPS, 9, 6, 1, 1))
    assert not seen


def test_nothing_depends_on_the_number_of_threads() -> None:
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        values, others = run(triple(hd_lif(), weights=Ternary()), currents(), (2, 2), learn=True)
        found.append([*values, *others.values()])
    torch.set_num_threads(1)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@every(weights=[None, Ternary()])
def test_no_more_is_saved_than_one_by_one(weights: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = triple(hd_lif(), weights=weights), currents().requires_grad_()
    as_one = saved_bytes(lambda: network(x, None, range(TIME_STEPS))[0], model=network)
    with monkeypatch.context() as patch:
        one_by_one(patch)
        assert as_one <= saved_bytes(lambda: network(x, None, range(TIME_STEPS))[0], model=network)


def test_a_residual_block_has_chains_where_spikes_come_in(seen: list[str]) -> None:
    """So has bn2 of each block, though a sum stands after it; but no shortcut, whose input is no spike."""
    neuron, conv = lambda place: hd_lif(SpikeQuantizer()), partial(QuantConv2d, quantizer=Ternary())
    network = resnet(neuron=neuron, blocks=(1, 1), width=8, classes=3, in_channels=2, conv=conv)
    with torch.no_grad():
        network(torch.randn(TIME_STEPS, 4, 2, 8, 8))
    assert seen == ["sums", "rows"] * 4
