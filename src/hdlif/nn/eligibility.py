"""Forward-mode eligibility: what each state of a neuron owes to each weight of its layer, carried along time.

A layer is a synapse W, a batch norm, a gain and shift or none, and neurons whose step takes each of them by itself:
(s_t, v_t) = f(I_t, v_{t-1}, p) with states v and parameters p. For a weight w of the neuron's own row

    e_t = dv_t/dw = (∂v_t/∂v_{t-1})·e_{t-1} + (∂v_t/∂I_t)·dI_t/dw,    e_0 = 0
    dL/dw = Σ_t G_t·ds_t/dw,    ds_t/dw = (∂s_t/∂v_{t-1})·e_{t-1} + (∂s_t/∂I_t)·dI_t/dw,    G_t = dL/ds_t

which is the whole gradient through time of that layer, without a graph through it (real-time recurrent learning of a
diagonal system). The second term of ds_t/dw is the gradient of a step whose states are constants, which autograd
finds; the first is added to it here, where the step's spikes are emitted. With HD-LIF
e_t = (1 - χ_t)(λ_t·e_{t-1} + x_t).

Batch norm in train mode couples samples: dI_t/dw is then g·(x - mean(x) - n·mean(n·x)), n being what is normalised and
g its slope. A leak or threshold that all steps share has an eligibility too, [B, N]; one of each step has none, and
learns from its own step alone.

Steps may be run several at once, cut from each other. What a chunk's own steps owe each other is then found by going
back through its states alone, and e is read once, at the start, and carried on once, by the product of its Jacobians:
the same sums, and one pass over the traces in place of one for every step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor, nn

from hdlif.errors import TrainingError
from hdlif.nn.batch_statistics import Gather
from hdlif.nn.norm import BatchNorm2d
from hdlif.nn.paths import unwrapped
from hdlif.nn.scaling import Affine
from hdlif.nn.steps import carried
from hdlif.nn.synapses import QuantLayer

if TYPE_CHECKING:
    from hdlif.nn.stepped import SteppedNeuron

WayBack = Literal["diagonal", "eprop"]
"""What a recurrent layer's eligibility knows of the way back through U: "diagonal", what a neuron leads back to itself
(SnAp-1, Menick et al., ICLR 2021), or "eprop", nothing (Bellec et al. 2020)."""


@dataclass(frozen=True)
class Source:
    """A synapse that currents come from in this step, and the batch norm, or gain and shift, behind it."""

    synapse: nn.Module
    x: Tensor
    y: Tensor
    norm: BatchNorm2d | Affine | None = None


@dataclass(frozen=True)
class Slope:
    """dI/dy of currents [K, B, N] by the output of their synapse: I = g·n + β with n the normalised output.

    The gain broadcasts to the currents.
    """

    gain: Tensor | None = None
    normalised: Tensor | None = None
    coupled: bool = False


@dataclass(frozen=True)
class Drive:
    """dI/dW of K steps: gain·(x - n·product), [K, B, N, M], as its factors.

    Where samples are coupled x [K, B, M] is centred, and product is mean(n·x), [K, N, M]; else there is none.
    """

    x: Tensor
    gain: Tensor | None = None
    normalised: Tensor | None = None
    product: Tensor | None = None

    def _factors(self, factor: Tensor) -> tuple[Tensor, Tensor | None]:
        """What x and product are multiplied by, [K, B, N], where dI/dW is by a factor of that shape."""
        scaled = factor if self.gain is None else factor * self.gain
        return scaled, None if self.normalised is None or self.product is None else scaled * self.normalised

    def add_to(self, trace: Tensor | None, factor: Tensor) -> Tensor:
        """trace + Σ_k factor_k·dI_k/dW, [B, N, M]; written into a trace that is given."""
        of_x, of_product = self._factors(factor)
        if len(factor) > 1:
            # A product of matrices for each sample, and one for each neuron.
            by_sample = of_x.permute(1, 2, 0).contiguous(), self.x.transpose(0, 1).contiguous()
            trace = torch.bmm(*by_sample) if trace is None else trace.baddbmm_(*by_sample)
            if of_product is not None and self.product is not None:
                by_neuron = of_product.permute(2, 1, 0).contiguous()
                trace -= torch.bmm(by_neuron, self.product.transpose(0, 1).contiguous()).transpose(0, 1)
            return trace
        if trace is None:
            trace = of_x[0, :, :, None] * self.x[0, :, None, :]
        else:
            trace.addcmul_(of_x[0, :, :, None], self.x[0, :, None, :])
        if of_product is not None and self.product is not None:
            trace.addcmul_(of_product[0, :, :, None], self.product, value=-1)
        return trace

    def summed(self, factor: Tensor) -> Tensor:
        """Σ_k Σ_b factor·dI/dW, [N, M]."""
        of_x, of_product = self._factors(factor)
        total = of_x.flatten(0, 1).T @ self.x.flatten(0, 1)
        if of_product is not None and self.product is not None:
            total -= (of_product.sum(1)[..., None] * self.product).sum(0)
        return total


@dataclass
class Derivatives:
    """Of the spikes of K steps, or of a state after each of them, [K, B, N] each; None for zeros.

    Attributes:
        by_current: ∂/∂I.
        by_state: ∂/∂v_k of the states before it.
        by_row: ∂/∂p of the parameters of the step.
    """

    by_current: Tensor | None
    by_state: Sequence[Tensor | None]
    by_row: Sequence[Tensor | None]


@dataclass
class Pending:
    """What a layer's last steps have left to be carried on when the next ones run.

    Attributes:
        states: the derivatives of each state after each step.
        drives: dI/dW of each synapse.
        vectors: of the parameters of [N] or fewer numbers dI/dp, [K, B, N], or the place among the rows of the step.
    """

    states: Sequence[Derivatives]
    drives: Sequence[Drive]
    vectors: Sequence[Tensor | int]

    def of_vector(self, which: Tensor | int, factors: Sequence[Tensor | None]) -> Tensor | None:
        """Σ_k factor_k·dv_k/dp of a parameter by the step that it acts in, [K, B, N]."""
        own = [of.by_row[which] if isinstance(which, int) else _times(of.by_current, which) for of in self.states]
        return _summed(zip(own, factors, strict=True))


@dataclass
class Layer:
    """A neuron layer along time.

    Attributes:
        rows: the places of the parameters of its step that are learned, and that all steps share.
        matrices: dv/dW by synapse and state, [B, N, M]; None for zeros.
        vectors: dv/dp by state, [P, B, N], of all other parameters.
        waiting: for its last steps to be carried on.
        bytes: of its traces.
    """

    rows: Sequence[int]
    matrices: list[list[Tensor | None]] = field(default_factory=list)
    vectors: list[Tensor | None] = field(default_factory=list)
    waiting: Pending | None = None
    bytes: int = 0


class Eligibility:
    """The eligibilities of all layers of a network, kept from step to step of one sequence.

    A forward pass is given this along with its steps (`carrying`), one step at a time or several that are cut from each
    other (`Steps.cut`), and the losses of all are back-propagated before the next ones are run.

    Args:
        model: the network, whose modules errors name.
        way_back: of recurrent layers.
        budget: most bytes of traces.
    """

    def __init__(self, model: nn.Module, *, way_back: WayBack = "diagonal", budget: int) -> None:
        self._names = {module: name for name, module in unwrapped(model).named_modules()}
        self._way_back, self._budget = way_back, budget
        self._layers: dict[nn.Module, Layer] = {}
        self._sources: dict[int, tuple[Tensor, tuple[Source, ...]]] = {}
        self._arriving: dict[nn.Module, tuple[Source, ...] | None] = {}
        self._back: dict[nn.Module, nn.Module] = {}
        self._averages: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        self._restored: dict[str, Tensor] = {}
        self._at = -1

    def ran(self, child: nn.Module, x: Tensor, y: Tensor) -> None:
        """Take note of what a child of a module gave."""
        if isinstance(child, BatchNorm2d | Affine):
            before = self._sources.get(id(x), (x, ()))[1]
            if len(before) == 1 and before[0].norm is None:
                source = before[0]
                self._note(y, (Source(source.synapse, source.x, source.y, child),))
        elif _is_matrix(child, x):
            self._note(y, (Source(child, x, y),))

    def joined(self, total: Tensor, parts: Sequence[Tensor], neuron: nn.Module, back: nn.Module) -> None:
        """Take note of a sum of currents, and of the synapse that leads back what the neurons emit."""
        found = [self._sources.get(id(part)) for part in parts]
        if None not in found:
            self._note(total, tuple(source for one in found if one is not None for source in one[1]))
        self._back[neuron] = back

    def averaged(self, norm: nn.Module, mean: Tensor, var: Tensor) -> None:
        """Take note of the averages [K, C] that a batch norm has normalised each step by."""
        self._averages[norm] = mean, var

    def arrives(self, neuron: nn.Module, current: Tensor) -> None:
        """Take note of what a neuron layer is about to be given."""
        found = self._sources.get(id(current))
        self._arriving[neuron] = None if found is None else found[1]

    def begins(self, step: int) -> None:
        """Forget what the step before gave."""
        if step != self._at:
            self._at = step
            self._sources.clear()
            self._arriving.clear()

    def _note(self, value: Tensor, sources: tuple[Source, ...]) -> None:
        # With the tensor, whose id is its own as long as it lives.
        self._sources[id(value)] = value, sources

    @property
    def bytes(self) -> dict[str, int]:
        """Of the traces of each layer that has run a step."""
        return {self._names.get(neuron, type(neuron).__name__): layer.bytes for neuron, layer in self._layers.items()}

    def tensors(self) -> dict[str, Tensor]:
        """The eligibilities of the states after the last step, by layer, kind and state."""
        found: dict[str, Tensor] = {}
        for neuron, layer in self._layers.items():
            with torch.no_grad():
                _carry_on(layer)
            for of, matrix in enumerate(layer.matrices):
                found |= {f"{self._names[neuron]}.weight.{of}.{k}": e for k, e in enumerate(matrix) if e is not None}
            found |= {f"{self._names[neuron]}.vector.{k}": e for k, e in enumerate(layer.vectors) if e is not None}
        return found

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Begin with what `tensors` gave."""
        self._restored = dict(tensors)

    def _layer(self, neuron: SteppedNeuron, steps: range, x: Tensor) -> Layer:
        """A layer that runs its first step."""
        layer = Layer(_learned_and_shared(neuron, steps, x))
        name, states = self._names.get(neuron, ""), len(neuron.states) + self._leads_back(neuron)
        # Taken out: they are the layer's from here on.
        keys = [key for key in self._restored if key.startswith(f"{name}.")]
        own = {key.removeprefix(f"{name}."): self._restored.pop(key) for key in keys}
        matrices = {key.split(".")[1] for key in own if key.startswith("weight.")}
        layer.matrices = [[own.get(f"weight.{of}.{k}") for k in range(states)] for of in sorted(matrices, key=int)]
        if any(key.startswith("vector.") for key in own):
            layer.vectors = [own.get(f"vector.{k}") for k in range(states)]
        return layer

    def _leads_back(self, neuron: nn.Module) -> bool:
        """Whether the spike is one more state of a layer."""
        return neuron in self._back and self._way_back == "diagonal"

    def check(self, times: int = 1) -> None:
        """Raise `TrainingError` where the traces of all layers, of so many batches, take more than the budget."""
        sizes = {name: times * size for name, size in self.bytes.items()}
        if (total := sum(sizes.values())) > self._budget:
            most = sorted(sizes.items(), key=lambda item: -item[1])[:3]
            listed = ", ".join(f"{name} {_megabytes(size)}" for name, size in most)
            more = f" and {len(sizes) - 3} more" if len(sizes) > 3 else ""
            raise TrainingError(
                f"forward mode keeps {_megabytes(total)} of traces, a number for every sample, synapse and state "
                f"({listed}{more}), and its budget is {_megabytes(self._budget)}; make the batch or the layers "
                "smaller, raise rule.budget (bytes), or take a rule of smaller traces (ottt) or none (sltt)"
            )

    def passed(
        self,
        neuron: SteppedNeuron,
        x: Tensor,
        before: Sequence[Tensor],
        steps: range,
        rows: Sequence[Tensor],
        y: Tensor,
    ) -> Tensor:
        """The spikes y [K, B, N, ...] of some steps, whose gradient also reaches the layer's parameters by the past.

        Args:
            x: the currents, [K or 1, B, N, ...].
            before: the states before each step.
            rows: the parameters of the steps.
        Raises:
            TrainingError: the layer is none of those that have an eligibility.
        """
        if not neuron.states:
            return y
        if torch.compiler.is_compiling():
            raise TrainingError("forward mode does not run through torch.compile; set training.compile: false")
        sources = self._checked(neuron, y, steps)
        if (layer := self._layers.get(neuron)) is None:
            layer = self._layers[neuron] = self._layer(neuron, steps, x)
        spike, *after = neuron.derivatives(x.expand(y.shape), before, rows)
        with torch.no_grad():
            _carry_on(layer)
            if self._leads_back(neuron):
                spike, *after = _led_back(spike, after, _diagonal(self._back[neuron], steps).to(x.dtype))
            drives, vectors, into = self._drives(sources, steps)
        # What all steps share: whichever of them is given the gradient.
        into += [rows[place][:1] for place in layer.rows]
        layer.waiting = Pending(after, drives, [*vectors, *layer.rows])
        if not layer.bytes:
            numbers = sum(drive.x.shape[2] for drive in drives) + len(layer.waiting.vectors)
            layer.bytes = len(after) * y[0].numel() * numbers * _wide(x).itemsize
        if not torch.is_grad_enabled() or not any(one.requires_grad for one in into):
            return y
        return cast(Tensor, _Past.apply(y, spike.by_state, layer, *into))  # type: ignore[no-untyped-call]

    def _checked(self, neuron: SteppedNeuron, y: Tensor, steps: range) -> tuple[Source, ...]:
        """What feeds a neuron layer in this step. Raises `TrainingError`."""
        name = self._names.get(neuron, type(neuron).__name__)
        if len(steps) != 1 and not carried(steps).cut:
            raise TrainingError(
                f"{name}: forward mode runs one time step at a time, or several that are cut from each other, and it "
                f"was given {len(steps)} that are not"
            )
        if carried(steps).cut and neuron in self._back:
            raise TrainingError(
                f"{name}: a recurrent layer reads what it emitted at the step before, so that forward mode takes its "
                "steps one by one; set rule.chunk to 1"
            )
        if getattr(neuron, "norm", None) is not None:
            raise TrainingError(
                f"{name}: Mem-BN couples the membranes of a batch, whose eligibilities are then no longer its own; "
                "leave neuron.mem_bn out, or take another rule"
            )
        sources = self._arriving.get(neuron)
        if sources is None:
            raise TrainingError(
                f"{name} is not fed by a linear layer, or by one and a batch norm, alone: forward mode is for layers "
                "of Linear, QuantLinear or convolutions of kernel 1, run by their names in a hdlif.nn.Scope or "
                "Sequential; take another rule, such as stochastic_window"
            )
        for source in sources:
            where = self._names.get(source.synapse, type(source.synapse).__name__)
            if source.y[0, 0].numel() != source.y.shape[2]:
                raise TrainingError(
                    f"{where} gives maps of {list(source.y.shape[3:])}: forward mode would keep a trace for every "
                    "position of every weight; take another rule, such as stochastic_window"
                )
        return sources

    def _drives(self, sources: Sequence[Source], steps: range) -> tuple[list[Drive], list[Tensor | int], list[Tensor]]:
        """What synapses and norms drive: of their weights, of their other parameters, and what takes the gradients."""
        gather = carried(steps).gather
        drives: list[Drive] = []
        weights: list[Tensor] = []
        vectors: list[tuple[Tensor, Tensor]] = []
        for source in sources:
            synapse, norm = source.synapse, source.norm
            x, y = (_of_steps(value, steps) for value in (source.x, source.y))
            slope = Slope() if norm is None else _slope(norm, y, steps, gather, self._averages.get(norm))
            weight = _weight(synapse, steps)
            if weight.requires_grad:
                drives.append(_drive(x, slope, gather))
                weights.append(weight)
            # A bias in front of batch statistics changes nothing.
            if (bias := cast("Tensor | None", synapse.bias)) is not None and not slope.coupled:
                ones = torch.ones_like(y)
                vectors.append((bias, ones if slope.gain is None else ones * slope.gain))
            if norm is not None:
                assert slope.normalised is not None
                vectors += [(norm.weight, slope.normalised), (norm.bias, torch.ones_like(y))]
        learned = [(into, driven) for into, driven in vectors if into.requires_grad]
        return drives, [driven for _, driven in learned], [*weights, *(into for into, _ in learned)]


