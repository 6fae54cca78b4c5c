"""Training on streams: every batch goes on where the one before it stopped, and a resumed one with the same bytes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cases import every, naming
from hdlif.data import rows
from hdlif.data.sources.synthetic import sines
from hdlif.errors import CheckpointError, InputError
from hdlif.learning import (
    NDOT,
    OTTT,
    SLTT,
    STBP,
    Carry,
    ForwardMode,
    Plan,
    Rule,
    StochasticStep,
    StochasticWindow,
    Timed,
)
from hdlif.nn import (
    HDLIF,
    SECA,
    BatchNorm1d,
    BatchNorm2d,
    Carrying,
    DelayLine,
    MemBN,
    QuantConv2d,
    Recurrent,
    Sequential,
    Ternary,
    carrying,
)
from hdlif.recipe import TrainingConfig
from hdlif.training import Callback
from hdlif.training.streaming import Streams
from hdlif.training.tasks import Classify
from learning.rule_runs import drawn, learn
from small_networks import assert_close, gradients, name_of, tensors_of
from training.tiny import CrashError, same, train

T, PART, B, CLASSES = 8, 4, 5, 3
RULES: list[Rule] = [
    STBP(),
    STBP(loss="each"),
    SLTT(),
    SLTT(chunk=3),
    SLTT("each"),
    OTTT(leak=0.9),
    OTTT(leak=0.9, chunk=3),
    NDOT("each"),
    StochasticStep(2),
    StochasticWindow(2),
    StochasticWindow(2, loss="last"),
    ForwardMode(),
    ForwardMode("each", recurrent="eprop"),
]


def network(inputs: int = 2, *, width: int = 6, norm: bool = True) -> Sequential:
    """Taps in time, low-bit weights, a recurrent layer: all that keeps a state."""
    torch.manual_seed(0)
    shared: dict[str, Any] = {"per_step": False, "channels": width}
    return Sequential(
        DelayLine(2, 1),
        QuantConv2d(2 * inputs, width, 1),
        *([BatchNorm2d(width)] if norm else []),
        HDLIF(T, leak=0.9, threshold=0.3, **shared),
        QuantConv2d(width, width, 1, quantizer=Ternary()),
        Recurrent(HDLIF(T, leak=0.8, threshold=0.3, **shared), QuantConv2d(width, width, 1)),
        nn.Flatten(),
        nn.Linear(width, CLASSES),
    )


TARGET = torch.tensor([0, 1, 2, 0, 1])


def frames() -> Tensor:
    return 2 * drawn(T, B, 2, 1, 1)


def in_parts(rule: Rule, net: nn.Module, plan: Plan) -> tuple[dict[str, Tensor], Carry]:
    """The sum over the parts of a sequence, each of which goes on from the one before."""
    carry = Carry()
    first, second = (learn(rule, net, part, plan, carry=carry) for part in frames().split(PART))
    return {name: value + second[name] for name, value in first.items()}, carry


def flat(state: Any) -> dict[str, Tensor]:
    return {name: value for name, value in tensors_of(state) if "trace" not in name and "drift" not in name}


@every(rule=[SLTT(), SLTT(chunk=3), OTTT(leak=0.9), OTTT(leak=0.9, chunk=3), NDOT(), ForwardMode()])
def test_the_parts_of_a_sequence_have_the_gradient_of_the_whole(rule: Rule) -> None:
    net = network(norm=False).double().train()
    found, carry = in_parts(rule, net, rule.schedule(PART, torch.Generator()))
    whole = learn(rule, net, frames())
    # The losses of a part are a mean over its own steps.
    assert_close({name: value * PART / T for name, value in found.items()}, whole)
    assert carry.step == T


def test_stbp_of_parts_is_back_propagation_that_is_cut_between_them() -> None:
    net, rule = network(norm=False).double().train(), STBP()
    found, _ = in_parts(rule, net, rule.schedule(PART, torch.Generator()))
    net.zero_grad()
    carry = Carry()
    for first, part in zip((0, PART), frames().split(PART), strict=True):
        logits, after = net(part, carry.state, steps=range(first, first + PART))
        F.cross_entropy(logits.mean(0), TARGET).backward()
        carry.after(after, PART)
    assert_close(found, gradients(net))


@every(rule=RULES)
def test_every_step_of_a_part_runs_and_hands_its_state_on(rule: Rule) -> None:
    net = network(norm=False).double().train()
    plan = rule.schedule(PART, torch.Generator())
    if isinstance(rule, StochasticStep | StochasticWindow):
        # The first steps alone have a loss.
        plan = next(plan for plan, _ in rule.plans(PART) if max(plan.steps) == 1)
    _, carry = in_parts(rule, net, plan)
    with torch.no_grad():
        expected = flat(net(frames(), steps=range(T))[1])
    torch.testing.assert_close(flat(carry.state), expected)
    assert not any(value.requires_grad for value in flat(carry.state).values())


def test_statistics_of_a_stream_follow_their_equation_whatever_the_batch() -> None:
    for batch in (1, 3):
        x = torch.randn(40, batch, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 3
        norm = BatchNorm1d(2, momentum=0.1).double().train()
        with torch.no_grad():
            norm.weight.copy_(torch.tensor([0.5, 2]))
        mean, var, found = torch.zeros(2).double(), torch.ones(2).double(), []
        for t, step in enumerate(x):
            momentum = max(0.1, 1 / (t + 1))
            before, mean = mean, mean + momentum * (step.mean(0) - mean)
            var = (1 - momentum) * var + momentum * ((step - before) * (step - mean)).mean(0)
            found.append((step - mean) / (var + norm.eps).sqrt() * norm.weight + norm.bias)
        y, _ = norm(x, None, carrying(range(40), by_average=True))
        torch.testing.assert_close(y, torch.stack(found))
        torch.testing.assert_close((norm.running_mean, norm.running_var), (mean, var))


def test_statistics_are_constants_to_the_gradient_and_stay_as_they_are_in_eval_mode() -> None:
    norm = BatchNorm1d(2).double().train()
    x = torch.randn(1, 4, 2, dtype=torch.float64, requires_grad=True)
    steps = carrying(range(1), by_average=True)
    norm(x, None, steps)[0].sum().backward()
    slope = norm.weight.detach() / (norm.running_var + norm.eps).sqrt()
    torch.testing.assert_close(x.grad, slope.expand(1, 4, 2))
    kept = norm.running_mean.clone()
    y, _ = norm.eval()(x, None, steps)
    torch.testing.assert_close(y, norm(x, None, range(1))[0])
    assert torch.equal(norm.running_mean, kept)


@every(recurrent=["diagonal", "eprop"])
def test_forward_mode_knows_that_they_are(recurrent: Any) -> None:
    found = []
    for rule in (ForwardMode(recurrent=recurrent), STBP(loss="each")):
        torch.manual_seed(0)
        neuron = HDLIF(T, leak=0.9, threshold=0.2, per_step=False, channels=4)
        net = Sequential(nn.Linear(2, 4), BatchNorm1d(4), neuron, nn.Linear(4, CLASSES)).double().train()
        by_average = Carrying(net, by_average=True)
        found.append(learn(rule, by_average, frames().flatten(2)))
    assert_close(*found)


class CrashAt(Callback):
    """Ends a training without notice after so many batches."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_batch_end(self, training: Any) -> None:
        if training.counters.step == self.batch:
            raise CrashError


