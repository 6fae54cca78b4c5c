"""The law of time: a chunk of K steps equals K chunks of one, and an input constant in time equals the repeated one.

Outputs, gradients of inputs and parameters, final state and buffers agree, in train and in eval mode. The
tolerance of 1e-10 is float64 rounding; networks end in float32 logits, whose gradient is exact here because the
loss is linear in them.
"""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import own_neurons
from cases import every, sampled
from chunks import CASES
from hdlif.models import (
    AttentionBlockI,
    AttentionBlockII,
    BlockFactory,
    Network,
    Place,
    detector,
    qk_former,
    reversible_resnet,
    unet,
    vgg_snn,
)
from hdlif.nn import (
    GLIF,
    HDLIF,
    LIF,
    SECA,
    BatchNorm2d,
    Binary,
    DelayLine,
    LateResetLIF,
    LeakyIntegrator,
    MemBN,
    ParallelHDLIF,
    QuantConv2d,
    Recurrent,
    Sequential,
    SpikeQuantizer,
    Temporal,
    Ternary,
    UnitLIF,
    WeightQuantizer,
)
from small_networks import alternate, assert_close, gradients, scatter_norms, tensors_of, tiny_resnet

# Steps from the fifth on hold the values of the fourth.
TRAINED = 4
BATCH, CHANNELS, SIDE = 3, 4, 4


def scattered_steps(neuron: Temporal) -> Temporal:
    """Values that differ by step."""
    for name, parameter in neuron.named_parameters():
        if name.endswith("logit") or isinstance(neuron, GLIF):
            nn.init.normal_(parameter, std=0.7)
    return neuron


def hd_lif(place: Place | None = None, **options: Any) -> Temporal:
    return scattered_steps(HDLIF(TRAINED, **options))


def codes(place: Place | None = None) -> Temporal:
    return hd_lif(quantizer=SpikeQuantizer())


def mem_bn(mix: str) -> Temporal:
    norm = MemBN(TRAINED, CHANNELS, mix=mix)
    for parameter in (norm.mem_scale, norm.bn_scale, norm.bias, norm.weight):
        nn.init.normal_(parameter, mean=0.5, std=0.3)
    nn.init.normal_(norm.running_mean, std=0.3)
    return hd_lif(norm=norm)


def scattered_attention(channels: int) -> SECA:
    """A kernel per step, each other than the next."""
    attention = SECA(channels, time_steps=TRAINED)
    for parameter in attention.parameters():
        nn.init.normal_(parameter)
    return attention


def block(make: BlockFactory, *, stride: int = 1, out_channels: int = CHANNELS) -> Temporal:
    places = (Place("act1", 0, 0, 0, 0, CHANNELS), Place("act2", 0, 0, 1, 1, out_channels))
    conv = partial(QuantConv2d, quantizer=Ternary())
    return make(CHANNELS, out_channels, stride=stride, neuron=hd_lif, conv=conv, places=places)


def network(make: Callable[..., Network], quantizer: WeightQuantizer | None = None, **options: Any) -> Network:
    conv = partial(QuantConv2d, quantizer=quantizer)
    return make(neuron=hd_lif, classes=3, in_channels=CHANNELS, conv=conv, **options)


resnet_of = partial(tiny_resnet, in_channels=CHANNELS)
ATTENTION = partial(AttentionBlockII, attention=SECA)
PLAN = {"plan": (4, "P", 6), "final_size": 2}

