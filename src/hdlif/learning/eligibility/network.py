"""An observer that computes the eligibilities of all layers of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast
from weakref import ReferenceType, ref

import torch
from torch import Tensor, nn

from hdlif.errors import TrainingError
from hdlif.learning.eligibility.derivatives import derivatives_of, led_back
from hdlif.learning.eligibility.drives import (
    Drive,
    Slope,
    Source,
    diagonal_of,
    drive_of,
    is_matrix,
    of_steps,
    slope_of,
    weight_of,
    wide,
)
from hdlif.learning.eligibility.layer import Layer, Past, Pending, carry_on
from hdlif.learning.paths import unwrapped
from hdlif.nn import Neuron, Scope, SteppedNeuron
from hdlif.nn.norm import Affine, BatchNorm2d
from hdlif.nn.steps import Observer, carried

WayBack = Literal["diagonal", "eprop"]
"""Recurrent part of a recurrent layer's eligibility: "diagonal" is each neuron's connection to itself
(SnAp-1, Menick et al., ICLR 2021), and "eprop" is no recurrent part (Bellec et al. 2020)."""


class Eligibility(Observer):
    """An observer that keeps the eligibilities of all layers of a network between the steps of one sequence.

    Each observed forward pass runs one step, or several steps with the gradient cut between them (`Pass.cut`).
    Back-propagate the losses of a forward pass before the next forward pass.

    Args:
        model: the network, for module names in errors.
        way_back: recurrent part of the eligibilities, see `WayBack`.
        budget: largest size of all traces in bytes.
    """

    reads_states = True

    def __init__(self, model: nn.Module, *, way_back: WayBack = "diagonal", budget: int) -> None:
        self._names = {module: name for name, module in unwrapped(model).named_modules()}
        self._way_back, self._budget = way_back, budget
        self._layers: dict[nn.Module, Layer] = {}
        self._sources: dict[int, tuple[Tensor, tuple[Source, ...]]] = {}
        self._arriving: dict[nn.Module, tuple[Source, ...] | None] = {}
        self._givers: dict[int, tuple[ReferenceType[Tensor], nn.Module]] = {}
        self._given_by: dict[nn.Module, nn.Module | None] = {}
        self._back: dict[nn.Module, nn.Module] = {}
        self._averages: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        self._restored: dict[str, Tensor] = {}
        self._at = -1

    def before(self, scope: Scope, name: str, child: nn.Module, x: Tensor) -> Tensor:
        self._begin(scope.steps.start)
        if isinstance(child, Neuron):
            found = self._sources.get(id(x))
            self._arriving[child] = None if found is None else found[1]
            self._given_by[child] = self._giver(x)
        return x

    def after(self, scope: Scope, name: str, child: nn.Module, x: Tensor, y: Tensor, state: Any) -> Tensor:
        if self._giver(y) is None:
            # After a norm, use the norm's own source.
            behind = self._giver(x) if isinstance(child, BatchNorm2d | Affine) else None
            self._givers[id(y)] = ref(y), child if behind is None else behind
        if isinstance(child, BatchNorm2d | Affine):
            before = self._sources.get(id(x), (x, ()))[1]
            if len(before) == 1 and before[0].norm is None:
                source = before[0]
                self._note(y, (Source(source.synapse, source.x, source.y, child),))
        elif is_matrix(child, x):
            self._note(y, (Source(child, x, y),))
        return y

    def joined(self, total: Tensor, parts: Sequence[Tensor], neuron: nn.Module, back: nn.Module) -> None:
        found = [self._sources.get(id(part)) for part in parts]
        if None not in found:
            self._note(total, tuple(source for one in found if one is not None for source in one[1]))
        self._back[neuron] = back

    def normalised(self, norm: nn.Module, mean: Tensor, var: Tensor) -> None:
        self._averages[norm] = mean, var

    def _begin(self, step: int) -> None:
        """Forget the outputs of the previous step."""
        if step != self._at:
            self._at = step
            self._sources.clear()
            self._arriving.clear()
            self._givers.clear()
            self._given_by.clear()

    def _note(self, value: Tensor, sources: tuple[Source, ...]) -> None:
        # Keep the tensor, so no other tensor gets its id.
        self._sources[id(value)] = value, sources

    def _giver(self, value: Tensor) -> nn.Module | None:
        """Return the first child that returned this value in the current step, if any."""
        found = self._givers.get(id(value))
        return None if found is None or found[0]() is not value else found[1]

    @property
    def bytes(self) -> dict[str, int]:
        """Return the size in bytes of the traces of each layer that has run."""
        return {self._names.get(neuron, type(neuron).__name__): layer.bytes for neuron, layer in self._layers.items()}

    def tensors(self) -> dict[str, Tensor]:
        """Return the eligibilities after the last step, by layer, kind and state."""
        found: dict[str, Tensor] = {}
        for neuron, layer in self._layers.items():
            with torch.no_grad():
                carry_on(layer)
            for of, matrix in enumerate(layer.matrices):
                found |= {f"{self._names[neuron]}.weight.{of}.{k}": e for k, e in enumerate(matrix) if e is not None}
            found |= {f"{self._names[neuron]}.vector.{k}": e for k, e in enumerate(layer.vectors) if e is not None}
        return found

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the eligibility traces that `tensors` returned."""
        self._restored = dict(tensors)

    def _layer(self, neuron: SteppedNeuron, steps: range, x: Tensor) -> Layer:
        """Create a layer's traces at the first step, and use restored tensors if there are any."""
        layer = Layer(_learned_and_shared(neuron, steps, x))
        name, states = self._names.get(neuron, ""), len(neuron.states) + self._leads_back(neuron)
        # Remove them: the layer owns them from now on.
        keys = [key for key in self._restored if key.startswith(f"{name}.")]
        own = {key.removeprefix(f"{name}."): self._restored.pop(key) for key in keys}
        matrices = {key.split(".")[1] for key in own if key.startswith("weight.")}
        layer.matrices = [[own.get(f"weight.{of}.{k}") for k in range(states)] for of in sorted(matrices, key=int)]
        if any(key.startswith("vector.") for key in own):
            layer.vectors = [own.get(f"vector.{k}") for k in range(states)]
        return layer

    def _leads_back(self, neuron: nn.Module) -> bool:
        """Return whether the spike of a layer is an additional state."""
        return neuron in self._back and self._way_back == "diagonal"

    def check(self, state: Any = None) -> None:
        self.check_budget()

    def check_budget(self, times: int = 1) -> None:
        """Raise `TrainingError` if the size of all layers' traces, multiplied by `times`, exceeds the budget."""
        sizes = {name: times * size for name, size in self.bytes.items()}
        if (total := sum(sizes.values())) > self._budget:
            most = sorted(sizes.items(), key=lambda item: -item[1])[:3]
            listed = ", ".join(f"{name} {_in_words(size)}" for name, size in most)
            more = f" and {len(sizes) - 3} more" if len(sizes) > 3 else ""
            raise TrainingError(
                f"forward mode needs {_in_words(total)} of traces, one number per sample, synapse and state "
                f"({listed}{more}), but its budget is {_in_words(self._budget)}; set rule.budget to {total} bytes or "
                "more, use a smaller batch or smaller layers, or a rule with smaller traces (ottt) or none (sltt)"
            )

    def emitted(
        self,
        neuron: SteppedNeuron,
        y: Tensor,
        x: Tensor,
        before: Sequence[Tensor],
        steps: range,
        rows: Sequence[Tensor],
    ) -> Tensor:
        """Return the spikes y [K, B, N, ...] of K steps, whose gradient also covers the layer's past steps.

        Args:
            x: the currents, [K or 1, B, N, ...].
            before: the states before each step.
            rows: the parameters of the steps.
        Raises:
            TrainingError: the layer has no eligibility.
        """
        if not neuron.states and not self._leads_back(neuron):
            return y
        if torch.compiler.is_compiling():
            raise TrainingError("forward mode does not support torch.compile; set training.compile: false")
        sources = self._checked(neuron, y, steps)
        if (layer := self._layers.get(neuron)) is None:
            layer = self._layers[neuron] = self._layer(neuron, steps, x)
        spike, *after = derivatives_of(neuron, x.expand(y.shape), before, rows)
        with torch.no_grad():
            carry_on(layer)
            if self._leads_back(neuron):
                spike, *after = led_back(spike, after, diagonal_of(self._back[neuron], steps).to(x.dtype))
            drives, vectors, into = self._drives(sources, steps)
        # Shared by all steps: any of them may receive the gradient.
        into += [rows[place][:1] for place in layer.rows]
        layer.waiting = Pending(after, drives, [*vectors, *layer.rows])
        if not layer.bytes:
            numbers = sum(drive.x.shape[2] for drive in drives) + len(layer.waiting.vectors)
            layer.bytes = len(after) * y[0].numel() * numbers * wide(x).itemsize
        if not torch.is_grad_enabled() or not any(one.requires_grad for one in into):
            return y
        return cast(Tensor, Past.apply(y, spike.by_state, layer, *into))  # type: ignore[no-untyped-call]

    def _checked(self, neuron: SteppedNeuron, y: Tensor, steps: range) -> tuple[Source, ...]:
        """Return the sources of a neuron layer's input in this step.

        Raises:
            TrainingError: forward mode does not support the layer.
        """
        name = self._names.get(neuron, type(neuron).__name__)
        if len(steps) != 1 and not carried(steps).cut:
            raise TrainingError(
                f"{name}: forward mode runs one time step at a time, or several that are cut from each other, but it "
                f"got {len(steps)} that are not"
            )
        if carried(steps).cut and neuron in self._back:
            raise TrainingError(
                f"{name}: a recurrent layer reads its output of the previous step, so forward mode must run its "
                "steps one by one; set rule.chunk to 1"
            )
        if getattr(neuron, "norm", None) is not None:
            raise TrainingError(
                f"{name}: Mem-BN couples the membranes of a batch, so forward mode has no separate traces per sample; "
                "remove neuron.mem_bn, or choose another rule"
            )
        sources = self._arriving.get(neuron)
        if sources is None:
            raise TrainingError(
                f"{name} is fed by {self._described(self._given_by.get(neuron))}: forward mode supports only fully "
                "connected layers and convolutions of kernel 1, followed by at most a batch norm or a gain and shift "
                "(model.kind dense, recurrent or conv1d); choose another rule, such as stochastic_window"
            )
        for source in sources:
            where = self._names.get(source.synapse, type(source.synapse).__name__)
            if source.y[0, 0].numel() != source.y.shape[2]:
                raise TrainingError(
                    f"{where} gives maps of {list(source.y.shape[3:])}: forward mode would keep a trace for every "
                    "position of every weight; choose another rule, such as stochastic_window"
                )
        return sources

    def _described(self, giver: nn.Module | None) -> str:
        """Describe the module that provides a neuron layer's input."""
        if giver is None:
            return "a value that does not come from a layer run by name in a hdlif.nn.Scope or Sequential"
        kernel = getattr(giver, "kernel_size", None)
        of = f", kernel {'×'.join(map(str, kernel))}" if isinstance(kernel, tuple) else ""
        return f"{self._names.get(giver, type(giver).__name__)} ({type(giver).__name__}{of})"

    def _drives(self, sources: Sequence[Source], steps: range) -> tuple[list[Drive], list[Tensor | int], list[Tensor]]:
        """Return dI/dW of the weights, dI/dp of other parameters, and all parameters that receive gradients."""
        gather = carried(steps).gather
        drives: list[Drive] = []
        weights: list[Tensor] = []
        vectors: list[tuple[Tensor, Tensor]] = []
        for source in sources:
            synapse, norm = source.synapse, source.norm
            x, y = (of_steps(value, steps) for value in (source.x, source.y))
            slope = Slope() if norm is None else slope_of(norm, y, steps, gather, self._averages.get(norm))
            weight = weight_of(synapse, steps)
            if weight.requires_grad:
                drives.append(drive_of(x, slope, gather))
                weights.append(weight)
            # A bias before batch statistics has no effect.
            if (bias := cast("Tensor | None", synapse.bias)) is not None and not slope.coupled:
                ones = torch.ones_like(y)
                vectors.append((bias, ones if slope.gain is None else ones * slope.gain))
            if norm is not None:
                assert slope.normalised is not None
                vectors += [(norm.weight, slope.normalised), (norm.bias, torch.ones_like(y))]
        learned = [(into, driven) for into, driven in vectors if into.requires_grad]
        return drives, [driven for _, driven in learned], [*weights, *(into for into, _ in learned)]


def _learned_and_shared(neuron: SteppedNeuron, steps: range, x: Tensor) -> list[int]:
    """Return the indices of the learned parameter rows that all steps share."""
    with torch.enable_grad():
        learned = [row.requires_grad for row in neuron.rows_at(steps, x)]
    shared = [len(values) == 1 for values in neuron.row_values().values()]
    return [place for place, both in enumerate(zip(learned, shared, strict=True)) if all(both)]


def _in_words(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size:,} bytes"
