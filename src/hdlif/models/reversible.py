"""Reversible blocks, whose training memory does not grow with the number of blocks.

The two streams of currents at the input of a block can be recomputed from the output of the block. The backward pass
therefore needs no stored inputs, and memory use does not grow with depth.

Hooks inside the blocks run twice: without autograd in the forward pass, and again in the backward pass. To monitor a
reversible network without hooks, pass measures with the steps; to use hooks, keep the graphs (`carrying`).
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hdlif.errors import StateError
from hdlif.functional.once import once_differentiable
from hdlif.models.blocks import ConvFactory, NeuronFactory, NormFactory, Place, default_conv
from hdlif.nn import BatchNorm2d, Measure, Scope, Sequential, State, Temporal, carrying
from hdlif.nn.state import Paths, entries_of, steps_of
from hdlif.nn.steps import carried

GRID = 2.0**-16


class Grid(nn.Module):
    """A layer that rounds `x` to multiples of `step` in float32 or wider, with the gradient of the identity.

    >>> import torch
    >>> from hdlif.models import Grid
    >>> Grid(0.25)(torch.tensor([0.1, 0.3, -0.7])).tolist()
    [0.0, 0.25, -0.75]

    Args:
        step: distance between grid points, a power of two.
    Raises:
        ValueError: `step` is not a power of two, so its multiples would not be exact.
    """

    def __init__(self, step: float) -> None:
        super().__init__()
        if step <= 0 or math.frexp(step)[0] != 0.5:
            raise ValueError(f"grid = {step}; it must be a power of two, such as 2**-16")
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = _Round.apply(x.to(torch.promote_types(x.dtype, torch.float32)), self.step)  # type: ignore[no-untyped-call]
        return y

    def extra_repr(self) -> str:
        return f"step={self.step}"


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, step: float) -> Tensor:
        return torch.round(x / step) * step

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


class ReversibleBlock(Temporal):
    """A reversible block on two streams of real-valued currents, each with half the channels of `x` [K, B, C, H, W].

    The block computes y1 = x1 + f(x2) and y2 = x2 + g(y1). The inverse is x2 = y2 - g(y1) and x1 = y1 - f(x2).

    Each of f and g consists of a neuron layer, a 3x3 convolution and a batch norm on C/2 channels. Random layers are
    not allowed in f and g.

    In floating point, (y1 - f) + f differs slightly from y1. A neuron near its threshold may therefore fire in the
    forward pass but not in the backward pass, or vice versa. To prevent such mismatches between the two passes, x, f
    and g are rounded to a grid. In float32, sums on the grid and the inverse are exact for currents of up to 2^24 grid
    steps. With a grid step of 2^-16, currents of up to 2^8 are therefore exact.

    >>> import torch
    >>> from hdlif.models import Place, ReversibleBlock, ReversibleSequential
    >>> from hdlif.nn import HDLIF
    >>> places = Place("f", 0, 0, 0, 0, 4), Place("g", 0, 0, 1, 1, 4)
    >>> blocks = [ReversibleBlock(8, neuron=lambda place: HDLIF(2), places=places) for _ in range(2)]
    >>> y, state = ReversibleSequential(*blocks)(torch.randn(2, 1, 8, 4, 4), None, range(2))
    >>> list(y.shape)
    [2, 1, 8, 4, 4]

    Args:
        channels: C of x, even.
        neuron, places, conv, norm: as in `PreActBlock`; the places belong to f and g.
        grid: step of the grid, a power of two; None disables rounding.
    """

    def __init__(
        self,
        channels: int,
        *,
        neuron: NeuronFactory,
        places: tuple[Place, Place],
        conv: ConvFactory = default_conv,
        norm: NormFactory = BatchNorm2d,
        grid: float | None = GRID,
    ) -> None:
        super().__init__()
        if channels % 2:
            raise ValueError(f"channels = {channels}; a reversible block splits them in halves, so they must be even")

        def rounding() -> nn.Module:
            return nn.Identity() if grid is None else Grid(grid)

        def branch(place: Place) -> Sequential:
            half = channels // 2
            layers = {"act": neuron(place), "conv": conv(half, half, 3, padding=1), "bn": norm(half)}
            return Sequential(layers, {"grid": rounding()})

        self.grid = rounding()
        self.f, self.g = branch(places[0]), branch(places[1])

    @property
    def paths(self) -> Paths:
        return [["grid"], ["grid", "f"], ["grid", "g"], ["grid", "f", "g"]]

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State | None]:
        run = Scope(self, state, steps)
        x1, x2 = run("grid", x).chunk(2, 2)
        y1 = x1 + run("f", x2)
        y2 = x2 + run("g", y1)
        return torch.cat([y1, y2], 2), run.state

    def inverse(self, y: Tensor, state: State | None, steps: range) -> Tensor:
        """Recompute `x`, rounded to the grid, from `y` and the state before the chunk."""
        run = Scope(self, state, steps)
        y1, y2 = y.chunk(2, 2)
        x2 = y2 - run("g", y1)
        x1 = y1 - run("f", x2)
        return torch.cat([x1, x2], 2)


class ReversibleSequential(Sequential):
    """A sequence of `ReversibleBlock`s with the same gradients as a `Sequential`, but in constant memory.

    For each chunk, only the output of the last block and the state before the chunk are stored, regardless of the
    number of blocks. The backward pass reruns the branches f and g from the last block to the first. Each branch reruns
    with the state, held weights, mode and precision of the forward pass. When a branch reruns, measures are taken
    again, but buffers do not change. The streams are float32 or wider.

    `ReversibleBlock` has an example.

    Args:
        blocks: blocks with equal numbers of channels.
    """

    def __init__(self, *blocks: ReversibleBlock) -> None:
        for block in blocks:
            if not isinstance(block, ReversibleBlock):
                raise TypeError(
                    f"{type(block).__name__} has no inverse; give only ReversibleBlocks, and put other layers into a "
                    "Sequential"
                )
        super().__init__(*blocks)

    def forward(self, x: Tensor, state: State | None = None, steps: range | None = None) -> tuple[Tensor, State | None]:
        steps = steps_of(x, state, steps)
        x = x.to(torch.promote_types(x.dtype, torch.float32)).expand(len(steps), *x.shape[1:])
        if carried(steps).keeps_graphs or not torch.is_grad_enabled():
            return super().forward(x, state, steps)
        before = flat(state)
        replay = _Replay(self, steps, tuple(before), x.device.type)
        y, *others = _Reversible.apply(replay, x, *replay.leaves, *before.values())  # type: ignore[no-untyped-call]
        measured = len(replay.measures)
        for measure, value in zip(replay.measures, others[:measured], strict=True):
            measure.give(value)
        return y, nested(dict(zip(replay.after, others[measured:], strict=True)))


_Measured = list[tuple[Measure, Tensor]]


@dataclass(frozen=True)
class _Collected(Measure):
    measure: Measure
    found: _Measured

    def take(self, x: Tensor, y: Tensor) -> None:
        self.found.append((self.measure, self.of(x, y)))


def _collected(measures: Mapping[nn.Module, Measure], found: _Measured) -> dict[nn.Module, Measure]:
    """Return measures that collect their values in `found`, in execution order."""
    return {module: _Collected(one.of, one.give, one, found) for module, one in measures.items()}


class _Replay:
    """The context of a chunk's forward pass, which the backward pass needs to rerun the branches.

    `leaves` lists the tensors that receive gradients, which are parameters and the weights that the steps carry.
    `before` and `after` list the paths of the tensors in the state before and after the chunk. `measures` lists the
    measures that the chunk took.
    """

    def __init__(self, blocks: ReversibleSequential, steps: range, before: tuple[str, ...], device_type: str) -> None:
        self.blocks, self.steps, self.before = blocks, steps, before
        self.after: tuple[str, ...] = ()
        self.measures: list[Measure] = []
        self.modes = {module: module.training for module in blocks.modules()}
        weights = carried(steps).weights
        self.weights = {module: weights[module] for module in blocks.modules() if module in weights}
        self.parameters = [p for p in blocks.parameters() if p.requires_grad]
        self.leaves: list[Tensor] = [*self.parameters, *self.weights.values()]
        # A device without storage has no autocast, so use the CPU's.
        self.device_type = device_type if torch.amp.is_autocast_available(device_type) else "cpu"
        device_type = self.device_type
        self.autocast = torch.is_autocast_enabled(device_type)
        self.autocast_dtype = torch.get_autocast_dtype(device_type)

    def fixed_buffers(self) -> list[Tensor]:
        """Return the buffers of modules in eval mode, which affect the outputs."""
        return [b for module, training in self.modes.items() if not training for b in module.buffers(recurse=False)]

    @contextmanager
    def again(self) -> Iterator[tuple[list[Tensor], range]]:
        """Restore the modes and precision of the forward pass, and yield new leaves and steps with these leaves."""
        modes = {m: m.training for m in self.modes}
        # A held weight may have a graph to its parameter, which the outer backward pass handles.
        cut = {m: w.detach().requires_grad_() for m, w in self.weights.items()}
        # Some versions of torch would reuse casts that the forward pass cached without a graph.
        precision = torch.autocast(self.device_type, self.autocast_dtype, self.autocast, cache_enabled=False)
        try:
            _set(self.modes)
            with torch.enable_grad(), precision:
                yield [*self.parameters, *cut.values()], carrying(self.steps, weights=cut)
        finally:
            _set(modes)


def _set(modes: Mapping[nn.Module, bool]) -> None:
    for module, training in modes.items():
        module.training = training


class _Reversible(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, replay: _Replay, x: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        before = nested(dict(zip(replay.before, tensors[len(replay.leaves) :], strict=True)))
        measured: _Measured = []
        steps = carrying(replay.steps, measures=_collected(carried(replay.steps).measures, measured))
        y, state = Sequential.forward(replay.blocks, x, before, steps)
        replay.measures = [measure for measure, _ in measured]
        after = flat(state)
        replay.after = tuple(after)
        ctx.replay = replay
        # Saving weights and buffers takes no memory; changing them before the backward pass then raises an error.
        ctx.save_for_backward(y, *tensors, *replay.fixed_buffers())
        ctx.set_materialize_grads(False)
        return y, *(value for _, value in measured), *after.values()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        replay: _Replay = ctx.replay
        y, *tensors = ctx.saved_tensors
        states = tensors[len(replay.leaves) :][: len(replay.before)]
        before = dict(zip(replay.before, states, strict=True))
        measured = 1 + len(replay.measures)
        after_grads = dict(zip(replay.after, grads[measured:], strict=True))
        (y1, y2), (d1, d2) = y.chunk(2, 2), (torch.zeros_like(y) if grads[0] is None else grads[0]).chunk(2, 2)
        with replay.again() as (leaves, steps):
            branches = _Branches(replay, leaves, steps, before, after_grads, list(grads[1:measured]))
            for name in reversed(list(replay.blocks._modules)):
                # y2 = x2 + g(y1), then y1 = x1 + f(x2): after these lines (y1, y2) are (x1, x2), (d1, d2) likewise.
                current, grad = branches.back(f"{name}.g", y1, d2)
                y2, d1 = y2 - current, d1 + grad
                current, grad = branches.back(f"{name}.f", y2, d1)
                y1, d2 = y1 - current, d2 + grad
        branches.finish()
        return None, torch.cat([d1, d2], 2), *branches.leaf_grads, *(branches.state_grads.get(k) for k in replay.before)


class _Branches:
    """The branches of a chunk, which rerun one by one in the backward pass, and the gradients collected so far."""

    def __init__(
        self,
        replay: _Replay,
        leaves: list[Tensor],
        steps: range,
        before: dict[str, Tensor],
        after_grads: dict[str, Tensor | None],
        measure_grads: list[Tensor | None],
    ) -> None:
        self.replay, self.leaves, self.before, self.after_grads = replay, leaves, before, after_grads
        self.steps = steps
        self.measure_grads = measure_grads
        self.leaf_grads: list[Tensor | None] = [None] * len(leaves)
        self.state_grads: dict[str, Tensor | None] = {}

    def back(self, path: str, x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Return the branch's output for `x` and the gradient of `x`, given the output's gradient `grad`."""
        branch, prefix = self.replay.blocks.get_submodule(path), f"{path}."
        x = x.detach().requires_grad_()
        state = {k: v.detach().requires_grad_() for k, v in self.before.items() if k.startswith(prefix)}
        given = nested({k.removeprefix(prefix): v for k, v in state.items()})
        # Statistics and counts already include this chunk, so the second run changes copies.
        buffers = {name: buffer.clone() for name, buffer in branch.named_buffers()}
        measured: _Measured = []
        steps = carrying(self.steps, measures=_collected(carried(self.steps).measures, measured))
        y, after = functional_call(branch, buffers, (x, given, steps))
        arriving = [(y, grad), *((v, self.after_grads[k]) for k, v in flat(after, prefix).items())]
        # Branches run in reverse order, but the measures within a branch keep their order.
        first = len(self.measure_grads) - len(measured)
        self._require(first >= 0)
        arriving += [(value, g) for (_, value), g in zip(measured, self.measure_grads[first:], strict=True)]
        del self.measure_grads[first:]
        outputs, grads = zip(*((v, g) for v, g in arriving if g is not None and v.requires_grad), strict=True)
        inputs = [x, *state.values(), *self.leaves]
        x_grad, *others = torch.autograd.grad(outputs, inputs, grads, allow_unused=True)
        self.state_grads |= dict(zip(state, others, strict=False))
        for index, found in enumerate(others[len(state) :]):
            if found is not None:
                known = self.leaf_grads[index]
                self.leaf_grads[index] = found if known is None else known + found
        return y.detach(), torch.zeros_like(x) if x_grad is None else x_grad

    def finish(self) -> None:
        """Raise `RuntimeError` unless the backward pass repeated all measures of the forward pass."""
        self._require(not self.measure_grads)

    def _require(self, alike: bool) -> None:
        if not alike:
            raise RuntimeError("forward and backward pass record different measures; remove random layers")


def flat(state: State | None, prefix: str = "") -> dict[str, Tensor]:
    """Return the tensors in a state by path, such as "0.f.act.potential".

    Raises:
        StateError: an entry is neither a tensor nor a mapping, or it is an empty mapping, which has no path.
    """
    tensors: dict[str, Tensor] = {}
    if state is None:
        return tensors
    of = repr(prefix[:-1]) if prefix else "reversible blocks"
    if not (entries := entries_of(state, of)):
        raise StateError(f"state of {of} is empty; give the whole state, or None to start")
    for name, value in entries.items():
        path = f"{prefix}{name}"
        # None means "no state" only at the root.
        tensors |= {path: value} if isinstance(value, Tensor) else flat({} if value is None else value, f"{path}.")
    return tensors


def nested(tensors: Mapping[str, Tensor]) -> State | None:
    """Return the nested state with the given tensors by path, or None if there are no tensors."""
    state: dict[str, Any] = {}
    for path, tensor in tensors.items():
        *parents, last = path.split(".")
        level = state
        for name in parents:
            level = level.setdefault(name, {})
        level[last] = tensor
    return state or None
