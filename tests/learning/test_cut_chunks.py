"""SLTT in chunks of several steps, against SLTT step by step: the same gradient, buffers and outputs."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import own_neurons
from cases import every, sampled
from chunks import CASES
from hdlif.errors import TrainingError
from hdlif.learning import OTTT, SLTT, Rule
from hdlif.models import Place, conv1d, recurrent
from hdlif.nn import HDLIF, MemBN, QuantConv2d, SpikeQuantizer, State, Temporal, Ternary
from hdlif.training.tasks import Classify, LabelSequence, Task
from small_networks import assert_close, gradients, scatter_norms, tiny_resnet

T, B, C, CLASSES = 7, 3, 2, 3

NEURONS: dict[str, Callable[..., Temporal]] = {
    **{name: lambda place, make=make: make(time_steps=T) for name, make in CASES.items()},
    "shared": lambda place: HDLIF(T, channels=place.channels, per_step=False),
    "quantised": lambda place: HDLIF(T, quantizer=SpikeQuantizer(learned=True)),
    "steps": lambda place: HDLIF(T, path="steps"),
    "fused": lambda place: HDLIF(T, path="fused"),
    "own, without a state": lambda place: own_neurons.Parallel(T),
}


def scattered(network: Temporal) -> Temporal:
    torch.manual_seed(1)
    for name, parameter in network.named_parameters():
        if name.endswith("logit"):
            nn.init.normal_(parameter, std=0.7)
    return scatter_norms(network.double())


def series(neuron: Callable[..., Temporal], **options: Any) -> Temporal:
    torch.manual_seed(0)
    sizes: Any = {"classes": CLASSES, "in_channels": C, "widths": (6, 5), "kernel": 3, "dilations": (1, 2)}
    return scattered(conv1d(neuron=neuron, conv=partial(QuantConv2d, quantizer=Ternary()), **sizes, **options))


def led_back(name: str) -> Temporal:
    torch.manual_seed(0)
    return scattered(recurrent(neuron=NEURONS[name], classes=CLASSES, in_channels=C, widths=(6, 5)))


def sample(*shape: int) -> Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def trained(rule: Rule, network: Temporal, x: Tensor, target: Tensor) -> dict[str, Tensor]:
    """What an update leaves: its outputs, gradients and buffers."""
    network = copy.deepcopy(network).train()
    plan = rule.schedule(T, torch.Generator())
    outputs = []
    for step, update in zip(rule(network, x, target, plan), plan.updates, strict=True):
        step.loss.backward()
        outputs.append(step.logits)
        assert step.update == update
    # Counts as floats beside the others.
    buffers = {name: buffer.double() for name, buffer in network.named_buffers()}
    return {"outputs": torch.cat(outputs), **gradients(network), **buffers}


def classes(*shape: int) -> Tensor:
    return torch.randint(CLASSES, shape, generator=torch.Generator().manual_seed(3))


@sampled(len(NEURONS), neuron=NEURONS, chunk=[3, 2 * T])
def test_a_chunk_of_steps_learns_as_the_steps_one_by_one(neuron: Callable[..., Temporal], chunk: int) -> None:
    network, x, target = series(neuron), sample(T, B, C, 1, 1), classes(B)
    found = trained(SLTT(chunk=chunk), network, x, target)
    assert_close(found, trained(SLTT(), network, x, target))
    assert sum(bool(value.any()) for value in found.values()) > len(found) / 2


@every(neuron=["hdlif", "learned lif", "parallel_hdlif", "quantised"], chunk=[2, 3, 2 * T])
def test_so_do_synapses_with_traces(neuron: str, chunk: int) -> None:
    network, x, target = series(NEURONS[neuron]), sample(T, B, C, 1, 1), classes(B)
    found = trained(OTTT(leak=0.8, chunk=chunk), network, x, target)
    assert_close(found, trained(OTTT(leak=0.8), network, x, target))
    if neuron != "parallel_hdlif":
        cut = trained(SLTT(), network, x, target)
        assert any(not torch.allclose(found[name], cut[name]) for name in found)


@every(
    "make",
    "shape",
    of=[
        (lambda: tiny_resnet(lambda place: HDLIF(T)), (1, B, 2, 6, 6)),
        (lambda: tiny_resnet(lambda place: HDLIF(T)), (T, B, 2, 6, 6)),
        (lambda: series(NEURONS["hdlif"], companded=(1,), changes=True), (T, B, C, 1, 1)),
        *((partial(led_back, name), (T, B, C, 1, 1)) for name in ("hdlif", "learned lif", "adaptive_hdlif")),
    ],
)
def test_maps_inputs_constant_in_time_and_recurrent_layers_too(
    make: Callable[[], Temporal], shape: tuple[int, ...]
) -> None:
    network, x, target = make(), sample(*shape), classes(B)
    assert_close(trained(SLTT(chunk=3), network, x, target), trained(SLTT(), network, x, target))


NAMES = ("a", "b", "c")


@every(
    "task",
    "target",
    of=[
        (LabelSequence(NAMES, T, delay=2), classes(B, T)),
        *((Classify(NAMES, T, learn_from=steps), classes(B)) for steps in ("late", "last")),
    ],
)
def test_losses_are_those_of_the_task(task: Task, target: Tensor) -> None:
    network, x = series(NEURONS["hdlif"]), sample(T, B, C, 1, 1)
    one, several = (SLTT(criterion=task.criterion(), chunk=chunk) for chunk in (1, 3))
    assert_close(trained(several, network, x, target), trained(one, network, x, target))


class Own(Temporal):
    """A neuron layer with a scan of its own, which knows of no cut."""

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State]:
        level: Any = torch.zeros_like(x[0]) if state is None else state["level"]
        levels = []
        for current in x.expand(len(steps), *x.shape[1:]):
            level = level / 2 + current
            levels.append(level)
        return torch.stack(levels), {"level": level}


class Knowing(Own):
    def cuts(self) -> bool:
        return True


class Overriding(HDLIF):
    """One that scans by itself may know of no cut, whatever it is derived from."""

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State | None]:
        return super().forward(x, state, steps)


Overriding.forward.__module__ = "elsewhere"


@every(
    "make",
    "seen",
    of=[
        (lambda place: Own(), "act1 \\(Own\\) keeps 'level'"),
        (lambda place: Overriding(T), "act1 \\(Overriding\\) keeps 'potential'"),
        (lambda place: HDLIF(T, norm=MemBN(T, place.channels)), "act1 \\(HDLIF\\) keeps 'potential'"),
    ],
)
def test_what_does_not_say_that_it_cuts_is_refused(make: Callable[[Place], Temporal], seen: str) -> None:
    network, x, target = series(make), sample(T, B, C, 1, 1), classes(B)
    with pytest.raises(TrainingError, match=seen + ".* set chunk to 1"):
        trained(SLTT(chunk=2), network, x, target)
    trained(SLTT(chunk=1), network, x, target)
    with pytest.raises(TrainingError, match=r"the network \(Own\) keeps 'level'"):
        trained(SLTT(chunk=2), Own(), sample(T, B, CLASSES), target)
    # What says so is taken at its word.
    trained(SLTT(chunk=2), series(lambda place: Knowing()), x, target)
