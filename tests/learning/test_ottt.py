"""OTTT: traces against exact back-propagation through time where they are exact, and where they are not."""

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cases import every, sampled
from hdlif.errors import ShapeError, StateError, TrainingError
from hdlif.functional import DetachedReset
from hdlif.learning import NDOT, OTTT, SLTT, STBP, OTTTCriterion, Plan, StochasticStep
from hdlif.learning.paths import remembered
from hdlif.learning.traced_pass import Synapse, TraceRule
from hdlif.learning.traces import Traces
from hdlif.models import Place, resnet
from hdlif.models.blocks import AttentionBlockI, AttentionBlockII
from hdlif.nn import (
    HDLIF,
    LIF,
    SECA,
    BatchNorm1d,
    ParallelHDLIF,
    QuantConv2d,
    QuantLinear,
    Scope,
    Sequential,
    State,
    Temporal,
    Ternary,
    carrying,
)
from hdlif.nn.state import Paths
from small_networks import assert_close, gradients, tiny_resnet

STEPS = 5
LEAK = 0.5
TARGET = torch.tensor([0, 1, 2, 0])


class Stack(Temporal):
    """Layers of LIF neurons with a constant leak and a detached soft reset, and a linear read-out."""

    paths = (("body", "out"),)

    def __init__(self, *widths: int) -> None:
        super().__init__()
        torch.manual_seed(3)
        layers: dict[str, nn.Module] = {}
        for i, (fan_in, width) in enumerate(itertools.pairwise(widths)):
            layers[f"fc{i}"] = QuantLinear(fan_in, width)
            layers[f"act{i}"] = LIF(STEPS, leak=LEAK, threshold=0.5, reset=DetachedReset())
        self.body, self.out = Sequential(layers), nn.Linear(widths[-1], 3)
        self.double()

    def forward(self, x: Tensor, state: State | None = None, *, steps: range) -> tuple[Tensor, State | None]:
        run = Scope(self, state, steps)
        return run("out", run("body", x)), run.state


def synapses(net: nn.Module) -> dict[str, nn.Module]:
    return {name: module for name, module in net.named_modules() if isinstance(module, Synapse)}


def names_of_remembered(network: nn.Module) -> set[str]:
    return set(remembered(network))


