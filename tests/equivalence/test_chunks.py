"""The law of time: a chunk of K steps equals K chunks of one, and an input constant in time equals the repeated one.

Outputs, gradients of inputs and parameters, final state and buffers agree, in train and in eval mode. The
tolerance of 1e-10 is float64 rounding; networks end in float32 logits, whose gradient is exact here because the
loss is linear in them.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

import own_neurons
from cases import every, sampled
from hdlif.functional import DetachedReset, HardReset
from hdlif.models import (
    AttentionBlockI,
    AttentionBlockII,
    BlockFactory,
    Network,
    Place,
    PreActBlock,
    reversible_resnet,
    vgg_snn,
)
from hdlif.nn import (
    GLIF,
    HDLIF,
    LIF,
    SECA,
    AdaptiveHDLIF,
    BatchNorm2d,
    Binary,
    DelayLine,
    GradedLIF,
    LateResetLIF,
    LeakyIntegrator,
    MemBN,
    ParallelHDLIF,
    QuantConv2d,
    Recurrent,
    ResonateHDLIF,
    SecondOrderHDLIF,
    Sequential,
    SlidingParallelHDLIF,
    SpikeQuantizer,
    Temporal,
    Ternary,
    UnitLIF,
)
from own_neurons import Parallel, Resonate, SecondOrder
from small_networks import alternate, assert_close, gradients, scatter_norms, tensors_of, tiny_resnet

# Steps from the fifth on hold the values of the fourth.
TRAINED = 4
BATCH, CHANNELS, SIDE = 3, 4, 4


def scattered_steps(neuron: Temporal) -> Temporal:
    """Leak and threshold that differ by step."""
    for name, parameter in neuron.named_parameters():
        if name.endswith("logit"):
            nn.init.normal_(parameter, std=0.7)
    return neuron


def hd_lif(place: Place | None = None, *, quantised: bool = False) -> Temporal:
    return scattered_steps(HDLIF(TRAINED, quantizer=SpikeQuantizer() if quantised else None))


def scattered_glif(neuron: GLIF) -> GLIF:
    for logit in neuron.parameters():
        nn.init.normal_(logit, std=0.7)
    return neuron


def mem_bn(mix: str = "raw") -> MemBN:
    norm = MemBN(TRAINED, CHANNELS, mix=mix)
    for parameter in (norm.mem_scale, norm.bn_scale, norm.bias, norm.weight):
        nn.init.normal_(parameter, mean=0.5, std=0.3)
    nn.init.normal_(norm.running_mean, std=0.3)
    return norm


def scattered_attention(channels: int) -> SECA:
    """A kernel per step, each other than the next."""
    attention = SECA(channels, time_steps=TRAINED)
    for parameter in attention.parameters():
        nn.init.normal_(parameter)
    return attention


def parallel(place: Place | None = None, *, quantised: bool = False) -> Temporal:
    return scattered_steps(ParallelHDLIF(TRAINED, quantizer=SpikeQuantizer() if quantised else None))


def lif(place: Place | None = None) -> Temporal:
    return LIF(TRAINED)


def block(*, stride: int, out_channels: int, make: BlockFactory = PreActBlock) -> Temporal:
    places = (Place("act1", 0, 0, 0, 0, CHANNELS), Place("act2", 0, 0, 1, 1, out_channels))
    conv = partial(QuantConv2d, quantizer=Ternary())
    return make(CHANNELS, out_channels, stride=stride, neuron=hd_lif, conv=conv, places=places)


def tiny_vgg(neuron: Callable[[Place], Temporal], quantizer: Binary | Ternary | None = None) -> Network:
    return vgg_snn(
        neuron=neuron,
        classes=3,
        in_channels=CHANNELS,
        plan=(4, "P", 6),
        final_size=2,
        conv=partial(QuantConv2d, quantizer=quantizer),
    )


def resnet_of(neuron: Callable[[Place], Temporal], quantizer: Binary | Ternary | None = None) -> Network:
    return tiny_resnet(neuron, quantizer=quantizer, in_channels=CHANNELS)


def reversible_of(neuron: Callable[[Place], Temporal], quantizer: Binary | Ternary | None = None) -> Network:
    return reversible_resnet(
        neuron=neuron,
        blocks=(1, 2),
        width=4,
        classes=3,
        in_channels=CHANNELS,
        conv=partial(QuantConv2d, quantizer=quantizer),
    )


MODULES: dict[str, Callable[[], Temporal]] = {
    "lif_soft": lif,
    "lif_hard": lambda: LIF(TRAINED, leak=0.25, reset=HardReset(-0.5)),
    "lif_detached": lambda: LIF(TRAINED, reset=DetachedReset()),
    "lif_learned": lambda: scattered_steps(LIF(TRAINED, learned=True)),
    "hdlif": hd_lif,
    "hdlif_fixed": lambda: HDLIF(TRAINED, leak=0.75, learned=False),
    "hdlif_quantised": lambda: hd_lif(quantised=True),
    "parallel": parallel,
    "parallel_quantised": lambda: parallel(quantised=True),
    "norm": lambda: BatchNorm2d(CHANNELS),
    "norm_per_step": lambda: BatchNorm2d(CHANNELS, time_steps=TRAINED),
    "hdlif_steps": lambda: scattered_steps(HDLIF(TRAINED, path="steps", quantizer=SpikeQuantizer(learned=True))),
    "lif_steps": lambda: scattered_steps(LIF(TRAINED, learned=True, path="steps")),
    "adaptive_that_ships": lambda: scattered_steps(AdaptiveHDLIF(TRAINED, channels=CHANNELS)),
    "adaptive_steps": lambda: scattered_steps(AdaptiveHDLIF(TRAINED, channels=CHANNELS, path="steps")),
    "parallel_steps": lambda: scattered_steps(ParallelHDLIF(TRAINED, path="steps")),
    "hdlif_per_channel": lambda: scattered_steps(HDLIF(TRAINED, channels=CHANNELS)),
    "hdlif_shared": lambda: scattered_steps(HDLIF(TRAINED, per_step=False)),
    "hdlif_learned_step_quantised": lambda: scattered_steps(
        HDLIF(TRAINED, quantizer=SpikeQuantizer(learned=True, gradient="clip"))
    ),
    "mem_bn": lambda: scattered_steps(HDLIF(TRAINED, norm=mem_bn())),
    "mem_bn_sigmoid": lambda: scattered_steps(HDLIF(TRAINED, norm=mem_bn(mix="sigmoid"))),
    "glif": lambda: GLIF(TRAINED),
    "glif_per_channel_and_step": lambda: scattered_glif(GLIF(TRAINED, channels=CHANNELS, per_step=True)),
    "graded_lif": lambda: scattered_steps(GradedLIF(TRAINED)),
    "adaptive": lambda: scattered_steps(own_neurons.AdaptiveHDLIF(TRAINED)),
    "adaptive_per_channel_quantised": lambda: scattered_steps(
        own_neurons.AdaptiveHDLIF(TRAINED, channels=CHANNELS, quantizer=SpikeQuantizer())
    ),
    "second_order": lambda: scattered_steps(SecondOrder(TRAINED)),
    "resonate": lambda: scattered_steps(Resonate(TRAINED)),
    "own_parallel": lambda: scattered_steps(Parallel(TRAINED)),
    "recurrent": lambda: Recurrent(hd_lif(), QuantConv2d(CHANNELS, CHANNELS, 3, padding=1)),
    "delay_line": lambda: Sequential(DelayLine(3, 2), nn.Conv2d(3 * CHANNELS, CHANNELS, 1), hd_lif()),
    "adaptive_hdlif": lambda: scattered_steps(AdaptiveHDLIF(TRAINED)),
    "second_order_hdlif": lambda: scattered_steps(SecondOrderHDLIF(TRAINED, channels=CHANNELS)),
    "resonate_hdlif": lambda: scattered_steps(ResonateHDLIF(TRAINED, quantizer=SpikeQuantizer())),
    "sliding_parallel_hdlif": lambda: scattered_steps(SlidingParallelHDLIF(TRAINED, taps=[1, 0, -1])),
    "parallel_per_channel": lambda: scattered_steps(ParallelHDLIF(TRAINED, channels=CHANNELS)),
    "norm_cumulative": lambda: BatchNorm2d(CHANNELS, momentum=None),
    "sequential": lambda: Sequential(
        QuantConv2d(CHANNELS, 6, 3, quantizer=Binary()), BatchNorm2d(6), hd_lif(), nn.AvgPool2d(2)
    ),
    "block": lambda: block(stride=1, out_channels=CHANNELS),
    "block_strided": lambda: block(stride=2, out_channels=6),
    "resnet_lif": lambda: resnet_of(lif),
    "resnet_hdlif": lambda: resnet_of(hd_lif),
    "resnet_ternary_quantised_alternate": lambda: resnet_of(
        alternate(partial(hd_lif, quantised=True), partial(parallel, quantised=True)), Ternary()
    ),
    "resnet_binary_parallel": lambda: resnet_of(parallel, Binary()),
    "vgg_hdlif": lambda: tiny_vgg(hd_lif, Ternary()),
    "vgg_lif": lambda: tiny_vgg(lif),
    "block_seca_i": lambda: block(
        stride=1, out_channels=CHANNELS, make=partial(AttentionBlockI, attention=scattered_attention)
    ),
    "block_seca_ii": lambda: block(
        stride=1, out_channels=CHANNELS, make=partial(AttentionBlockII, attention=scattered_attention)
    ),
    "block_seca_ii_strided": lambda: block(stride=2, out_channels=6, make=partial(AttentionBlockII, attention=SECA)),
    "reversible_hdlif": lambda: reversible_of(hd_lif, Ternary()),
    "reversible_lif": lambda: reversible_of(lif),
    "vgg_seca": lambda: vgg_snn(
        neuron=hd_lif, classes=3, in_channels=CHANNELS, plan=(4, "P", 6), final_size=2, attention=SECA
    ),
    "unit_lif": lambda: scattered_steps(UnitLIF(TRAINED)),
    "late_reset_lif": lambda: scattered_steps(LateResetLIF(TRAINED)),
    "integrator": lambda: scattered_steps(LeakyIntegrator(TRAINED)),
    "seca": lambda: SECA(CHANNELS),
    "seca_per_step": lambda: scattered_attention(CHANNELS),
}


@dataclass
class Run:
    outputs: Tensor
    state: dict[str, Tensor]
    gradients: dict[str, Tensor]
    buffers: dict[str, Tensor]


def build(name: str, mode: str, seed: int) -> Temporal:
    torch.manual_seed(seed)
    module = MODULES[name]().double()
    scatter_norms(module)
    return module.train(mode == "train")


def currents(name: str, steps: int, seed: int) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    shape = (steps, BATCH, CHANNELS, SIDE, SIDE)
    if name.startswith("lif") or name.endswith("quantised"):
        # multiples of 1/16, so that no spike depends on rounding
        return torch.randint(-16, 33, shape, generator=g).double() / 16
    return torch.randn(shape, generator=g, dtype=torch.float64) + 0.3


def through(module: Temporal, x: Tensor, chunks: list[int]) -> Run:
    """Run a copy of `module` on x in chunks; back-propagate a fixed weighting of all outputs and of the final state.

    Where x has one step, every chunk gets it as an input constant in time.
    """
    module, x = copy.deepcopy(module), x.clone().requires_grad_()
    state, start, outputs = None, 0, []
    for length in chunks:
        steps = range(start, start + length)
        y, state = module(x if len(x) == 1 else x[start : start + length], state, steps)
        outputs.append(y.expand(length, *y.shape[1:]))
        start += length
    y = torch.cat(outputs)
    leaves = dict(tensors_of(state))
    g = torch.Generator().manual_seed(99)
    loss = sum((v * torch.randn(v.shape, generator=g, dtype=v.dtype)).sum() for v in (y, *leaves.values()))
    loss.backward()
    assert x.grad is not None
    return Run(
        y.detach(),
        {name: v.detach() for name, v in leaves.items()},
        gradients(module) | {"input": x.grad},
        dict(module.named_buffers()),
    )


def assert_same(actual: Run, expected: Run) -> None:
    atol = 1e-10 if expected.outputs.dtype == torch.float64 else 1e-6
    torch.testing.assert_close(actual.outputs, expected.outputs, atol=atol, rtol=0)
    assert_close(actual.state, expected.state)
    assert_close(actual.gradients, expected.gradients)
    assert_close(actual.buffers, expected.buffers)


@sampled(
    len(MODULES),
    name=list(MODULES),
    mode=["train", "eval"],
    chunks=[[4, 1], [1, 3, 2]],
)
def test_a_chunk_of_steps_equals_chunks_of_one(name: str, mode: str, chunks: list[int]) -> None:
    steps = sum(chunks)
    module, x = build(name, mode, steps), currents(name, steps, steps)
    assert_same(through(module, x, chunks), through(module, x, [1] * steps))


@sampled(len(MODULES), name=list(MODULES), mode=["train", "eval"], chunks=[[3], [1, 4]])
def test_an_input_constant_in_time_equals_the_repeated_one(name: str, mode: str, chunks: list[int]) -> None:
    steps = sum(chunks)
    module, x = build(name, mode, steps), currents(name, 1, steps)
    constant, repeated = through(module, x, chunks), through(module, x.expand(steps, *x.shape[1:]), [1] * steps)
    repeated.gradients["input"] = repeated.gradients["input"].sum(0, keepdim=True)
    assert_same(constant, repeated)


@every(name=["hdlif", "lif_soft", "resnet_hdlif"])
def test_the_state_matters(name: str) -> None:
    """Without its state a chunk goes differently: the law above is not kept by having no memory."""
    module, x = build(name, "eval", 0), currents(name, 2, 0)
    whole = module(x, None, range(2))[0]
    assert not torch.allclose(whole[1:], module(x[1:], None, range(1, 2))[0], atol=1e-3)