def _is_matrix(module: nn.Module, x: Tensor) -> bool:
    """Whether a module is W·x + b of x [1, B, ...]: with no kernel, or one that x fills."""
    if isinstance(module, nn.Linear):
        return True
    if not isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) or module.groups != 1:
        return False
    plain = all(size == 1 for size in (*module.kernel_size, *module.stride)) or module.kernel_size == x.shape[3:]
    return plain and (module.padding == "valid" or all(size == 0 for size in module.padding))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _wide(value: Tensor) -> torch.dtype:
    return torch.promote_types(value.dtype, torch.float32)


def _weight(synapse: nn.Module, steps: range) -> Tensor:
    """The weight that runs, with the way to the learned one."""
    held = carried(steps).weights.get(synapse)
    if held is not None:
        return held
    with torch.enable_grad():
        weight = synapse.weight_q() if isinstance(synapse, QuantLayer) else synapse.weight
    return cast(Tensor, weight)


def _diagonal(synapse: nn.Module, steps: range) -> Tensor:
    """U_oo of a recurrent synapse, [N]."""
    weight = _weight(synapse, steps).detach()
    return weight.flatten(1).diagonal()


def _of_steps(value: Tensor, steps: range) -> Tensor:
    """[K or 1, B, N, ...] without graph as [K, B, N]."""
    flat = value.detach().flatten(2).to(_wide(value))
    return flat.expand(len(steps), *flat.shape[1:])


