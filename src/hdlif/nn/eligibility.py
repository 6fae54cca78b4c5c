"""Forward-mode eligibility: what each state of a neuron owes to each weight of its layer, carried along time.

A layer is a synapse W, a batch norm or none, and neurons whose step takes each of them by itself:
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
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor, nn

from hdlif.errors import TrainingError
from hdlif.nn.batch_statistics import Gather
from hdlif.nn.norm import BatchNorm2d
from hdlif.nn.spikes import emitted
from hdlif.nn.state import State, kept_of
from hdlif.nn.steps import carried
from hdlif.nn.synapses import QuantLayer

if TYPE_CHECKING:
    from hdlif.nn.stepped import SteppedNeuron

WayBack = Literal["diagonal", "cut"]
"""What a recurrent layer's eligibility knows of the way back through U: "diagonal", what a neuron leads back to itself
(SnAp-1, Menick et al., ICLR 2021), or "cut", nothing (e-prop, Bellec et al. 2020)."""


@dataclass(frozen=True)
class Source:
    """A synapse that currents come from in this step, and the batch norm behind it."""

    synapse: nn.Module
    x: Tensor
    y: Tensor
    norm: BatchNorm2d | None = None


@dataclass(frozen=True)
class Slope:
    """dI/dy of a current [B, N] by the output of its synapse: I = g·n + β with n the normalised output."""

    gain: Tensor | None = None
    normalised: Tensor | None = None
    coupled: bool = False


@dataclass(frozen=True)
class Drive:
    """dI/dW of a step: gain·(x - centre - n·product), [B, N, M], as its factors."""

    x: Tensor
    gain: Tensor | None = None
    normalised: Tensor | None = None
    product: Tensor | None = None

    def add_to(self, trace: Tensor | None, factor: Tensor) -> Tensor:
        """trace + factor·dI/dW, with a factor [B, N]; written into a trace that is given."""
        scaled = factor if self.gain is None else factor * self.gain
        if trace is None:
            trace = scaled[:, :, None] * self.x[:, None, :]
        else:
            trace.addcmul_(scaled[:, :, None], self.x[:, None, :])
        if self.product is not None:
            assert self.normalised is not None
            trace.addcmul_((scaled * self.normalised)[:, :, None], self.product[None], value=-1)
        return trace


@dataclass
class Parameter:
    """What one parameter of a layer drives in a step, and the eligibilities of the layer's states to it.

    Attributes:
        into: takes the gradient; of a leak or threshold its row at this step.
        drive: dI/dp; None where it drives no current.
        partials: ∂(spike, *states)/∂p itself, [B, N] each, of a parameter of the step.
        traces: dv/dp by state, [B, N, M] or [B, N]; None for zeros.
    """

    into: Tensor
    drive: Drive | Tensor | None
    partials: Sequence[Tensor | None] | None
    traces: list[Tensor | None]


@dataclass
class Step:
    """What a layer is waiting to carry on: the derivatives of the states of its last step, [B, N] each.

    Attributes:
        by_state: ∂v_j/∂v_k, by j and k; None for zeros.
        by_current: ∂v_j/∂I.
        parameters: what drove it, by name.
    """

    by_state: Sequence[Sequence[Tensor | None]]
    by_current: Sequence[Tensor | None]
    parameters: dict[str, Parameter]


@dataclass
class Layer:
    """A neuron layer along time.

    Attributes:
        shared: the parameters of its step, and whether all steps share them.
        traces: dv/dp by parameter and state; None for zeros.
        waiting: for its last step to be carried on.
        bytes: of its traces.
    """

    shared: dict[str, bool]
    traces: dict[str, list[Tensor | None]] = field(default_factory=dict)
    waiting: Step | None = None
    bytes: int = 0


class Eligibility:
    """The eligibilities of all layers of a network, kept from step to step of one sequence.

    A forward pass is given this along with its steps (`carrying`), one step at a time, and every loss is
    back-propagated before the next step is run.

    Args:
        names: of all modules, for errors.
        way_back: of recurrent layers.
        budget: most bytes of traces.
    """

    def __init__(self, model: nn.Module, *, way_back: WayBack = "diagonal", budget: int) -> None:
        self._names = {module: name for name, module in model.named_modules()}
        self._way_back, self._budget = way_back, budget
        self._layers: dict[nn.Module, Layer] = {}
        self._sources: dict[int, tuple[Tensor, tuple[Source, ...]]] = {}
        self._arriving: dict[nn.Module, tuple[Source, ...] | None] = {}
        self._back: dict[nn.Module, nn.Module] = {}
        self._at = -1

    def ran(self, child: nn.Module, x: Tensor, y: Tensor) -> None:
        """Take note of what a child of a module gave."""
        if isinstance(child, BatchNorm2d):
            before = self._sources.get(id(x), (x, ()))[1]
            if len(before) == 1 and before[0].norm is None:
                source = before[0]
                self._note(y, (Source(source.synapse, source.x, source.y, child),))
        elif _is_matrix(child):
            self._note(y, (Source(child, x, y),))

    def joined(self, total: Tensor, parts: Sequence[Tensor], neuron: nn.Module, back: nn.Module) -> None:
        """Take note of a sum of currents, and of the synapse that leads back what the neurons emit."""
        found = [self._sources.get(id(part)) for part in parts]
        if None not in found:
            self._note(total, tuple(source for one in found if one is not None for source in one[1]))
        self._back[neuron] = back

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

    def check(self) -> None:
        """Raise `TrainingError` where the traces of all layers take more than the budget."""
        sizes = self.bytes
        if (total := sum(sizes.values())) > self._budget:
            most = sorted(sizes.items(), key=lambda item: -item[1])[:3]
            listed = ", ".join(f"{name} {_megabytes(size)}" for name, size in most)
            more = f" and {len(sizes) - 3} more" if len(sizes) > 3 else ""
            raise TrainingError(
                f"forward mode keeps {_megabytes(total)} of traces, a number for every sample, synapse and state "
                f"({listed}{more}), and its budget is {_megabytes(self._budget)}; make the batch or the layers "
                "smaller, raise rule.budget (bytes), or take a rule of smaller traces (ottt) or none (sltt)"
            )

    def passed(self, neuron: SteppedNeuron, x: Tensor, state: State | None, steps: range, y: Tensor) -> Tensor:
        """The spikes y [1, B, N, ...] of a step, whose gradient also reaches the layer's parameters by the past.

        Raises:
            TrainingError: the layer is none of those that have an eligibility.
        """
        if not neuron.states:
            return y
        if torch.compiler.is_compiling():
            raise TrainingError("forward mode does not run through torch.compile; set training.compile: false")
        sources = self._checked(neuron, x, y, steps)
        if (layer := self._layers.get(neuron)) is None:
            shared = {name: len(values) == 1 for name, values in neuron.row_values().items()}
            layer = self._layers[neuron] = Layer(shared)
        back = self._back.get(neuron) if self._way_back == "diagonal" else None
        with torch.no_grad():
            _carry_on(layer)
        with torch.enable_grad():
            rows = neuron.rows_at(steps, x)
        partials = _partials(neuron, x, state, rows)
        drives: dict[str, Parameter] = {}
        with torch.no_grad():
            for source in sources:
                drives |= self._drives(source, steps)
        for place, ((name, is_shared), row) in enumerate(zip(layer.shared.items(), rows, strict=True)):
            if row.requires_grad and is_shared:
                drives[name] = Parameter(row, None, [of[1 + len(neuron.states) + place] for of in partials], [])
        count = len(neuron.states)
        spike, *after = partials
        by_state = [list(of[1 : 1 + count]) for of in after]
        spike_by_state, by_current = list(spike[1 : 1 + count]), [of[0] for of in after]
        if back is not None:
            # The spike is one more state: what it leads back to its own neuron is a part of the next current.
            own = _diagonal(back, steps).to(x.dtype)
            by_state = [[*of, _times(current, own)] for of, current in zip(by_state, by_current, strict=True)]
            spike_by_state = [*spike_by_state, _times(spike[0], own)]
            by_state.append(spike_by_state)
            by_current.append(spike[0])
        states = len(by_state)
        for name, parameter in drives.items():
            parameter.traces = layer.traces.setdefault(name, [None] * states)
            if parameter.partials is not None and back is not None:
                parameter.partials = [parameter.partials[0], *parameter.partials[1:], parameter.partials[0]]
        layer.waiting = Step(by_state, by_current, drives)
        layer.bytes = _bytes(drives, states, len(x[0]), sources)
        if not torch.is_grad_enabled():
            return y
        past = [
            (parameter.into, [(c, e) for c, e in zip(spike_by_state, parameter.traces, strict=True) if _both(c, e)])
            for parameter in drives.values()
        ]
        wanted = [(into, terms) for into, terms in past if terms and into.requires_grad]
        if not wanted:
            return y
        reached: Tensor = _Past.apply(y, [terms for _, terms in wanted], *(into for into, _ in wanted))  # type: ignore[no-untyped-call]
        return reached

    def _checked(self, neuron: SteppedNeuron, x: Tensor, y: Tensor, steps: range) -> tuple[Source, ...]:
        """What feeds a neuron layer in this step. Raises `TrainingError`."""
        name = self._names.get(neuron, type(neuron).__name__)
        if len(steps) != 1:
            raise TrainingError(f"{name}: forward mode runs one time step at a time, and it was given {len(steps)}")
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

    def _drives(self, source: Source, steps: range) -> dict[str, Parameter]:
        """What the parameters of a synapse and its norm drive, by name."""
        synapse, norm, gather = source.synapse, source.norm, carried(steps).gather
        name = self._names.get(synapse, type(synapse).__name__)
        x, y = (value[0].detach().flatten(1).to(_wide(value)) for value in (source.x, source.y))
        slope = Slope() if norm is None else _slope(norm, y, steps, gather)
        found = {f"{name}.weight": Parameter(_weight(synapse, steps), _drive(x, slope, gather), None, [])}
        if (bias := cast("Tensor | None", synapse.bias)) is not None and not slope.coupled:
            # A bias in front of batch statistics changes nothing.
            ones = torch.ones_like(y)
            found[f"{name}.bias"] = Parameter(bias, ones if slope.gain is None else ones * slope.gain, None, [])
        if norm is not None:
            assert slope.normalised is not None
            of_norm = self._names.get(norm, type(norm).__name__)
            found[f"{of_norm}.weight"] = Parameter(norm.weight, slope.normalised, None, [])
            found[f"{of_norm}.bias"] = Parameter(norm.bias, torch.ones_like(y), None, [])
        return {name: parameter for name, parameter in found.items() if parameter.into.requires_grad}


def _is_matrix(module: nn.Module) -> bool:
    """Whether a module is W·x + b, with no kernel."""
    if isinstance(module, nn.Linear):
        return True
    if not isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) or module.groups != 1:
        return False
    plain = all(size == 1 for size in (*module.kernel_size, *module.stride))
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


def _slope(norm: BatchNorm2d, y: Tensor, steps: range, gather: Gather | None) -> Slope:
    mean, var = norm.statistics_at(steps.start, y, gather)
    scale = torch.rsqrt(var.to(y.dtype) + norm.eps)
    normalised = (y - mean.to(y.dtype)) * scale
    return Slope(norm.weight.detach().to(y.dtype) * scale, normalised, norm.training)


def _drive(x: Tensor, slope: Slope, gather: Gather | None) -> Drive:
    if not slope.coupled:
        return Drive(x, slope.gain)
    assert slope.normalised is not None
    sums = torch.cat([x.sum(0, keepdim=True), slope.normalised.T @ x])
    count = float(len(x))
    if gather is not None:
        sums, count = gather(sums).sum(0), float(gather(x.new_tensor([count])).sum())
    means = sums / count
    return Drive(x - means[0], slope.gain, slope.normalised, means[1:])


def _partials(
    neuron: SteppedNeuron, x: Tensor, state: State | None, rows: Sequence[Tensor]
) -> list[list[Tensor | None]]:
    """∂(spike, *states)/∂(current, *states, *rows) of a step, [B, N] each; None for zeros."""
    kept = kept_of(state, x, *neuron.states)
    shape = x.shape[1:]
    with torch.enable_grad():
        given = [x[0].to(kept[0].dtype), *kept, *(row[0].expand(shape).to(kept[0].dtype) for row in rows)]
        leaves = [value.detach().requires_grad_() for value in given]
        spike, *after = neuron.equation()(*leaves)
        spike = emitted(spike[None], neuron.quantizer)[0]
        found: list[list[Tensor | None]] = []
        for value in (spike, *after):
            if not isinstance(value, Tensor) or not value.requires_grad:
                found.append([None] * len(leaves))
                continue
            derivatives = torch.autograd.grad(value.sum(), leaves, retain_graph=True, allow_unused=True)
            found.append([None if one is None else one.flatten(1) for one in derivatives])
    return found


def _times(factor: Tensor | None, other: Tensor) -> Tensor | None:
    return None if factor is None else factor * other


def _both(coefficient: Tensor | None, trace: Tensor | None) -> bool:
    return coefficient is not None and trace is not None


def _spread(value: Tensor, like: Tensor) -> Tensor:
    """[B, N] as [B, N, 1] where it meets traces of weights."""
    return value[..., None] if like.ndim > value.ndim else value


def _carry_on(layer: Layer) -> None:
    """e_t of a layer's last step, from e_{t-1} and what drove it."""
    if layer.waiting is None:
        return
    step, layer.waiting = layer.waiting, None
    states = len(step.by_state)
    for name, parameter in step.parameters.items():
        before = parameter.traces
        after: list[Tensor | None] = []
        for j in range(states):
            trace: Tensor | None = None
            for k, old in enumerate(before):
                factor = step.by_state[j][k]
                if factor is None or old is None:
                    continue
                if trace is None:
                    # In place where there is one state, which nothing else reads.
                    trace = old.mul_(_spread(factor, old)) if states == 1 else old * _spread(factor, old)
                else:
                    trace.addcmul_(_spread(factor, old), old)
            after.append(_driven(trace, parameter, step.by_current[j], j))
        layer.traces[name] = after


