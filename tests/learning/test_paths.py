"""Which synapses feed a membrane, by the paths or reads that a module states, or as a pass shows them."""

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from cases import every, sampled
from hdlif.errors import TrainingError
from hdlif.functional import DetachedReset
from hdlif.learning import NDOT, OTTT, SLTT
from hdlif.learning.paths import remembered
from hdlif.models import Place, resnet
from hdlif.models.blocks import AttentionBlockI, AttentionBlockII
from hdlif.nn import HDLIF, LIF, SECA, BatchNorm1d, ParallelHDLIF, QuantLinear, Scope, Sequential, State, Temporal
from learning.rule_runs import learn
from learning.test_traces import EXACT, LEAK, STEPS, frames

Step = tuple[Tensor, State | None]
ORDER = ("fc0", "act0", "fc1", "skip", "act1", "out")


class Block(Temporal):
    """Two ways to the second layer of neurons, whose children are registered in a given order."""

    paths = (("fc0", "act0", "fc1", "act1", "out"), ("skip", "act1"))

    def __init__(self, order: Sequence[str] = ORDER, kind: Callable[[int, int], nn.Module] = nn.Linear) -> None:
        super().__init__()
        torch.manual_seed(4)
        lif = partial(LIF, STEPS, leak=LEAK, threshold=0.5, reset=DetachedReset())
        made = {"fc0": kind(6, 8), "act0": lif(), "fc1": kind(8, 8), "skip": kind(6, 8), "act1": lif()}
        made["out"] = nn.Linear(8, 3)
        for name in order:
            self.add_module(name, made[name])
        self.double()

    def forward(self, x: Tensor, state: State | None = None, steps: range = range(STEPS)) -> Step:
        run = Scope(self, state, steps)
        return run("out", self.body(run, x)), run.state

    def body(self, run: Scope, x: Tensor) -> Tensor:
        return run("act1", run("fc1", run("act0", run("fc0", x))) + run("skip", x))


class Silent(Block):
    """Leaves it to a pass how its children read one another."""

    paths = None


class Reading(Block):
    """States what each child reads."""

    paths = None
    reads: ClassVar[Any] = {"fc0": [""], "act0": ["fc0"], "fc1": ["act0"], "skip": [""]}
    reads |= {"act1": ["fc1", "skip"], "out": ["act1"], "": ["out"]}


@sampled(
    12,
    order=list(itertools.permutations(ORDER))[::61],
    rule=[OTTT(leak=LEAK), NDOT(leak=LEAK)],
    kind=[nn.Linear, QuantLinear],
    form=[Block, Silent, Reading],
)
def test_every_form_finds_the_same_synapses_in_whatever_order_children_are_registered(
    order: Sequence[str], rule: OTTT, kind: Callable[[int, int], nn.Module], form: type[Block]
) -> None:
    stated, other = Sequential({"body": Block(ORDER, kind)}), Sequential({"body": form(order, kind)})
    plan = rule.schedule(STEPS, torch.Generator())
    for x in (frames(), frames()[:1]):
        expected, found = learn(rule, stated, x, plan), learn(rule, other, x, plan)
        assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert set(remembered(other, frames())) == {"body.fc0", "body.fc1", "body.skip"}


@every(parametrised=[False, True])
def test_what_reaches_the_last_membrane_learns_by_the_exact_gradient(parametrised: bool) -> None:
    net = Block()
    if parametrised:
        torch.nn.utils.parametrizations.weight_norm(net.fc1)
    found, exact, cut = (learn(rule, net, frames()) for rule in (OTTT(leak=LEAK), EXACT, SLTT()))
    for name in (name for name in found if name.startswith(("fc1", "skip", "out")) and "weight" in name):
        torch.testing.assert_close(found[name], exact[name], atol=1e-10, rtol=0)
        assert torch.allclose(found[name], cut[name]) == name.startswith("out")


def test_a_synapse_under_two_names_is_found_by_both() -> None:
    twice = Block()
    twice.skip = twice.fc0
    assert set(remembered(twice)) == {"fc0", "fc1", "skip"}


def test_looking_at_paths_leaves_the_network_and_the_draws_as_they_are() -> None:
    class Norms(Silent):
        def body(self, run: Scope, x: Tensor) -> Tensor:
            h = run("norm", run("drop", run("fc1", run("act0", run("fc0", x)))))
            return run("act1", h + run("skip", x))

    net = Norms()
    net.norm, net.drop = BatchNorm1d(8, time_steps=STEPS).double(), nn.Dropout(0.5).eval()
    before, draws = {name: value.clone() for name, value in net.state_dict().items()}, torch.get_rng_state()
    assert set(remembered(net, frames())) == {"fc0", "fc1", "skip"}
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), draws)
    assert all(value.grad is None for value in net.parameters())
    assert (net.training, net.norm.training, net.drop.training) == (True, True, False)


class Joined(Silent):
    def body(self, run: Scope, x: Tensor) -> Tensor:
        both = torch.stack([run("fc1", run("act0", run("fc0", x))), run("skip", x)]).transpose(0, 1).mul(2).tanh()
        # In place, on what a child gave.
        return run("act1", both[:, 0].add_(both[:, 1]))


class AroundTheEnd(Silent):
    """fc1 reads what is given to nothing but the output."""

    def body(self, run: Scope, x: Tensor) -> Tensor:
        h = run("act1", run("act0", run("fc0", x)) + run("skip", x))
        return h + run("fc1", h)