def stream(out: Path, rule: Rule, *, every: int = 8, **changes: Any) -> Any:
    """Train on streams of sines, for one epoch of four batches."""
    sets = sines(validation=30).shown_as(rows)
    given: dict[str, Any] = {
        "rule": rule,
        "sets": SimpleNamespace(train=sets.train.first(32), validation=sets.validation, classes=sets.classes),
        "model": network(),
        "task": Classify(sets.classes, 32),
        "config": TrainingConfig(epochs=1, learning_rate=0.02, stream=every),
        "checkpoint_every": 0.0,
        "batch_size": 8,
    }
    return train(out, **given | changes)


@pytest.mark.parametrize(
    "rule",
    [pytest.param(rule, marks=[] if rule == ForwardMode() else pytest.mark.slow) for rule in RULES],
    ids=name_of,
)
def test_a_stream_is_resumed_in_its_middle_to_the_same_bytes(rule: Rule, tmp_path: Path) -> None:
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    stream(straight, rule)
    with pytest.raises(CrashError):
        stream(resumed, rule, after_crash=CrashAt(3))
    stream(resumed, rule, resume=True)
    assert same(resumed, straight)


def test_the_state_of_the_sample_before_is_there_when_the_next_begins(tmp_path: Path) -> None:
    seen: list[bool] = []

    class Watching(SLTT):
        def __call__(self, model: nn.Module, x: Tensor, target: Tensor, plan: Plan, carry: Carry | None = None) -> Any:
            assert carry is not None
            seen.append(carry.state is not None and bool(flat(carry.state)["3.potential"].any()))
            return super().__call__(model, x, target, plan, carry)

    stream(tmp_path, Watching(), every=16)
    assert seen == [False] + [True] * (len(seen) - 1)