def _slope(
    norm: BatchNorm2d | Affine,
    y: Tensor,
    steps: range,
    gather: Gather | None,
    averages: tuple[Tensor, Tensor] | None,
) -> Slope:
    if isinstance(norm, Affine):
        return Slope(norm.weight.detach().to(y.dtype), y)
    coupled = norm.training and not carried(steps).by_average
    if norm.training and not coupled:
        assert averages is not None, "the norm has run"
        mean, var = averages
    else:
        of_each = [norm.statistics_at(t, of, gather, of_batch=coupled) for t, of in zip(steps, y, strict=True)]
        mean, var = (torch.stack(one) for one in zip(*of_each, strict=True))
    scale = torch.rsqrt(var.to(y.dtype) + norm.eps)[:, None]
    normalised = (y - mean.to(y.dtype)[:, None]) * scale
    return Slope(norm.weight.detach().to(y.dtype) * scale, normalised, coupled)


def _drive(x: Tensor, slope: Slope, gather: Gather | None) -> Drive:
    if not slope.coupled:
        return Drive(x, slope.gain)
    assert slope.normalised is not None
    sums = torch.cat([x.sum(1, keepdim=True), slope.normalised.transpose(1, 2) @ x], 1)
    count = float(x.shape[1])
    if gather is not None:
        sums, count = gather(sums).sum(0), float(gather(x.new_tensor([count])).sum())
    means = sums / count
    return Drive(x - means[:, :1], slope.gain, slope.normalised, means[:, 1:])