def frames(features: int = 6) -> Tensor:
    return torch.randn(STEPS, len(TARGET), features, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def mean_of_losses(logits: Tensor, target: Tensor) -> Tensor:
    return torch.stack([F.cross_entropy(y, target) for y in logits]).mean()


EXACT = STBP(criterion=mean_of_losses, reduce=lambda logits: logits)


def learn(rule: OTTT | SLTT | STBP | StochasticStep, net: nn.Module, x: Tensor) -> dict[str, Tensor]:
    net.zero_grad()
    plan: Plan = rule.schedule(STEPS, torch.Generator().manual_seed(0))
    for step in rule(net, x, TARGET, plan):
        step.loss.backward()
    return gradients(net)


def cosine(a: Tensor, b: Tensor) -> float:
    return float(F.cosine_similarity(a.flatten(), b.flatten(), 0))


def test_one_spiking_layer_learns_by_the_exact_gradient() -> None:
    net, x = Stack(6, 8), frames()
    exact = learn(EXACT, net, x)
    assert_close(learn(OTTT(leak=LEAK), net, x), exact)
    assert cosine(learn(SLTT(), net, x)["body.fc0.weight"], exact["body.fc0.weight"]) < 0.999


def test_last_of_two_spiking_layers_is_exact_and_the_first_is_not() -> None:
    net, x = Stack(6, 12, 8), frames()
    exact, found = learn(EXACT, net, x), learn(OTTT(leak=LEAK), net, x)
    for name in ("body.fc1.weight", "out.weight", "out.bias"):
        torch.testing.assert_close(found[name], exact[name], atol=1e-10, rtol=0)
    first = cosine(found["body.fc0.weight"], exact["body.fc0.weight"])
    without = cosine(learn(SLTT(), net, x)["body.fc0.weight"], exact["body.fc0.weight"])
    assert without < first < 0.999


def test_trace_without_leak_is_the_input_itself() -> None:
    net, x = Stack(6, 12, 8), frames()
    assert_close(learn(OTTT(leak=0.0), net, x), learn(SLTT(), net, x))


@every(rule=[OTTT(), NDOT()])
def test_what_feeds_a_parallel_neuron_has_no_trace(rule: OTTT) -> None:
    """Its λ is 0: nothing but the stem and the last convolution of a block reach the membrane of an HD-LIF neuron."""
    parallel = tiny_resnet(lambda place: ParallelHDLIF(STEPS)).double()
    assert remembered(parallel) == {}
    x = torch.randn(STEPS, len(TARGET), 2, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    # One network: batch norm's running statistics change nothing that is learned.
    assert_close(learn(rule, parallel, x), learn(SLTT(), parallel, x))
    hybrid = tiny_resnet(lambda place: (ParallelHDLIF if place.index % 2 else HDLIF)(STEPS))
    found = names_of_remembered(hybrid)
    assert found
    every = names_of_remembered(tiny_resnet(lambda place: HDLIF(STEPS)))
    assert found == {name for name in every if not name.endswith(".conv1")} != every


def test_what_feeds_a_stream_has_a_trace_where_any_reader_of_it_accumulates() -> None:
    """Second blocks without membranes: past them the stream still reaches the next stage's first neuron."""

    def names(parallel: Callable[[Place], bool]) -> set[str]:
        torch.manual_seed(0)
        network = resnet(
            neuron=lambda place: (ParallelHDLIF if parallel(place) else HDLIF)(STEPS),
            blocks=[2, 2],
            width=4,
            classes=3,
            in_channels=2,
        )
        return names_of_remembered(network)

    whole = names(lambda place: False)
    assert "body.stage2.1.conv2" not in whole
    into_parallel_block = {"body.stage1.1.conv1", "body.stage2.1.conv1"}
    # Of the last stage nothing is read behind the last block's first neuron, which has no membrane.
    into_the_end = {"body.stage2.0.conv2", "body.stage2.0.shortcut.conv"}
    assert names(lambda place: place.block % 2 == 1) == whole - into_parallel_block - into_the_end
    # And where only the neurons inside blocks accumulate, the stream is not remembered.
    assert names(lambda place: place.index % 2 == 0) == {name for name in whole if name.endswith(".conv1")}


def test_a_stream_that_attention_joins_to_the_second_neuron_is_remembered_for_it() -> None:
    """SECA_II: act2 reads the stream where the block keeps its shape."""

    def names(form: str, parallel: Callable[[Place], bool]) -> set[str]:
        network = resnet(
            neuron=lambda place: (ParallelHDLIF if parallel(place) else HDLIF)(STEPS),
            block=partial(AttentionBlockII if form == "II" else AttentionBlockI, attention=SECA),
            blocks=[1, 1],
            width=4,
            classes=3,
            in_channels=2,
        )
        return names_of_remembered(network)

    into_second = {"body.stage1.0.conv1", "body.stage2.0.conv1"}
    assert names("I", lambda place: place.position == 0) == into_second
    # The first block keeps its shape and the stem feeds its act2; the second one does not.
    assert names("II", lambda place: place.position == 0) == into_second | {"stem.conv"}
    assert names("II", lambda place: False) == names("I", lambda place: False)


def test_update_at_each_step_has_the_gradients_of_the_sum_times_the_steps() -> None:
    net, x = Stack(6, 8), frames()
    each = learn(OTTT("each", leak=LEAK), net, x)
    assert_close({name: v / STEPS for name, v in each.items()}, learn(OTTT(leak=LEAK), net, x))
    plan = OTTT("each").schedule(3, torch.Generator())
    assert plan.updates == (True, True, True)


def passed(net: nn.Module, x: Tensor, traces: Traces | None = None) -> dict[str, Tensor]:
    """The output of one chunk, and the gradients of a fixed linear function of it."""
    x = x.clone().requires_grad_()
    net.zero_grad()
    y, _ = net(x, None, carrying(range(len(x)), observers=[traces] if traces else []))
    (y * torch.randn(y.shape, generator=torch.Generator().manual_seed(5), dtype=y.dtype)).sum().backward()
    assert x.grad is not None
    return {"output": y.detach(), "input": x.grad, **gradients(net)}


def assert_itself_with_a_trace(layer: nn.Module, x: Tensor) -> None:
    """Outputs and input gradients are those without a trace; weights learn from the trace, at one step as without."""
    net = Sequential({"layer": layer}).double()
    traces = Traces(synapses(net), TraceRule(0.25))
    one, both = passed(net, x[:1], traces), passed(net, x, traces)
    assert_close(one, passed(net, x[:1]), atol=1e-12)
    plain, from_traces = passed(net, x), passed(net, torch.stack([x[0], x[1] + 0.25 * x[0]]))
    expected = {"output": plain["output"], "input": plain["input"], "layer.weight": from_traces["layer.weight"]}
    assert_close({name: both[name] for name in expected}, expected, atol=1e-12)


@sampled(
    16,
    padding=[1, (2, 1), "valid", "same"],
    padding_mode=["zeros", "reflect", "replicate", "circular"],
    stride=[1, (2, 1)],
    dilation=[1, (1, 2)],
    groups=[1, 2],
    kernel=[2, (3, 2)],
)
def test_a_convolution_of_any_arguments_is_itself_with_a_trace(
    kernel: Any, stride: Any, padding: Any, **options: Any
) -> None:
    torch.manual_seed(0)
    # PyTorch's "same" is for strides of 1.
    conv = nn.Conv2d(2, 4, kernel, 1 if padding == "same" else stride, padding, **options)
    assert_itself_with_a_trace(conv, torch.randn(2, 2, 2, 5, 6, dtype=torch.float64))


@every(
    "make",
    "shape",
    of=[
        *((lambda: QuantLinear(4, 3), shape) for shape in ((3, 4), (3, 5, 4), (3, 5, 2, 4))),
        (lambda: QuantLinear(4, 3, bias=False, quantizer=Ternary()), (3, 4)),
        (lambda: QuantConv2d(2, 3, 3, stride=2, padding=1, quantizer=Ternary()), (2, 2, 5, 5)),
        (lambda: nn.Conv1d(2, 4, 2, padding=1, groups=2), (3, 2, 5)),
        (lambda: nn.Conv1d(2, 4, 2, padding="same", padding_mode="circular"), (3, 2, 5)),
        (lambda: nn.Conv3d(2, 4, 2, padding="same", groups=2), (3, 2, 5, 4, 3)),
        (lambda: nn.Conv3d(2, 4, 2, padding=1, padding_mode="circular"), (3, 2, 5, 4, 3)),
    ],
)
def test_layers_of_any_rank_are_themselves_with_a_trace(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    assert_itself_with_a_trace(make(), torch.randn(2, *shape, dtype=torch.float64))


class Block(Temporal):
    """Two ways to the second layer of neurons, whose children are registered in a given order."""

    paths = (("fc0", "act0", "fc1", "act1", "out"), ("skip", "act1"))

    def __init__(self, order: Sequence[str], kind: Callable[[int, int], nn.Module] = nn.Linear) -> None:
        super().__init__()
        torch.manual_seed(4)
        lif = partial(LIF, STEPS, leak=LEAK, threshold=0.5, reset=DetachedReset())
        made = {"fc0": kind(6, 8), "act0": lif(), "fc1": kind(8, 8), "skip": kind(6, 8), "act1": lif()}
        made["out"] = nn.Linear(8, 3)
        for name in order:
            self.add_module(name, made[name])
        self.double()

    def forward(
        self, x: Tensor, state: State | None = None, steps: range = range(STEPS)
    ) -> tuple[Tensor, State | None]:
        run = Scope(self, state, steps)
        h = run("fc1", run("act0", run("fc0", x))) + run("skip", x)
        return run("out", run("act1", h)), run.state


ORDER = ("fc0", "act0", "fc1", "skip", "act1", "out")


@sampled(
    12,
    order=list(itertools.permutations(ORDER))[::61],
    rule=[OTTT(leak=LEAK), NDOT(leak=LEAK)],
    kind=[nn.Linear, QuantLinear],
)
def test_the_order_in_which_children_are_registered_changes_nothing(
    order: Sequence[str], rule: OTTT, kind: Callable[[int, int], nn.Module]
) -> None:
    x = frames()
    expected, found = learn(rule, Block(ORDER, kind), x), learn(rule, Block(order, kind), x)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_what_reaches_the_last_membrane_learns_by_the_exact_gradient() -> None:
    found, exact, cut = (learn(rule, Block(ORDER), frames()) for rule in (OTTT(leak=LEAK), EXACT, SLTT()))
    for name in ("fc1.weight", "skip.weight", "out.weight"):
        torch.testing.assert_close(found[name], exact[name], atol=1e-10, rtol=0)
        assert torch.allclose(found[name], cut[name]) == (name == "out.weight")


class Silent(Block):
    """Leaves it to a pass how its children read one another."""

    paths = None


@every(rule=[OTTT(leak=LEAK), NDOT(leak=LEAK)], order=[ORDER, ORDER[::-1]])
def test_paths_that_are_not_stated_are_seen(rule: OTTT, order: Sequence[str]) -> None:
    stated, silent = Sequential({"body": Block(order)}), Sequential({"body": Silent(order)})
    for one in (frames(), frames()[:1]):
        expected, found = learn(rule, stated, one), learn(rule, silent, one)
        assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert set(remembered(silent, frames())) == {"body.fc0", "body.fc1", "body.skip"}


def test_looking_at_paths_leaves_the_network_and_the_draws_as_they_are() -> None:
    class Norms(Silent):
        def __init__(self) -> None:
            super().__init__(ORDER)
            self.norm, self.drop = BatchNorm1d(8, time_steps=STEPS).double(), nn.Dropout(0.5)

        def forward(
            self, x: Tensor, state: State | None = None, steps: range = range(STEPS)
        ) -> tuple[Tensor, State | None]:
            run = Scope(self, state, steps)
            h = run("norm", run("drop", run("fc1", run("act0", run("fc0", x))))) + run("skip", x)
            return run("out", run("act1", h)), run.state

    net = Norms().train()
    net.drop.eval()
    before, draws = {name: value.clone() for name, value in net.state_dict().items()}, torch.get_rng_state()
    assert set(remembered(net, frames())) == {"fc0", "fc1", "skip"}
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), draws)
    assert all(value.grad is None for value in net.parameters())
    assert (net.training, net.norm.training, net.drop.training) == (True, True, False)


def test_branches_that_are_joined_and_cut_by_any_operation_are_seen() -> None:
    class Joined(Silent):
        def forward(
            self, x: Tensor, state: State | None = None, steps: range = range(STEPS)
        ) -> tuple[Tensor, State | None]:
            run = Scope(self, state, steps)
            h = run("act0", run("fc0", x))
            both = torch.stack([run("fc1", h), run("skip", x)]).transpose(0, 1)
            both = both.mul(2).tanh()
            # In place, on what a child gave.
            summed = both[:, 0]
            summed += both[:, 1]
            return run("out", run("act1", summed)), run.state

    class AroundTheEnd(Silent):
        """fc1 reads what is given to nothing but the output."""

        def forward(
            self, x: Tensor, state: State | None = None, steps: range = range(STEPS)
        ) -> tuple[Tensor, State | None]:
            run = Scope(self, state, steps)
            h = run("act1", run("act0", run("fc0", x)) + run("skip", x))
            return run("out", h + run("fc1", h)), run.state

    assert set(remembered(Joined(ORDER), frames())) == {"fc0", "fc1", "skip"}
    assert set(remembered(AroundTheEnd(ORDER), frames())) == {"fc0", "skip"}
    behind = Sequential({"block": AroundTheEnd(ORDER), "last": LIF(STEPS).double()})
    assert set(remembered(behind, frames())) == {f"block.{name}" for name in ("fc0", "fc1", "skip", "out")}


def test_a_synapse_that_reads_the_step_before_is_seen() -> None:
    class Fed(Silent):
        """skip reads what act1 emitted at the step before, kept in the state of a child."""

        def __init__(self) -> None:
            super().__init__(ORDER)
            self.kept = Kept()
            self.back = nn.Linear(8, 8).double()

        def forward(
            self, x: Tensor, state: State | None = None, steps: range = range(STEPS)
        ) -> tuple[Tensor, State | None]:
            run = Scope(self, state, steps)
            before = None if state is None else state["kept"]["value"]  # type: ignore[index, call-overload]
            h = run("fc1", run("act0", run("fc0", x))) + run("skip", x)
            h = h + run("back", torch.zeros_like(h) if before is None else before)  # type: ignore[arg-type]
            return run("out", run("kept", run("act1", h))), run.state

    class Kept(Temporal):
        def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State | None]:
            return x, {"value": x}

    assert set(remembered(Fed(), frames())) == {"fc0", "fc1", "skip", "back"}