def test_targets_at_each_step_are_taken_apart_with_the_steps() -> None:
    streams = Streams(4, T, SLTT(criterion=Timed(F.cross_entropy, each=True)), network())
    target = torch.arange(B * T).view(B, T)
    parts = list(streams.parts(frames(), target))
    assert [list(y.shape) for _, y in parts] == [[B, 4], [B, 4]]
    torch.testing.assert_close(torch.cat([y for _, y in parts], 1), target)
    torch.testing.assert_close(torch.cat([x for x, _ in parts]), frames())
    (constant, _), *_ = streams.parts(frames()[:1], target)
    assert len(constant) == 1
    below = {"stream.state.a": torch.zeros(1), "stream.state.a.b": torch.zeros(1)}
    with pytest.raises(CheckpointError, match="is below a tensor; the file is damaged"):
        streams.restore(below, 4, torch.device("cpu"), "x")


class Anew(SLTT):
    """A rule that begins every sequence anew."""

    def __call__(self, model: nn.Module, x: Tensor, target: Tensor, plan: Plan) -> Any:
        return super().__call__(model, x, target, plan)


def reading(*layers: nn.Module) -> dict[str, Any]:
    return {"model": Sequential(nn.Flatten(), nn.Linear(2, 3), *layers)}


def test_what_is_no_stream_is_refused(tmp_path: Path) -> None:
    stateless, normed = HDLIF(32, per_step=False), BatchNorm1d(3, time_steps=32)
    attention = nn.Unflatten(1, (3, 1)), SECA(3, time_steps=32), nn.Flatten()
    refused: list[tuple[dict[str, Any], str]] = [
        ({"every": 5}, "training.stream = 5 steps"),
        ({"every": 64}, "training.stream = 64 steps"),
        ({"task": Classify(("a", "b", "c"), 32, "last")}, "set task.learn_from: every"),
        ({"task": Classify(("a", "b", "c"), 32, learn_from="late")}, "set task.learn_from: every"),
        (reading(HDLIF(32)), r"2\.leak .* set neuron\.per_step: false$"),
        (reading(*attention), r"3 has .*set attention\.per_step: false$"),
        (reading(normed, HDLIF(32)), r"norm\.per_step: false, and set neuron\.per_step: false$"),
        (reading(normed, stateless), r"no first step; set norm\.per_step: false$"),
        (reading(HDLIF(32, per_step=False, norm=MemBN(32, 3))), r"\(2\.norm\).*remove neuron.mem_bn$"),
        ({"config": TrainingConfig(epochs=1, learning_rate=0.1, stream=8, accumulate=2)}, r"training\.accumulate"),
        ({"rule": Anew()}, r"the rule Anew does not support streams.*carry=\.\.\."),
    ]
    for changes, words in refused:
        with naming(words), pytest.raises(InputError, match=words):
            stream(tmp_path, **{"rule": SLTT(), **changes})