def _learned_and_shared(neuron: SteppedNeuron, steps: range, x: Tensor) -> list[int]:
    """The places of the rows that are learned and of which there is one for all steps."""
    with torch.enable_grad():
        learned = [row.requires_grad for row in neuron.rows_at(steps, x)]
    shared = [len(values) == 1 for values in neuron.row_values().values()]
    return [place for place, both in enumerate(zip(learned, shared, strict=True)) if all(both)]


def _led_back(spike: Derivatives, states: Sequence[Derivatives], own: Tensor) -> list[Derivatives]:
    """The derivatives of a step one of whose states is the spike, which a part of the next current follows from."""
    return [
        Derivatives(of.by_current, [*of.by_state, _times(of.by_current, own)], of.by_row) for of in (spike, *states)
    ] + [Derivatives(spike.by_current, [*spike.by_state, _times(spike.by_current, own)], spike.by_row)]


def _times(factor: Tensor | None, other: Tensor | None) -> Tensor | None:
    return None if factor is None or other is None else factor * other


def _summed(pairs: Iterable[tuple[Tensor | None, Tensor | None]]) -> Tensor | None:
    """Σ a·b over the pairs of which neither is zero."""
    total: Tensor | None = None
    for one, other in pairs:
        if one is not None and other is not None:
            total = one * other if total is None else total.addcmul_(one, other)
    return total