def _driven(trace: Tensor | None, parameter: Parameter, by_current: Tensor | None, state: int) -> Tensor | None:
    """A trace and what a step adds to it."""
    if isinstance(parameter.drive, Drive):
        return trace if by_current is None else parameter.drive.add_to(trace, by_current)
    if parameter.partials is not None:
        added = parameter.partials[1 + state]
    else:
        added = None if by_current is None or parameter.drive is None else by_current * parameter.drive
    if added is None or trace is None:
        return added if trace is None else trace
    return trace.add_(added)


def _bytes(parameters: dict[str, Parameter], states: int, batch: int, sources: Sequence[Source]) -> int:
    """Of the traces of a layer once they are kept."""
    size = 0
    for parameter in parameters.values():
        numbers = parameter.into.numel()
        if not isinstance(parameter.drive, Drive):
            numbers = sources[0].y.shape[2] if sources else numbers
        size += states * batch * numbers * _wide(parameter.into).itemsize
    return size


class _Past(torch.autograd.Function):
    """Spikes as they are; dL/dp of each parameter is Σ_b G·Σ_k (∂s/∂v_k)·e_k, by what is left of earlier steps."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, terms: Any, *into: Tensor) -> Tensor:
        ctx.terms, ctx.shapes = terms, [(one.shape, one.dtype) for one in into]
        ctx.shape = y.shape
        return y.view_as(y)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,) = grads
        found = []
        for terms, (shape, dtype) in zip(ctx.terms, ctx.shapes, strict=True):
            total: Tensor | None = None
            for coefficient, trace in terms:
                along = grad[0].flatten(1).to(trace.dtype) * coefficient
                if trace.ndim == 3:
                    one = torch.einsum("bo,boi->oi", along, trace).view(shape)
                elif len(shape) == 1 and len(shape) != len(ctx.shape):
                    one = (along * trace).sum(0)
                else:
                    # A row of the step, broadcastable to the spikes.
                    one = (along * trace).view(ctx.shape).sum_to_size(shape)
                total = one if total is None else total + one
            assert total is not None
            found.append(total.to(dtype))
        return grad, None, *found