MODULES: dict[str, Callable[[], Temporal]] = {
    **{
        f"{name}, {option}": lambda make=make, options=options: scattered_steps(make(time_steps=TRAINED, **options))
        for name, make in CASES.items()
        for option, options in {"as it is": {}, "by channel": {"channels": CHANNELS}}.items()
    },
    "lif, steps": lambda: scattered_steps(LIF(TRAINED, learned=True, path="steps")),
    "hdlif, steps": lambda: hd_lif(path="steps", quantizer=SpikeQuantizer(learned=True)),
    "hdlif, codes": codes,
    "hdlif, learned codes": lambda: hd_lif(quantizer=SpikeQuantizer(learned=True, gradient="clip")),
    "hdlif, Mem-BN": lambda: mem_bn("raw"),
    "hdlif, Mem-BN of gates": lambda: mem_bn("sigmoid"),
    "unit lif": lambda: scattered_steps(UnitLIF(TRAINED)),
    "late reset": lambda: scattered_steps(LateResetLIF(TRAINED)),
    "integrator": lambda: scattered_steps(LeakyIntegrator(TRAINED)),
    "own, without a state": lambda: scattered_steps(own_neurons.Parallel(TRAINED)),
    "recurrent": lambda: Recurrent(hd_lif(), QuantConv2d(CHANNELS, CHANNELS, 3, padding=1)),
    "delay line": lambda: Sequential(DelayLine(3, 2), nn.Conv2d(3 * CHANNELS, CHANNELS, 1), hd_lif()),
    "norm": lambda: BatchNorm2d(CHANNELS),
    "norm per step": lambda: BatchNorm2d(CHANNELS, time_steps=TRAINED),
    "norm of all": lambda: BatchNorm2d(CHANNELS, momentum=None),
    "seca": lambda: SECA(CHANNELS),
    "seca per step": lambda: scattered_attention(CHANNELS),
    "sequential": lambda: Sequential(
        QuantConv2d(CHANNELS, 6, 3, quantizer=Binary()), BatchNorm2d(6), hd_lif(), nn.AvgPool2d(2)
    ),
    "block, seca I": lambda: block(partial(AttentionBlockI, attention=scattered_attention)),
    "block, seca II": lambda: block(partial(AttentionBlockII, attention=scattered_attention)),
    "block, seca II, strided": lambda: block(ATTENTION, stride=2, out_channels=6),
    "resnet": lambda: resnet_of(hd_lif),
    "resnet, codes": lambda: resnet_of(
        alternate(codes, lambda place: scattered_steps(ParallelHDLIF(TRAINED, quantizer=SpikeQuantizer()))),
        quantizer=Ternary(),
    ),
    "resnet, binary": lambda: resnet_of(lambda place: ParallelHDLIF(TRAINED), quantizer=Binary()),
    "vgg": lambda: network(vgg_snn, Ternary(), **PLAN),
    "vgg, seca": lambda: network(vgg_snn, attention=SECA, **PLAN),
    "unet": lambda: network(unet, Ternary(), width=2, depth=1),
    "detector": lambda: network(detector, Ternary(), width=2, blocks=(1,), strides=(4,), head_width=2),
    "qk former": lambda: network(qk_former, Ternary(), blocks=(1, 1), strides=(1, 2), width=4, heads=2),
    "reversible": lambda: network(reversible_resnet, Ternary(), blocks=(1, 2), width=4),
}


def build(name: str, mode: str, seed: int) -> Temporal:
    torch.manual_seed(seed)
    module = MODULES[name]().double()
    scatter_norms(module)
    return module.train(mode == "train")


def currents(name: str, steps: int, seed: int) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    shape = (steps, BATCH, CHANNELS, SIDE, SIDE)
    if "lif," in name or name.endswith("codes"):
        # multiples of 1/16, so that no spike depends on rounding
        return torch.randint(-16, 33, shape, generator=g).double() / 16
    return torch.randn(shape, generator=g, dtype=torch.float64) + 0.3


def through(module: Temporal, x: Tensor, chunks: list[int]) -> dict[str, Tensor]:
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
    found = {f"state {name}": v.detach() for name, v in leaves.items()}
    found |= {f"gradient of {name}": gradient for name, gradient in gradients(module).items()}
    return found | {"gradient of the input": x.grad, "outputs": y.detach()} | dict(module.named_buffers())


def assert_same(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    y = expected["outputs"]
    torch.testing.assert_close(actual["outputs"], y, atol=1e-10 if y.dtype == torch.float64 else 1e-6, rtol=0)
    assert_close(actual | {"outputs": y}, expected)


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
    of_input = repeated["gradient of the input"].sum(0, keepdim=True)
    assert_same(constant, repeated | {"gradient of the input": of_input})


@every(name=["hdlif, as it is", "lif, as it is", "resnet"])
def test_the_state_matters(name: str) -> None:
    """Without its state a chunk goes differently: the law above is not kept by having no memory."""
    module, x = build(name, "eval", 0), currents(name, 2, 0)
    whole = module(x, None, range(2))[0]
    assert not torch.allclose(whole[1:], module(x[1:], None, range(1, 2))[0], atol=1e-3)