def _carry_on(layer: Layer) -> None:
    """The eligibilities after a layer's last steps, from those before them and what drove it."""
    if (pending := layer.waiting) is None:
        return
    layer.waiting, states = None, pending.states
    reach, across = _reach(states)
    before = layer.matrices or [[None] * len(states) for _ in pending.drives]
    by_current = [of.by_current for of in states]
    factors = [_summed(zip(of_state, by_current, strict=True)) for of_state in reach]
    layer.matrices = [
        [
            _driven(_mixed(traces, [_column(one) for one in mixing]), drive, factor)
            for mixing, factor in zip(across, factors, strict=True)
        ]
        for traces, drive in zip(before, pending.drives, strict=True)
    ]
    if pending.vectors:
        vectors = layer.vectors or [None] * len(states)
        layer.vectors = [
            _plus(_mixed(vectors, mixing), _stacked([pending.of_vector(one, of_state) for one in pending.vectors]))
            for mixing, of_state in zip(across, reach, strict=True)
        ]


def _reach(states: Sequence[Derivatives]) -> tuple[list[list[Tensor | None]], list[list[Tensor | None]]]:
    """∂v_k/∂v_j of each state after the last of K steps by each after every step, [K, B, N], and before the first."""
    numbers = range(len(states))
    like = next((one for of in states for one in (of.by_current, *of.by_state) if one is not None), None)
    reach: list[list[Tensor | None]] = []
    across: list[list[Tensor | None]] = []
    for k in numbers:
        owed: list[Tensor | None] = [torch.ones_like(like[0]) if j == k and like is not None else None for j in numbers]
        of_steps = []
        for t in reversed(range(0 if like is None else len(like))):
            of_steps.append(owed)
            owed = [_summed((owed[i], _at(states[i].by_state[j], t)) for i in numbers) for j in numbers]
        reach.append(_along(of_steps, len(states)))
        across.append(owed)
    return reach, across