def test_paths_that_are_not_those_of_the_children_are_refused() -> None:
    way = ("fc0", "act0", "fc1", "act1", "out")
    cases: list[tuple[Paths, str]] = [
        ((way,), r"Wrong\.paths leaves out 'skip'.*add the ways"),
        ((way, ("skips", "act1")), r"Wrong\.paths names 'skips', which is not a child of it"),
        (
            (("fc0", "act1", "out"), ("fc1", "act0", "out"), ("skip", "act1")),
            r"Wrong runs 'act0' on what 'fc0' gave, and on none of Wrong.paths",
        ),
    ]
    for paths, message in cases:
        wrong = type("Wrong", (Block,), {"paths": paths})(ORDER)
        with pytest.raises(TrainingError, match=message):
            learn(OTTT(), wrong, frames())
        learn(SLTT(), wrong, frames())


def test_a_synapse_of_a_kind_without_a_trace_is_refused_by_its_name() -> None:
    net = Sequential({"mix": nn.Bilinear(6, 6, 8), "act": HDLIF(STEPS)}).double()
    with pytest.raises(TrainingError, match=r"^mix feeds a membrane and cannot learn from a trace: Bilinear"):
        learn(OTTT(), net, frames())
    # Behind the last neuron it needs none.
    assert remembered(Sequential(HDLIF(STEPS), nn.ConvTranspose2d(2, 2, 1))) == {}