class Kept(Temporal):
    def forward(self, x: Tensor, state: State | None, steps: range) -> Step:
        return x, {"value": x}


class Fed(Silent):
    """back reads what act1 emitted at the step before, kept in the state of a child."""

    def __init__(self) -> None:
        super().__init__()
        self.kept, self.back = Kept(), nn.Linear(8, 8).double()

    def forward(self, x: Tensor, state: State | None = None, steps: range = range(STEPS)) -> Step:
        run = Scope(self, state, steps)
        h = run("fc1", run("act0", run("fc0", x))) + run("skip", x)
        before: Any = torch.zeros_like(h) if state is None else state["kept"]["value"]  # type: ignore[call-overload, index]
        return run("out", run("kept", run("act1", h + run("back", before)))), run.state


@every(
    "network",
    "synapses",
    of=[
        (Joined(), "fc0 fc1 skip"),
        (AroundTheEnd(), "fc0 skip"),
        (Sequential({"b": AroundTheEnd(), "last": LIF(STEPS).double()}), "b.fc0 b.fc1 b.skip b.out"),
        (Fed(), "fc0 fc1 skip back"),
    ],
)
def test_a_pass_sees_joins_what_stands_behind_and_the_step_before(network: nn.Module, synapses: str) -> None:
    assert set(remembered(network, frames())) == set(synapses.split())


def test_what_feeds_a_stream_has_a_trace_where_any_reader_of_it_accumulates() -> None:
    """Second blocks without membranes: past them the stream still reaches the next stage's first neuron."""

    def names(parallel: Callable[[Place], bool], blocks: Sequence[int] = (2, 2), **options: Any) -> set[str]:
        neuron = lambda place: (ParallelHDLIF if parallel(place) else HDLIF)(STEPS)  # noqa: E731
        return set(remembered(resnet(neuron=neuron, blocks=blocks, width=4, classes=3, in_channels=2, **options)))

    whole = names(lambda place: False)
    assert "body.stage2.1.conv2" not in whole
    into_parallel_block = {"body.stage1.1.conv1", "body.stage2.1.conv1"}
    # Of the last stage nothing is read after the last block's first neuron, which has no membrane.
    into_the_end = {"body.stage2.0.conv2", "body.stage2.0.shortcut.conv"}
    assert names(lambda place: place.block % 2 == 1) == whole - into_parallel_block - into_the_end
    # And where only the neurons inside blocks accumulate, the stream is not remembered.
    inner = {name for name in whole if name.endswith(".conv1")}
    assert names(lambda place: place.index % 2 == 0) == inner
    # Of SECA II act2 reads the stream, too, where the block keeps its shape, as the first one does.
    for block, found in ((AttentionBlockI, set()), (AttentionBlockII, {"stem.conv"})):
        attention = partial(block, attention=SECA)
        first = {"body.stage1.0.conv1", "body.stage2.0.conv1"}
        assert names(lambda place: place.position == 0, (1, 1), block=attention) == first | found


WAY = ("fc0", "act0", "fc1", "act1", "out")


@every(
    "stated",
    "words",
    of=[
        ({"paths": (WAY,)}, r"Wrong\.paths omits 'skip'.*add the paths"),
        ({"paths": (WAY, ("skips", "act1"))}, r"Wrong\.paths names 'skips', which is not one of its children"),
        (
            {"paths": (("fc0", "act1", "out"), ("fc1", "act0", "out"), ("skip", "act1"))},
            r"Wrong runs 'act0' on the output of 'fc0', but no path in Wrong.paths",
        ),
        ({"reads": {"fc0": [""], "act0": ["fc0"], "": ["act0"]}}, "omits 'fc1', 'skip', 'act1', 'out'"),
        ({"reads": {**Reading.reads, "d": ["fc0"]}}, "names 'd', which is not one of its children"),
        ({"reads": {**Reading.reads, "fc1": [""]}}, "runs 'fc1' on the output of 'act0'"),
    ],
)
def test_paths_that_are_not_those_of_the_children_are_refused(stated: dict[str, Any], words: str) -> None:
    wrong = type("Wrong", (Silent,), stated)()
    with pytest.raises(TrainingError, match=words):
        learn(OTTT(), wrong, frames())
    learn(SLTT(), wrong, frames())


class Direct(Block):
    """Calls one of its synapses without its Scope."""

    def body(self, run: Scope, x: Tensor) -> Tensor:
        return run("act1", run("fc1", run("act0", run("fc0", x))) + self.skip(x))


@every(
    "make",
    "words",
    of=[
        (Direct, r"^skip feeds a membrane .*, but none was kept: it was called directly"),
        (
            lambda: Sequential({"body": nn.Sequential(QuantLinear(6, 3), nn.ReLU()), "act": LIF(STEPS)}).double(),
            r"^body\.0 feeds a membrane.*it was called directly",
        ),
        (
            lambda: Sequential({"body": type("Direct", (Direct,), {"paths": None})()}),
            r"body \(Direct\) does not run 'skip' by name with hdlif.nn.Scope",
        ),
    ],
    rule=[OTTT(), NDOT("each")],
)
def test_a_synapse_that_is_called_directly_is_refused_by_its_name(
    make: Callable[[], nn.Module], words: str, rule: OTTT
) -> None:
    with pytest.raises(TrainingError, match=words):
        learn(rule, make(), frames())
    learn(SLTT(), make(), frames())