def _owed(states: Sequence[Derivatives], along: Sequence[Tensor | None]) -> tuple[list[Tensor | None], ...]:
    """dL/dv_j of each state after every of K steps, [K, B, N], and before the first, by what a step's spikes owe to it.

    Args:
        along: dL/ds·∂s/∂v_j, [K, B, N].
    """
    numbers = range(len(states))
    like = next((one for one in along if one is not None), None)
    owed: list[Tensor | None] = [None] * len(states)
    of_steps = []
    for t in reversed(range(0 if like is None else len(like))):
        of_steps.append(owed)
        later = [_summed((owed[k], _at(states[k].by_state[j], t)) for k in numbers) for j in numbers]
        owed = [_plus(one, _at(own, t)) for one, own in zip(later, along, strict=True)]
    return _along(of_steps, len(states)), owed


def _at(values: Tensor | None, t: int) -> Tensor | None:
    return None if values is None else values[t]


def _along(of_steps: Sequence[Sequence[Tensor | None]], states: int) -> list[Tensor | None]:
    """Of each state its values at K steps, [K, B, N], from those in reversed order; None for zeros."""
    found: list[Tensor | None] = []
    for j in range(states):
        values = [step[j] for step in reversed(of_steps)]
        like = next((one for one in values if one is not None), None)
        zero = None if like is None else torch.zeros_like(like)
        found.append(None if zero is None else torch.stack([zero if one is None else one for one in values]))
    return found