def test_a_synapse_under_two_names_is_found_by_both() -> None:
    class Twice(Block):
        def __init__(self) -> None:
            super().__init__(ORDER)
            self.skip = self.fc0

    twice = Twice()
    assert set(remembered(twice)) == {"fc0", "fc1", "skip"}
    assert all((value != 0).any() for value in learn(OTTT(), twice, frames()).values())


def test_a_parametrised_synapse_learns_from_its_trace() -> None:
    x = frames()
    net = Block(ORDER)
    torch.nn.utils.parametrizations.weight_norm(net.fc1)
    assert set(remembered(net)) == {"fc0", "fc1", "skip"}
    exact, found = learn(EXACT, net, x), learn(OTTT(leak=LEAK), net, x)
    for end in ("original0", "original1"):
        name = f"fc1.parametrizations.weight.{end}"
        torch.testing.assert_close(found[name], exact[name], atol=1e-10, rtol=0)


def test_a_bias_learns_from_the_trace_of_an_input_of_one() -> None:
    """Its gradient is that of the weight of a further channel, which is 1 at every step."""
    torch.manual_seed(0)
    net = Sequential({"conv": nn.Conv2d(2, 4, 1)}).double()
    wider = Sequential({"conv": nn.Conv2d(3, 4, 1, bias=False)}).double()
    with torch.no_grad():
        wider[0].weight.copy_(torch.cat([net[0].weight, net[0].bias.view(4, 1, 1, 1)], 1))
    x = torch.randn(STEPS, 2, 2, 3, 3, dtype=torch.float64)
    for leak in (0.0, 0.25, 1.0):
        traces = Traces(synapses(net) | {"wider": wider[0]}, TraceRule(leak))
        found, expected = passed(net, x, traces), passed(wider, torch.cat([x, torch.ones_like(x[:, :, :1])], 2), traces)
        torch.testing.assert_close(found["conv.bias"], expected["conv.weight"][:, 2].flatten(), atol=1e-12, rtol=0)


