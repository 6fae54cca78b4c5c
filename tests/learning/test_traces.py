"""OTTT and NDOT: traces by hand and against exact back-propagation; `test_paths.py` has which synapses keep one."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import own_neurons
from cases import every, naming, sampled
from hdlif.errors import ShapeError, StateError, TrainingError
from hdlif.functional import DetachedReset
from hdlif.learning import NDOT, OTTT, SLTT, STBP
from hdlif.learning.paths import remembered
from hdlif.learning.traced_pass import STILL, Synapse, TraceRule, decay, drift
from hdlif.learning.traces import Traces
from hdlif.nn import (
    HDLIF,
    LIF,
    ParallelHDLIF,
    QuantConv2d,
    QuantLinear,
    Sequential,
    State,
    Temporal,
    Ternary,
    carrying,
)
from learning.rule_runs import drawn, learn
from small_networks import assert_close, gradients, tiny_resnet

STEPS = 5
LEAK = 0.5


def stack(*widths: int) -> Sequential:
    """Layers of LIF neurons with a constant leak and a detached soft reset, and a linear read-out."""
    torch.manual_seed(3)
    layers: dict[str, nn.Module] = {}
    for i, (fan_in, width) in enumerate(itertools.pairwise(widths)):
        layers[f"fc{i}"] = QuantLinear(fan_in, width)
        layers[f"act{i}"] = LIF(STEPS, leak=LEAK, threshold=0.5, reset=DetachedReset())
    return Sequential({"body": Sequential(layers), "out": nn.Linear(widths[-1], 3)}).double()


def synapses(net: nn.Module) -> dict[str, nn.Module]:
    return {name: module for name, module in net.named_modules() if isinstance(module, Synapse)}


def frames(*shape: int) -> Tensor:
    return drawn(STEPS, 4, *(shape or (6,)))


EXACT = STBP(loss="each")


def cosine(a: Tensor, b: Tensor) -> float:
    return float(F.cosine_similarity(a.flatten(), b.flatten(), 0))


def test_the_last_spiking_layer_learns_by_the_exact_gradient_and_earlier_ones_more_nearly_than_without() -> None:
    net, x = stack(6, 12, 8), frames()
    exact, found, cut = (learn(rule, net, x) for rule in (EXACT, OTTT(leak=LEAK), SLTT()))
    for name in ("body.fc1.weight", "out.weight", "out.bias"):
        torch.testing.assert_close(found[name], exact[name], atol=1e-10, rtol=0)
    first, without = (cosine(one["body.fc0.weight"], exact["body.fc0.weight"]) for one in (found, cut))
    assert without < first < 0.999


def test_trace_without_leak_is_the_input_itself() -> None:
    net, x = stack(6, 12, 8), frames()
    assert_close(learn(OTTT(leak=0.0), net, x), learn(SLTT(), net, x))


@every(rule=[OTTT(), NDOT()])
def test_what_feeds_a_parallel_neuron_has_no_trace(rule: OTTT) -> None:
    """Its λ is 0, so that what it remembers is what it reads."""
    parallel = tiny_resnet(lambda place: ParallelHDLIF(STEPS))
    assert remembered(parallel) == {}
    x = frames(2, 6, 6)
    # One network: batch norm's running statistics change nothing that is learned.
    assert_close(learn(rule, parallel, x), learn(SLTT(), parallel, x))


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


class Centred(QuantLinear):
    """Weights of mean 0: another forward pass under a known name."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight - self.weight.mean(), self.bias)


@every(
    "synapse", "words", of=[(nn.Bilinear(6, 6, 8), "Bilinear"), (Centred(6, 8), r"Centred overrides forward\(\), so")]
)
def test_a_synapse_of_a_kind_without_a_trace_is_refused_by_its_name(synapse: nn.Module, words: str) -> None:
    net = Sequential({"mix": synapse, "act": HDLIF(STEPS)}).double()
    with pytest.raises(TrainingError, match=rf"^mix feeds a membrane and cannot learn from a trace: {words}"):
        learn(OTTT(), net, frames())
    # After the last neuron it needs none.
    assert remembered(Sequential(HDLIF(STEPS), nn.ConvTranspose2d(2, 2, 1))) == {}


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