def _column(factor: Tensor | None) -> Tensor | None:
    return None if factor is None else factor[..., None]


def _mixed(traces: Sequence[Tensor | None], factors: Sequence[Tensor | None]) -> Tensor | None:
    """Σ_k factor_k·e_k; of one state written over e, which nothing else reads."""
    if len(traces) > 1:
        return _summed(zip(traces, factors, strict=True))
    (trace,), (factor,) = traces, factors
    return None if trace is None or factor is None else trace.mul_(factor)


def _driven(trace: Tensor | None, drive: Drive, by_current: Tensor | None) -> Tensor | None:
    return trace if by_current is None else drive.add_to(trace, by_current)


def _stacked(added: Sequence[Tensor | None]) -> Tensor | None:
    """What K steps add to the vectors of a state, [P, B, N], from that of each step, [K, B, N]."""
    like = next((one for one in added if one is not None), None)
    return (
        None
        if like is None
        else torch.stack([like.new_zeros(like.shape[1:]) if a is None else a.sum(0) for a in added])
    )


def _plus(trace: Tensor | None, added: Tensor | None) -> Tensor | None:
    if trace is None or added is None:
        return added if trace is None else trace
    return trace.add_(added)


class _Past(torch.autograd.Function):
    """Spikes as they are; the gradient of each parameter gets Σ_t Σ_b G_t·Σ_k (∂s_t/∂v_k)·e_k, by what is past.

    e before the first of these steps is that of the layer; what they add to it is followed back through them. The
    parameters are first the weights of the layer's synapses, then those of its vectors.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, by_state: Sequence[Tensor | None], layer: Layer, *into: Tensor) -> Tensor:
        # The traces as they are now: the next steps, which write them over, run after the backward pass of these.
        ctx.by_state, ctx.matrices, ctx.vectors = by_state, list(layer.matrices), list(layer.vectors)
        ctx.pending, ctx.into = layer.waiting, [(one.shape, one.dtype) for one in into]
        return y.view_as(y)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,), into, pending = grads, ctx.into, ctx.pending
        along = [None if one is None else grad.flatten(2).to(one.dtype) * one for one in ctx.by_state]
        after, before = _owed(pending.states, along)
        found = _of_weights(pending, ctx.matrices, after, before)
        found += _of_vectors(pending, ctx.vectors, after, before)
        shaped = []
        for one, (shape, dtype) in zip(found, into, strict=True):
            # [N], or one number where the layer has one.
            whole = one if one is None or one.numel() == math.prod(shape) else one.sum()
            shaped.append(None if whole is None else whole.view(shape).to(dtype))
        return grad, None, None, *shaped


def _of_weights(
    pending: Pending,
    matrices: Sequence[Sequence[Tensor | None]],
    after: Sequence[Tensor | None],
    before: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """dL/dW of each synapse, [N, M], by dL/dv of the states after each step and before the first."""
    to_current = _summed(zip((of.by_current for of in pending.states), after, strict=True))
    found: list[Tensor | None] = []
    for place, drive in enumerate(pending.drives):
        total = None if to_current is None else drive.summed(to_current)
        for owed, trace in zip(before, matrices[place] if matrices else (), strict=bool(matrices)):
            if owed is not None and trace is not None:
                # For each neuron, a row times a matrix.
                own = torch.bmm(owed.T[:, None], trace.transpose(0, 1))[:, 0]
                total = own if total is None else total.add_(own)
        found.append(total)
    return found


def _of_vectors(
    pending: Pending,
    vectors: Sequence[Tensor | None],
    after: Sequence[Tensor | None],
    before: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """dL/dp of each other parameter, [N]."""
    earlier = _summed(zip(before, vectors, strict=True)) if vectors else None
    found: list[Tensor | None] = []
    for place, which in enumerate(pending.vectors):
        own = pending.of_vector(which, after)
        total = None if own is None else own.sum((0, 1))
        if earlier is not None:
            total = _plus(total, earlier[place].sum(0))
        found.append(total)
    return found
