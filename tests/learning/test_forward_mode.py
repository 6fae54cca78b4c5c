"""Forward mode beside back-propagation through time: equal within a layer, and what it refuses."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import own_neurons
from cases import every, naming, sampled
from chunks import CASES
from hdlif.errors import TrainingError
from hdlif.learning import SLTT, STBP, Carry, ForwardMode, coherence
from hdlif.learning.coherence import loss_of_each
from hdlif.learning.eligibility.drives import Slope, drive_of
from hdlif.nn import (
    HDLIF,
    SECA,
    Affine,
    BatchNorm1d,
    BatchNorm2d,
    Carrying,
    DelayLine,
    MemBN,
    QuantConv2d,
    QuantLinear,
    Recurrent,
    Scope,
    Sequential,
    SpikeQuantizer,
    State,
    Temporal,
    Ternary,
)
from hdlif.training.tasks import Classify
from learning.rule_runs import CLASSES, INPUTS, WIDTH, drawn, layers, learn
from small_networks import assert_close, gradients, scatter_norms, tiny_resnet

T, B = 7, 5
DRAWS = torch.Generator()
TARGET = torch.arange(B) % 3

SHARED: dict[str, Any] = {"per_step": False, "channels": WIDTH}
NEURONS: dict[str, Callable[[], Temporal]] = {
    **{name: lambda make=make: make(time_steps=T, **SHARED) for name, make in CASES.items()},
    "hdlif": lambda: HDLIF(T, leak=0.9, threshold=0.3, **SHARED),
    "hdlif of one layer": lambda: HDLIF(T, leak=0.9, threshold=0.3, per_step=False),
    "hdlif steps": lambda: HDLIF(T, leak=0.9, threshold=0.3, path="steps", **SHARED),
    "hdlif fused": lambda: HDLIF(T, leak=0.9, threshold=0.3, path="fused", **SHARED),
    "hdlif quantised": lambda: HDLIF(T, leak=0.9, quantizer=SpikeQuantizer(bits=2, gradient="clip"), **SHARED),
    "own, without a state": lambda: own_neurons.Parallel(T, **SHARED),
}
NORMS = ("none", "train", "eval", "per step", "affine")


def frames(*shape: int) -> Tensor:
    return drawn(T, B, *(shape or (INPUTS,)))


def layer(make: Callable[[], Temporal], norm: str = "none") -> Sequential:
    torch.manual_seed(0)
    neuron = make()
    modules: list[nn.Module] = [nn.Linear(INPUTS, WIDTH)]
    if norm == "affine":
        modules.append(Affine(WIDTH))
        torch.nn.init.uniform_(modules[-1].weight, 0.5, 1.5)
        torch.nn.init.uniform_(modules[-1].bias, -0.5, 0.5)
    elif norm != "none":
        modules.append(BatchNorm1d(WIDTH, time_steps=T if norm == "per step" else None))
    net = scatter_norms(Sequential(*modules, neuron, nn.Linear(WIDTH, CLASSES)).double())
    return net.eval() if norm == "eval" else net.train()


STBP_EACH = STBP(loss="each")


@sampled(len(NEURONS), neuron=NEURONS, norm=NORMS)
def test_one_layer_of_neurons_learns_by_the_exact_gradient_in_chunks_of_any_length(
    neuron: Callable[[], Temporal], norm: str
) -> None:
    rules = ForwardMode(), ForwardMode(chunk=3), STBP_EACH
    found, chunked, expected = (learn(rule, layer(neuron, norm), frames()) for rule in rules)
    assert_close(chunked, found)
    # GLIF's conductance is of each step, and learns from its own.
    own = [name for name in found if name.endswith("conductance")]
    assert all(found.pop(name).any() and expected.pop(name).any() for name in own)
    assert_close(found, expected)


@every(neuron=["hdlif", "adaptive_hdlif"])
def test_parts_of_a_stream_learn_in_chunks_too(neuron: str) -> None:
    """With averages for statistics, which change with every step; traces go on where the part before left them."""

    def learned(chunk: int, *, restores: bool = False) -> dict[str, Tensor]:
        net, rule, carry = layer(NEURONS[neuron], "train"), ForwardMode(chunk=chunk), Carry()
        for part in frames()[:6].split(3):
            if restores and carry.kept is not None:
                kept = {name: value.clone() for name, value in carry.kept.tensors().items()}
                carry = Carry(carry.state, carry.step, restored=kept)
            for step in rule(Carrying(net, by_average=True), part, TARGET, rule.schedule(3, DRAWS), carry=carry):
                step.loss.backward()
        return gradients(net) | {name: value.double() for name, value in net.named_buffers()}

    whole = learned(2)
    assert_close(whole, learned(1))
    assert_close(learned(2, restores=True), whole, atol=0.0)


def test_so_do_deep_networks_and_losses_that_begin_late() -> None:
    late = Classify(("a", "b", "c"), T, combine="last").criterion()
    for criterion in (F.cross_entropy, late):
        rules = (ForwardMode(criterion=criterion, chunk=chunk) for chunk in (1, 3))
        one, several = (learn(rule, taps(deep=True), frames(INPUTS, 1, 1)) for rule in rules)
        assert_close(several, one)
        assert any(value.any() for value in one.values())


def test_rows_of_each_step_learn_from_their_own_step_and_weights_from_all() -> None:
    make = lambda: layer(lambda: HDLIF(T, leak=0.9, threshold=0.3, channels=WIDTH))  # noqa: E731
    found, expected, cut = (learn(rule, make(), frames()) for rule in (ForwardMode(), STBP_EACH, SLTT()))
    for name in found:
        torch.testing.assert_close(found[name], (cut if "logit" in name else expected)[name], atol=1e-10, rtol=0)


def test_parameters_that_are_not_learned_have_no_gradient() -> None:
    net = layer(lambda: HDLIF(T, leak=0.9, threshold=0.3, learned=False))
    net[0].weight.requires_grad_(False)
    found = learn(ForwardMode(), net, frames())
    assert not found["0.weight"].any()
    assert_close(found, learn(STBP_EACH, net, frames()))


@every("update", "factor", of=[("sum", 1), ("each", T)])
def test_low_bit_weights_learn_through_their_straight_through_gradient(update: Any, factor: int) -> None:
    torch.manual_seed(0)
    synapse = QuantLinear(INPUTS, WIDTH, quantizer=Ternary())
    net = Sequential(synapse, NEURONS["hdlif"](), nn.Linear(WIDTH, CLASSES)).double()
    found, expected = learn(ForwardMode(update), net, frames()), learn(STBP_EACH, net, frames())
    assert_close({name: value / factor for name, value in found.items()}, expected)


def taps(*, deep: bool = False) -> Sequential:
    """A causal convolution over time: a delay line and a convolution of kernel 1."""
    torch.manual_seed(0)
    modules = [DelayLine(3, 1), QuantConv2d(3 * INPUTS, WIDTH, 1), BatchNorm2d(WIDTH), HDLIF(T, leak=0.9, **SHARED)]
    if deep:
        modules += [DelayLine(2, 2), QuantConv2d(2 * WIDTH, WIDTH, 1), BatchNorm2d(WIDTH), HDLIF(T, **SHARED)]
    return Sequential(*modules, nn.Flatten(), nn.Linear(WIDTH, CLASSES)).double().train()


def filling(first: nn.Module) -> Sequential:
    """A convolution whose kernel its input fills."""
    torch.nn.init.normal_(first.weight, std=0.3)
    neuron = HDLIF(T, leak=0.9, threshold=0.3, **SHARED)
    return Sequential(first, neuron, nn.Flatten(), nn.Linear(WIDTH, CLASSES)).double()


@every(
    "make",
    "x",
    of=[
        (lambda: layer(NEURONS["hdlif"]), frames()[:1]),
        (taps, frames(INPUTS, 1, 1)),
        (lambda: filling(nn.Conv2d(INPUTS, WIDTH, (2, 3))), frames(INPUTS, 2, 3)),
        (lambda: filling(nn.Conv1d(INPUTS, WIDTH, 4)), frames(INPUTS, 4)),
    ],
)
def test_so_do_constant_inputs_causal_convolutions_and_kernels_that_their_input_fills(
    make: Callable[[], nn.Module], x: Tensor
) -> None:
    net = make()
    found, expected = (learn(r, copy.deepcopy(net), x, r.schedule(T, DRAWS)) for r in (ForwardMode(), STBP_EACH))
    assert_close(found, expected)


def recurrent(neuron: Temporal, *, diagonal: bool) -> Sequential:
    torch.manual_seed(0)
    back = QuantLinear(WIDTH, WIDTH)
    with torch.no_grad():
        back.weight.copy_(torch.randn(WIDTH, WIDTH).diag().diag() if diagonal else 0.3 * torch.randn(WIDTH, WIDTH))
    return Sequential(nn.Linear(INPUTS, WIDTH), Recurrent(neuron, back), nn.Linear(WIDTH, CLASSES)).double()


# GLIF's conductance is of each step, which the test of one layer sees to.
@every(neuron=[name for name in NEURONS if "glif" not in name])
def test_neurons_that_lead_back_to_themselves_alone_learn_by_the_exact_gradient(neuron: str) -> None:
    found, expected = (
        learn(rule, recurrent(NEURONS[neuron](), diagonal=True), frames()) for rule in (ForwardMode(), STBP_EACH)
    )
    assert_close(found, expected)


def test_eprop_is_back_propagation_with_the_way_back_cut() -> None:
    found = learn(ForwardMode(recurrent="eprop"), recurrent(NEURONS["hdlif"](), diagonal=False), frames())
    net = recurrent(NEURONS["hdlif"](), diagonal=False)
    # A synapse whose input has no graph.
    net[1].synapse.register_forward_pre_hook(lambda module, args: (args[0].detach(),))
    assert_close(found, learn(STBP_EACH, net, frames()))


def two_layers() -> Sequential:
    return layers(*(HDLIF(T, leak=0.9, threshold=0.3, **SHARED) for _ in range(2)))


def test_given_stbps_own_gradient_at_its_spikes_every_layer_is_exact() -> None:
    rules = {"forward": ForwardMode, "cut": SLTT}
    loss = loss_of_each(F.cross_entropy)
    found = coherence(two_layers(), [(frames(), TARGET)], rules=rules, loss=loss, time_steps=T)
    for row in found["forward"].local.layers:
        # After the last neuron, nothing is left to learn there.
        if row.kind != "neuron" and row.name != "6":
            assert row.cosine == pytest.approx(1, abs=1e-12)
            assert row.norm_ratio == pytest.approx(1, abs=1e-12)
    assert max(row.cosine or 0 for row in found["cut"].local.layers if row.kind == "synapse") < 0.999
    whole, cut = (found[name].end_to_end.cosine for name in ("forward", "cut"))
    assert whole is not None
    assert cut is not None
    assert cut < whole < 1


def test_batch_statistics_of_all_ranks_couple_samples_as_those_of_one_process_do() -> None:
    g = torch.Generator().manual_seed(0)
    x, n = torch.randn(4, 6, 3, generator=g), torch.randn(4, 6, 2, generator=g)
    whole = drive_of(x, Slope(torch.ones(2), n, coupled=True), None)
    parts = [slice(0, 2), slice(2, 6)]
    sums = [torch.cat([x[:, p].sum(1, keepdim=True), n[:, p].mT @ x[:, p]], 1) for p in parts]

    for rank, part in enumerate(parts):

        def gather(own: Tensor, rank: int = rank) -> Tensor:
            others = [torch.tensor([float(x[:, p].shape[1])]) for p in parts] if own.numel() == 1 else sums
            torch.testing.assert_close(own, others[rank])
            return torch.stack(others)

        own = drive_of(x[:, part], Slope(torch.ones(2), n[:, part], coupled=True), gather)
        torch.testing.assert_close(own.x, whole.x[:, part])
        torch.testing.assert_close(own.product, whole.product)


# What it refuses


class Summed(Temporal):
    """Two currents in one that no child gives."""

    def __init__(self) -> None:
        super().__init__()
        self.flat, self.one, self.two = nn.Flatten(), nn.Linear(72, 3), nn.Linear(72, 3)
        self.act = HDLIF(T)

    def forward(self, x: Tensor, state: State | None = None, *, steps: range) -> tuple[Tensor, State]:
        run = Scope(self, state, steps)
        h = run("flat", x)
        return run("act", run("one", h) + run("two", h)), run.state


def test_traces_beyond_the_budget_are_refused_with_their_layers() -> None:
    net, x = two_layers(), frames()
    # Weight, bias (in eval mode alone), batch norm's two, leak and threshold, of float64.
    of_layers = {"2": 8 * B * WIDTH * (INPUTS + 4), "5": 8 * B * WIDTH * (WIDTH + 4)}
    rule = ForwardMode(budget=sum(of_layers.values()))
    learn(rule, net, x)
    with pytest.raises(TrainingError, match=r"2,400 bytes of traces.*5 1,280 bytes, 2 1,120 bytes.*budget to 2400"):
        learn(ForwardMode(budget=rule.budget - 1), net, x)
    # In eval mode the bias in front of the batch norm counts as well.
    own = {name: size + 8 * B * WIDTH for name, size in of_layers.items()}
    assert ForwardMode(budget=sum(own.values())).traces_of(net, x[:, :1], B) == own
    with pytest.raises(TrainingError, match=r"its budget is 2,719 bytes"):
        ForwardMode(budget=sum(own.values()) - 1).traces_of(net, x[:, :1], B)
    assert net.training


def flat(*layers: nn.Module) -> Sequential:
    return Sequential(nn.Flatten(), nn.Linear(72, 2), *layers)


def test_layers_that_have_no_eligibility_are_refused_by_name() -> None:
    folded = nn.Unflatten(1, (2, 36)), nn.Conv1d(2, 2, 3), BatchNorm1d(2), HDLIF(T), nn.Flatten()
    cases: list[tuple[nn.Module, str]] = [
        (tiny_resnet(lambda place: HDLIF(T)), r"stage1\.0\.act1 is fed by stem\.conv \(Conv2d, kernel 3×3\)"),
        (Sequential(nn.Conv2d(2, 2, 1), HDLIF(T), nn.Flatten(), nn.LazyLinear(3)), r"0 gives maps of \[6, 6\]"),
        (flat(nn.ReLU(), HDLIF(T)), r"3 is fed by 2 \(ReLU\): forward mode supports only fully connected"),
        (Sequential(nn.Flatten(), HDLIF(T), nn.Linear(72, 3)), r"1 is fed by 0 \(Flatten\): forward"),
        (Sequential(nn.Flatten(1), *folded), r"4 is fed by 2 \(Conv1d, kernel 3\): forward mode"),
        (flat(nn.Unflatten(1, (2, 1)), SECA(2), HDLIF(T), nn.Flatten()), r"4 is fed by 3 \(SECA\): forward mode"),
        (Summed(), "act is fed by a value that does not come from a layer run by name"),
        (flat(HDLIF(T, norm=MemBN(T, 2))), "2: Mem-BN couples the membranes of a batch"),
    ]
    for net, words in cases:
        with naming(words), pytest.raises(TrainingError, match=words):
            learn(ForwardMode(), net.double(), torch.randn(T, B, 2, 6, 6, dtype=torch.float64))


def test_steps_of_recurrent_layers_are_taken_one_by_one() -> None:
    net = recurrent(NEURONS["hdlif"](), diagonal=False)
    message = r"1\.neuron: a recurrent layer reads .* set rule\.chunk to 1"
    with pytest.raises(TrainingError, match=message):
        learn(ForwardMode(chunk=2), net, frames())
    # Before anything is learned, too.
    with pytest.raises(TrainingError, match=message):
        ForwardMode(chunk=2).traces_of(net, frames()[:, :1], B)
    assert ForwardMode().traces_of(net, frames()[:, :1], B)