def test_hooks_of_a_traced_synapse_run_and_its_arithmetic_may_be_narrow() -> None:
    torch.manual_seed(0)
    net = Sequential({"conv": nn.Conv2d(2, 3, 3, padding=1)})
    net[0].register_forward_pre_hook(lambda module, args: (args[0] * 2,))
    net[0].register_forward_hook(lambda module, args, output: output + 1)
    x = torch.randn(1, 2, 2, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        plain, _ = net(x, None, range(1))
        y, _ = net(x, None, carrying(range(1), observers=[Traces(synapses(net), TraceRule(0.5))]))
    assert y.dtype == plain.dtype == torch.bfloat16
    assert torch.equal(y, plain)
    y.float().sum().backward()
    assert net[0].weight.grad.dtype == torch.float32


def test_drift_and_decay_by_hand() -> None:
    current, potential = torch.tensor([1.0, 0.5, 2.0, 0.25]), torch.tensor([1.0, 1.0, 0.0, 0.5])
    now = drift(current, potential, 0.5)
    assert now.tolist() == [0.5, 0.0, 2.0, 0.0]
    before = torch.tensor([1.0, 0.0, -0.5, STILL / 2])
    # ½/1; still before: λ; 2/-½ clipped; still before: λ
    assert decay(now, before, 0.25).tolist() == [0.5, 0.25, -1.0, 0.25]
    assert decay(now, None, 0.25) == 0.25


def test_trace_of_a_synapse_behind_a_neuron_decays_as_the_neuron_moves() -> None:
    torch.manual_seed(0)
    net = Sequential({"act": LIF(STEPS, leak=LEAK, threshold=0.5), "fc": QuantLinear(4, 3)}).double()
    x = torch.randn(STEPS, 2, 4, dtype=torch.float64) * 2
    state, a, before = None, torch.zeros(2, 4, dtype=torch.float64), None
    lif_state = None
    traces = Traces(synapses(net), TraceRule(LEAK, dynamic=True))
    for t in range(STEPS):
        _, state = net(x[t : t + 1], state, carrying(range(t, t + 1), observers=[traces]))
        spike, lif_state = net[0](x[t : t + 1], lif_state, carrying(range(t, t + 1), observers=[traces]))
        moved = x[t] - (1 - LEAK) * lif_state["potential"]
        a = (LEAK if before is None else decay(moved, before, LEAK)) * a + spike[0]
        before = moved
        torch.testing.assert_close(state["fc"]["trace"], a, atol=1e-12, rtol=0)
        torch.testing.assert_close(state["fc"]["drift"], moved, atol=1e-12, rtol=0)


def test_with_the_leak_as_its_ratio_it_is_ottt(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = stack(6, 12, 8), frames()
    found, expected = learn(NDOT(leak=LEAK), net, x), learn(OTTT(leak=LEAK), net, x)
    # The first synapse follows no neuron; the second one does.
    torch.testing.assert_close(found["body.fc0.weight"], expected["body.fc0.weight"], atol=1e-12, rtol=0)
    assert (found["body.fc1.weight"] - expected["body.fc1.weight"]).abs().max() > 1e-4
    monkeypatch.setattr("hdlif.learning.traced_pass.decay", lambda now, before, leak: leak)
    assert_close(learn(NDOT(leak=LEAK), net, x), expected)


class Between(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 1


@every(before=[{"act": ParallelHDLIF(STEPS)}, {"act": LIF(STEPS, threshold=0.5), "pool": Between()}])
def test_without_a_potential_directly_before_there_is_no_ratio(before: dict[str, Temporal]) -> None:
    net = Sequential({**before, "fc": QuantLinear(4, 3)}).double()
    traces = Traces(synapses(net), TraceRule(LEAK, dynamic=True))
    _, state = net(torch.randn(1, 2, 4, dtype=torch.float64), None, carrying(range(1), observers=[traces]))
    assert set(state["fc"]) == {"trace"}


def test_a_neuron_that_keeps_no_potential_is_refused_by_its_name() -> None:
    net = Sequential({"act0": own_neurons.Keeping(STEPS), "fc": nn.Linear(6, 4), "act1": HDLIF(STEPS)}).double()
    message = r"fc follows the neuron 'act0'.*keeps 'total' and no 'potential'; give the state .*\(ottt\)"
    with pytest.raises(TrainingError, match=message):
        learn(NDOT(), net, frames())
    learn(OTTT(), net, frames())


def test_steps_and_states_that_no_trace_can_follow_are_refused() -> None:
    net, x = Sequential({"act": LIF(STEPS, threshold=0.5), "fc": QuantLinear(6, 2)}).double(), frames()
    kept, shapes = {"potential": x[0]}, r"trace has shape \[2, 6\], but the input of this step \[4, 6\]"
    refused: list[tuple[bool, int, State | None, type[Exception], str]] = [
        (False, STEPS, {"act": kept, "fc": kept}, StateError, "it must be one tensor, 'trace'"),
        (False, STEPS, {"act": kept, "fc": {"trace": x[0, :2]}}, ShapeError, shapes),
        (True, STEPS, None, StateError, "dynamic traces are run one time step at a time"),
        (True, 1, {"act": kept, "fc": {"trace": x[0]}}, StateError, "it must be two tensors, 'trace' and 'drift'"),
    ]
    for is_dynamic, steps, state, kind, words in refused:
        traces = Traces(synapses(net), TraceRule(LEAK, dynamic=is_dynamic))
        with naming(words), pytest.raises(kind, match=words):
            net(x[:steps], state, carrying(range(steps), observers=[traces]))