def test_hooks_of_a_traced_synapse_run_and_may_change_what_it_gives() -> None:
    torch.manual_seed(0)
    net = Sequential({"conv": nn.Conv2d(2, 3, 3, padding=1)}).double()
    net[0].register_forward_pre_hook(lambda module, args: (args[0] * 2,))
    net[0].register_forward_hook(lambda module, args, output: output + 1)
    x = torch.randn(1, 2, 2, 4, 4, dtype=torch.float64)
    traces = Traces(synapses(net), TraceRule(0.5))
    found = passed(net, x, traces)
    assert_close(found, passed(net, x), atol=1e-12)


class Centred(nn.Conv2d):
    """A convolution whose weights have mean 0: another forward pass under a known name."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight - self.weight.mean(), self.bias)


def test_a_forward_pass_that_a_trace_would_change_is_refused() -> None:
    net = tiny_resnet(lambda place: LIF(STEPS))
    net.stem.conv = Centred(2, 4, 3)
    with pytest.raises(TrainingError, match=r"stem.conv feeds a membrane.*Centred has a forward pass.*use Conv1d"):
        learn(OTTT(), net, torch.zeros(1, len(TARGET), 2, 6, 6, dtype=torch.float64))


class Direct(Block):
    """Calls one of its synapses without its Scope."""

    def forward(
        self, x: Tensor, state: State | None = None, steps: range = range(STEPS)
    ) -> tuple[Tensor, State | None]:
        run = Scope(self, state, steps)
        h = run("fc1", run("act0", run("fc0", x))) + self.skip(x)
        return run("out", run("act1", h)), run.state


@every(rule=[OTTT(), NDOT("each")], inside=[False, True])
def test_a_synapse_that_is_called_directly_is_refused_by_its_name(rule: OTTT, inside: bool) -> None:
    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = Direct(ORDER)

        def forward(
            self, x: Tensor, state: State | None = None, steps: range = range(STEPS)
        ) -> tuple[Tensor, State | None]:
            return self.model(x, state, steps=steps)

    with pytest.raises(TrainingError, match=r"^skip feeds a membrane .*, and none was kept: it was called directly"):
        learn(rule, Wrapper() if inside else Direct(ORDER), frames())
    learn(SLTT(), Direct(ORDER), frames())
    nested = Sequential({"body": nn.Sequential(QuantLinear(6, 2), nn.ReLU()), "act": LIF(STEPS)}).double()
    with pytest.raises(TrainingError, match=r"^body\.0 feeds a membrane.*it was called directly"):
        learn(rule, nested, frames())
    unstated = type("Direct", (Direct,), {"paths": None})(ORDER)
    with pytest.raises(TrainingError, match=r"body \(Direct\) does not run 'skip' by name with hdlif.nn.Scope"):
        learn(rule, Sequential({"body": unstated}), frames())


def test_chunk_of_steps_equals_chunks_of_one_with_traces() -> None:
    net, x = Stack(6, 8), frames()
    traces = Traces(synapses(net), TraceRule(LEAK))
    whole, _ = net(x, steps=carrying(range(STEPS), observers=[traces]))
    state, parts = None, []
    for t in range(STEPS):
        y, state = net(x[t : t + 1], state, steps=carrying(range(t, t + 1), observers=[traces]))
        parts.append(y)
    assert state is not None
    assert set(state["body"]) == {"fc0", "act0"}  # type: ignore[arg-type]
    torch.testing.assert_close(torch.cat(parts), whole, atol=0, rtol=0)
    # No trace outlives its rule.
    _, state = net(x, steps=range(STEPS))
    assert set(state["body"]) == {"act0"}


def test_traces_work_in_a_residual_net_with_low_bit_weights_held_for_the_update() -> None:
    net = tiny_resnet(lambda place: HDLIF(STEPS), quantizer=Ternary())
    x = torch.randn(STEPS, len(TARGET), 2, 6, 6, dtype=torch.float64)
    found, plain = learn(OTTT(leak=LEAK), net, x), learn(SLTT(), net, x)
    assert {name for name, v in found.items() if not torch.equal(v, plain[name]) and "conv" in name} == {
        "stem.conv.weight",
        "body.stage1.0.conv1.weight",
        "body.stage1.0.conv2.weight",
        "body.stage2.0.conv1.weight",
    }
    # What comes down to a stem's neuron is the same: only weight gradients use the trace.
    assert_close(
        {name: v for name, v in found.items() if name.endswith("logit")},
        {name: v for name, v in plain.items() if name.endswith("logit")},
        atol=1e-6,
    )


def test_state_that_is_no_trace_is_refused() -> None:
    net, x = Sequential({"fc": QuantLinear(6, 2)}).double(), frames()
    traces = Traces(synapses(net), TraceRule(0.5))
    with pytest.raises(StateError, match="it must be one tensor, 'trace'"):
        net(x, {"fc": {"potential": x[0]}}, carrying(range(STEPS), observers=[traces]))
    with pytest.raises(ShapeError, match=r"trace has shape \[2, 6\], the input of this step \[4, 6\]"):
        net(x, {"fc": {"trace": x[0, :2]}}, carrying(range(STEPS), observers=[traces]))
    for leak in (-0.1, 1.5):
        with pytest.raises(ValueError, match=r"must lie in 0\.\.1"):
            OTTT(leak=leak)


def test_narrow_arithmetic_is_that_of_the_plain_synapse() -> None:
    torch.manual_seed(0)
    net = Sequential({"conv": QuantConv2d(2, 3, 3, padding=1)})
    x = torch.randn(1, 2, 2, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        plain, _ = net(x, None, range(1))
        traces = Traces(synapses(net), TraceRule(0.5))
        y, _ = net(x, None, carrying(range(1), observers=[traces]))
    assert y.dtype == plain.dtype == torch.bfloat16
    assert torch.equal(y, plain)
    y.float().sum().backward()
    assert net[0].weight.grad.dtype == torch.float32


def test_criterion_mixes_cross_entropy_and_squared_distance() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.5, -0.5]])
    target = torch.tensor([0, 1])
    squared = (1.0 + 0.0 + 0.25 + 2.25) / 4
    expected = 0.9 * F.cross_entropy(logits, target) + 0.1 * squared
    torch.testing.assert_close(OTTTCriterion(mse_share=0.1)(logits, target), expected)
