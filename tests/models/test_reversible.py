"""Reversible networks against the same network that keeps its graph, and the memory they save."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from cases import every, sampled
from hdlif.learning import NDOT, OTTT, SLTT, STBP, Rule, StochasticStep
from hdlif.models import (
    Network,
    NeuronFactory,
    Place,
    PreActBlock,
    ReversibleBlock,
    ReversibleSequential,
    reversible_resnet,
)
from hdlif.models.reversible import GRID, Grid
from hdlif.nn import (
    GLIF,
    HDLIF,
    LIF,
    BatchNorm2d,
    HeldWeights,
    Measure,
    MemBN,
    Neuron,
    ParallelHDLIF,
    QuantConv2d,
    Sequential,
    SpikeQuantizer,
    State,
    Ternary,
    WeightQuantizer,
    carrying,
)
from hdlif.report.accounting import saved_bytes
from small_networks import alternate, assert_close, gradients, scatter_norms, tensors_of

STEPS, BATCH, WIDTH, SIDE = 4, 3, 6, 5

NEURONS: dict[str, NeuronFactory] = {
    "hdlif": lambda place: HDLIF(STEPS),
    "hdlif_steps": lambda place: HDLIF(STEPS, path="steps"),
    "hdlif_mem_bn": lambda place: HDLIF(STEPS, norm=MemBN(STEPS, place.channels)),
    "hdlif_quantised": lambda place: HDLIF(STEPS, quantizer=SpikeQuantizer()),
    "lif": lambda place: LIF(STEPS, learned=True),
    "glif": lambda place: GLIF(STEPS),
    "alternate": alternate(lambda place: HDLIF(STEPS), lambda place: ParallelHDLIF(STEPS)),
}


def chain_of(
    depth: int, neuron: NeuronFactory, quantizer: WeightQuantizer | None = None, *, grid: float | None = GRID
) -> ReversibleSequential:
    torch.manual_seed(0)
    blocks = []
    for block in range(depth):
        places = (
            Place(f"{block}.f.act", 0, block, 0, 2 * block, WIDTH // 2),
            Place(f"{block}.g.act", 0, block, 1, 2 * block + 1, WIDTH // 2),
        )
        conv = partial(QuantConv2d, quantizer=quantizer)
        blocks.append(ReversibleBlock(WIDTH, neuron=neuron, places=places, conv=conv, grid=grid))
    chain = ReversibleSequential(*blocks).double()
    for name, parameter in chain.named_parameters():
        if "logit" in name:
            nn.init.normal_(parameter, std=0.5)
    scatter_norms(chain)
    return chain


def currents(steps: int = STEPS, seed: int = 1) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(steps, BATCH, WIDTH, SIDE, SIDE, generator=g, dtype=torch.float64) + 0.2


Forward = Callable[[Sequential, Tensor, State | None, range], tuple[Tensor, State | None]]
FORWARDS: list[Forward] = [ReversibleSequential.forward, Sequential.forward]
Run = Callable[[Tensor, State | None, range], tuple[Tensor, State | None]]


def in_chunks(chain: ReversibleSequential, run: Run, x: Tensor) -> dict[str, Tensor]:
    first, state = run(x[:1], None, range(1))
    rest, state = run(x[1:], state, range(1, STEPS))
    return {"output": torch.cat([first, rest])} | dict(tensors_of(state))


def mode_changed_before_backward(chain: ReversibleSequential, run: Run, x: Tensor) -> dict[str, Tensor]:
    y, _ = run(x, None, range(STEPS))
    chain.train(not chain.training)
    return {"output": y}


def state_alone(chain: ReversibleSequential, run: Run, x: Tensor) -> dict[str, Tensor]:
    return dict(tensors_of(run(x, None, range(STEPS))[1]))


def held_weights(chain: ReversibleSequential, run: Run, x: Tensor) -> dict[str, Tensor]:
    """The first backward pass leaves its gradients with the held weights, the last one hands all on."""
    held = HeldWeights(chain)
    run(x, None, carrying(range(STEPS), weights=held.weights))[0].square().sum().backward()
    held.last()
    return {"output": run(2 * x, None, carrying(range(STEPS), weights=held.weights))[0]}


def measures(chain: ReversibleSequential, run: Run, x: Tensor) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}
    of_neurons = {
        module: Measure(of=lambda x, y: y.square().mean(), give=partial(seen.__setitem__, name))
        for name, module in chain.named_modules()
        if isinstance(module, Neuron)
    }
    steps = carrying(range(STEPS), measures=of_neurons)
    with torch.no_grad():
        run(x, None, steps)
    assert seen == {}
    run(x, None, steps)
    assert len({value.item() for value in seen.values()}) == len(seen) == 6
    return seen


@sampled(
    len(NEURONS),
    neuron=NEURONS,
    scenario=[in_chunks, mode_changed_before_backward, state_alone, held_weights, measures],
    mode=["train", "eval"],
)
def test_values_gradients_and_buffers_are_those_of_the_network_that_keeps_its_graph(
    neuron: NeuronFactory, scenario: Callable[..., dict[str, Tensor]], mode: str
) -> None:
    results = []
    for forward in FORWARDS:
        chain, x = chain_of(3, neuron, Ternary()).train(mode == "train"), currents().requires_grad_()
        values = scenario(chain, partial(forward, chain), x)
        g = torch.Generator().manual_seed(2)
        sum((v * torch.randn(v.shape, generator=g, dtype=v.dtype)).sum() for v in values.values()).backward()
        assert x.grad is not None
        detached = {name: value.detach() for name, value in values.items()}
        results.append(detached | {"input gradient": x.grad} | gradients(chain) | dict(chain.named_buffers()))
    assert_close(*results)
    assert any((value != 0).any() for name, value in results[0].items() if name.endswith("f.conv.weight"))


@every(grid=[None, GRID, 0.25])
def test_block_is_its_formula_but_for_the_rounding_to_the_grid(grid: float | None) -> None:
    block, x = chain_of(1, NEURONS["hdlif"], grid=grid)[0], currents()

    def branch(module: Sequential, h: Tensor) -> Tensor:
        spikes = module.act(h, None, range(STEPS))[0]
        return module.bn(torch.stack([module.conv(step) for step in spikes]), None, range(STEPS))[0]

    def rounded(h: Tensor) -> Tensor:
        return h if grid is None else (h / grid).round() * grid

    x1, x2 = rounded(x).chunk(2, 2)
    y1 = x1 + rounded(branch(block.f, x2))
    y2 = x2 + rounded(branch(block.g, y1))
    torch.testing.assert_close(block(x, None, range(STEPS))[0], torch.cat([y1, y2], 2), atol=1e-12, rtol=0)


def there_and_back(chain: ReversibleSequential, x: Tensor) -> tuple[Tensor, Tensor]:
    """The input of a chain in chunks of 1 and of the rest, as its first block takes it and as its inverse gives it."""
    chunks = [range(1), range(1, STEPS)]
    with torch.no_grad():
        states: list[State | None] = [None]
        outputs = []
        for steps in chunks:
            y, state = chain(x[steps.start : steps.stop], states[-1], steps)
            outputs.append(y)
            states.append(state)
        for index in reversed(range(len(chain))):
            for k, steps in enumerate(chunks):
                before = (states[k] or {}).get(str(index))
                outputs[k] = chain[index].inverse(outputs[k], before, steps)
    return torch.cat(outputs), chain[0].grid(x)


@every("dtype", "neuron", of=[(torch.float64, NEURONS["lif"]), (torch.float32, NEURONS["hdlif"])])
def test_inputs_of_many_blocks_come_back_bit_for_bit_on_the_grid(dtype: torch.dtype, neuron: NeuronFactory) -> None:
    again, x = there_and_back(chain_of(12, neuron).to(dtype), currents().to(dtype))
    assert torch.equal(again, x)


def test_grid_keeps_gradients_exact_in_low_precision() -> None:
    x = torch.cat([currents(seed=seed) for seed in range(8)], 1).float()

    def error(grid: float | None) -> float:
        found = []
        for forward in FORWARDS:
            chain = chain_of(16, NEURONS["hdlif"], grid=grid).float()
            with torch.autocast("cpu", torch.bfloat16):
                y, _ = forward(chain, x, None, range(STEPS))
            y.square().sum().backward()
            found.append(torch.cat([gradient.flatten() for gradient in gradients(chain).values()]))
        return ((found[0] - found[1]).norm() / found[1].norm()).item()

    # the order of sums alone; without a grid, neurons that fire in one pass and not in the other
    assert error(GRID) < 1e-5
    assert error(None) > 1e-4


def test_rounding_passes_the_gradient_and_takes_the_nearest_multiple() -> None:
    x = torch.tensor([0.3, -0.3, 0.74, 1000.1], requires_grad=True)
    y = Grid(0.25)(x)
    assert y.tolist() == [0.25, -0.25, 0.75, 1000.0]
    y.backward(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 2.0, 3.0, 4.0]
    # float16 itself ends at 65504: a multiple of the step must not be counted in it
    assert Grid(GRID)(torch.tensor([300.0], dtype=torch.float16)).item() == 300.0


def test_saved_bytes_are_one_map_whatever_the_number_of_blocks() -> None:
    def kept(depth: int, kind: type[Sequential], *, measured: bool = False) -> int:
        chain, x = chain_of(depth, NEURONS["lif"]), currents()
        neurons = [module for module in chain.modules() if isinstance(module, Neuron) and measured]
        watched = dict.fromkeys(neurons, Measure(of=lambda x, y: y.mean(), give=lambda value: None))
        steps = carrying(range(STEPS), measures=watched)
        return saved_bytes(lambda: kind(*chain)(x, None, steps), model=chain)

    one_map = currents().nbytes
    assert [kept(depth, ReversibleSequential) for depth in (1, 2, 8)] == [one_map] * 3
    # A measure adds a number per neuron layer, and no map.
    assert kept(8, ReversibleSequential, measured=True) < one_map + 8 * 100
    plain = [kept(depth, Sequential) for depth in (1, 8)]
    assert plain[1] > 7 * plain[0] > 7 * one_map


def tiny(*, blocks: tuple[int, ...] = (1, 2), quantizer: object = None) -> Network:
    torch.manual_seed(0)
    conv = partial(QuantConv2d, quantizer=quantizer)
    network = reversible_resnet(
        neuron=NEURONS["hdlif"], blocks=blocks, width=4, classes=3, in_channels=2, conv=conv
    ).double()
    scatter_norms(network)
    return network


def images() -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(3)
    return torch.randn(STEPS, 4, 2, 6, 6, generator=g, dtype=torch.float64), torch.tensor([0, 1, 2, 1])


@sampled(
    7,
    rule=[STBP(), SLTT(), SLTT("each"), StochasticStep(2), OTTT(), OTTT("each"), NDOT()],
    quantizer=[None, Ternary()],
    constant=[False, True],
)
def test_every_rule_finds_the_gradients_of_the_network_that_keeps_its_graph(
    rule: Rule,
    quantizer: WeightQuantizer | None,
    constant: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, target = images()
    results = []
    for forward in FORWARDS:
        # The last one's patch ends with the test, and each case begins with the first one.
        monkeypatch.setattr(ReversibleSequential, "forward", forward)
        network = tiny(quantizer=quantizer)
        plan = rule.schedule(STEPS, torch.Generator().manual_seed(0))
        for step in rule(network, x[:1] if constant else x, target, plan):
            step.loss.backward()
        results.append(gradients(network) | dict(network.named_buffers()))
    assert_close(*results)
    assert all((results[0][name] != 0).any() for name in results[0] if name.endswith("conv.weight"))


def test_network_has_one_ordinary_block_a_later_stage() -> None:
    modules = tiny(blocks=(1, 3, 1)).named_modules()
    kinds = {name: type(m) for name, m in modules if isinstance(m, PreActBlock | ReversibleBlock)}
    assert kinds == {
        "body.stage1.blocks.0": ReversibleBlock,
        "body.stage2.down": PreActBlock,
        "body.stage2.blocks.0": ReversibleBlock,
        "body.stage2.blocks.1": ReversibleBlock,
        "body.stage3.down": PreActBlock,
    }


def shift_weights(chain: ReversibleSequential) -> None:
    with torch.no_grad():
        for parameter in chain.parameters():
            parameter.add_(1)


def move_statistics(chain: ReversibleSequential) -> None:
    chain.train()
    chain(currents(), None, range(STEPS))


# In evaluation mode, a network that keeps its graph reads no statistics that it must guard.
@every(
    "mode",
    "change",
    "forward",
    of=[
        ("train", shift_weights, ReversibleSequential.forward),
        ("train", shift_weights, Sequential.forward),
        ("eval", move_statistics, ReversibleSequential.forward),
    ],
)
def test_what_changed_before_the_backward_pass_is_an_error(
    mode: str, change: Callable[[ReversibleSequential], None], forward: Forward
) -> None:
    chain = chain_of(2, NEURONS["hdlif"], Ternary()).train(mode == "train")
    y, _ = forward(chain, currents(), None, range(STEPS))
    change(chain)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.square().sum().backward()


def test_what_is_not_reversible_is_refused() -> None:
    with pytest.raises(TypeError, match="BatchNorm2d has no inverse"):
        ReversibleSequential(BatchNorm2d(4))
    places = (Place("f", 0, 0, 0, 0, 2), Place("g", 0, 0, 1, 1, 2))
    with pytest.raises(ValueError, match="must be even"):
        ReversibleBlock(5, neuron=NEURONS["hdlif"], places=places)
    for step in (0.0, -0.5, 0.1, 3.0):
        with pytest.raises(ValueError, match="must be a power of two"):
            Grid(step)


def test_measures_that_the_backward_pass_does_not_take_again_are_an_error() -> None:
    chain = chain_of(2, NEURONS["hdlif"])
    measures = {chain[0].f.act: Measure(lambda x, y: y.mean(), lambda value: None)}
    y, _ = chain(currents(), None, carrying(range(STEPS), measures=measures))
    # The steps are of the forward pass, and what they carry is not to change.
    measures.clear()
    with pytest.raises(RuntimeError, match="forward and backward pass record different measures"):
        y.sum().backward()


def test_graphs_are_kept_where_hooks_are_to_see_them() -> None:
    chain = chain_of(2, NEURONS["hdlif"])
    seen: list[bool] = []
    chain[0].f.act.register_forward_hook(lambda module, args, output: seen.append(output[0].requires_grad))
    chain(currents(), None, carrying(range(STEPS), keeps_graphs=True))[0].sum().backward()
    assert seen == [True]
    chain(currents(), None, range(STEPS))[0].sum().backward()
    assert seen == [True, False, True]
