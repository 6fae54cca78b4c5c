"""Neurons defined by a single step function, which hdlif runs over time and traces into a program."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, get_args

import torch
from torch import Tensor

from hdlif.errors import EquationError
from hdlif.graph.equations import Program, trace
from hdlif.graph.equations.chunk_program import Levels
from hdlif.nn.fusion import Fusing, Path, can_be_fused, is_followed, shared_rows
from hdlif.nn.kernels.batch_norm import Rows
from hdlif.nn.kernels.chunk import FusedStep
from hdlif.nn.kernels.codes import CodedSpikes, Codes, channels_last, code_room
from hdlif.nn.per_step import StepValue
from hdlif.nn.spikes import SpikeQuantizer, emitted
from hdlif.nn.state import Neuron, State, check_chunk, check_stateless, kept_of, stack_steps, unstacked
from hdlif.nn.steps import carried

WORTH_STEPS, WORTH_ENTRIES = 4, 2**16
"""Steps, or neurons times steps, from which one fused call takes less time than single steps."""
Step = Callable[..., Any]
"""One time step of a neuron: (current, *states, *parameters) -> (spike, *states)."""


class SteppedNeuron(Neuron):
    """Base class for neuron layers that run `equation()` on (current, *states, *parameters) at each time step.

    All time steps use the same equation, but parameter values may differ between steps.

    Attributes:
        path: how a chunk is computed, see `choose_path`.
        states: the names of the states; all start at 0.
        quantizer: maps the step's output, 0 or more, to codes; the states use the unquantised output. None for neurons
            that emit 1 or 0.
    """

    states: tuple[str, ...] = ("potential",)
    quantizer: SpikeQuantizer | None
    path: Path | None = None

    def __init__(self, *, quantizer: SpikeQuantizer | None = None, path: Path | None = None) -> None:
        super().__init__()
        self.quantizer = quantizer
        self.choose_path(path)

    def choose_path(self, path: Path | None) -> None:
        """Choose how to compute chunks.

        Outputs do not depend on the choice, and gradients differ only by rounding errors.

        Args:
            path: "steps" runs the steps one by one under autograd. "fused" runs all steps in one compiled function on a
                CPU, whose backward pass follows the traced equation (`kernels.chunk`). It is faster, needs less memory
                with STBP, and has no second derivative. None chooses "fused" if the equation can be traced and runs
                unchanged, and the chunk has at least `WORTH_STEPS` steps or `WORTH_ENTRIES` neurons times steps. It
                chooses "steps" if the equation reads lists, mappings or objects of its module, which may change
                unnoticed. The steps also run one by one on a GPU, under a compiler, `torch.func` or forward-mode
                derivatives, and if parameters have a wider dtype than the states.
        Raises:
            ValueError: `path` is invalid, or "fused" although the class overrides how its equation runs.
        """
        if path not in (None, *get_args(Path)):
            raise ValueError(f"path = {path!r}; choose one of {', '.join(get_args(Path))}")
        if path == "fused" and not self.runs_its_equation():
            raise ValueError(
                f"path = {path!r} runs only the equation, but {type(self).__name__} has its own scan; choose steps"
            )
        self.path, self._fusing = path, Fusing()

    def fused_step(
        self, device: torch.device, steps: int, entries: int, *, cut: bool = False, normed: bool = False
    ) -> FusedStep | None:
        """Return the fused function for a chunk, or None if the steps of the chunk run one by one.

        Args:
            device: the device of the chunk.
            steps: K.
            entries: the number of neurons per step.
            cut, normed: as in `Fusing.step_of`.
        Raises:
            EquationError: `path` is "fused", and the equation has no program.
        """
        if not self.may_fuse(device, steps, entries):
            return None
        try:
            return self._fusing.step_of(self, cut=cut, normed=normed)
        except EquationError:
            if self.path is None:
                return None
            raise

    def may_fuse(self, device: torch.device, steps: int, entries: int) -> bool:
        """Return whether to try to fuse the steps of a chunk. Fusing also requires that the equation can be traced."""
        if device.type != "cpu":
            return False
        if self.path is not None:
            return self.path == "fused"
        is_worth_it = steps >= WORTH_STEPS or steps * entries >= WORTH_ENTRIES
        return is_worth_it and self.runs_its_equation() and is_followed(self.equation())

    def run_fused(
        self, current: Tensor, kept: list[Tensor], rows: Sequence[Tensor], steps: range, *, cut: bool = False
    ) -> tuple[Tensor, list[Tensor]] | None:
        """Run a chunk in a single fused function, or return None if the steps of the chunk must run one by one."""
        if not can_be_fused(kept, rows, current.dtype):
            return None
        fused = self.fused_step(current.device, len(steps), current[0].numel(), cut=cut)
        if fused is None:
            return None
        return fused(current, kept, fused.step.rows(shared_rows(rows)), steps=len(steps))

    def equation(self) -> Step:
        """Return the step function, which hdlif uses for training, accounting and deployment."""
        raise NotImplementedError

    def step_values(self) -> Mapping[str, StepValue]:
        """Return the parameters of the step by name, in the order of the step's arguments."""
        raise NotImplementedError

    def range_of(self, name: str) -> tuple[float, float]:
        """Return the open interval to which a parameter is restricted if the parameter is learned."""
        return self.step_values()[name].ends

    def learns(self, name: str) -> bool:
        """Return whether a parameter is learned."""
        return self.step_values()[name].learned

    def rows_at(self, steps: range, x: Tensor) -> list[Tensor]:
        """Return the step function's parameters at `steps`, broadcastable to the chunk x [K, B, ...]."""
        return [value.rows(steps, x) for value in self.step_values().values()]

    def row_values(self) -> dict[str, Tensor]:
        """Return the values of the step's parameters by name, [T or 1, C or 1] each, in float64."""
        with torch.no_grad():
            values = {name: value.values().double() for name, value in self.step_values().items()}
            return {name: value.reshape(len(value), -1) for name, value in values.items()}

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State | None]:
        check_chunk(x, steps)
        if not self.states:
            check_stateless(self, state)
        kept = kept_of(state, x, *self.states)
        dtype = kept[0].dtype if kept else torch.promote_types(x.dtype, torch.float32)
        current, rows = x.to(dtype), self.rows_at(steps, x)
        # The states before each step, if there is one step or the steps are cut from each other.
        before: Sequence[Tensor] = [state[None] for state in kept]
        is_cut = carried(steps).cut and self.cuts()
        found = None
        if self._can_run_fused(steps):
            found = self.run_fused(current, [one.detach() for one in kept] if is_cut else kept, rows, steps, cut=is_cut)
        if found is not None:
            spikes, kept = found
        else:
            current = current.expand(len(steps), *x.shape[1:])
            # The caller rejects neurons that cannot be cut, by name.
            if is_cut and len(steps) > 1:
                spikes, kept, before = self._cut(current, kept, rows, steps)
            else:
                spikes, kept = self._scanned(current, kept, rows, steps)
        after = dict(zip(self.states, kept, strict=True))
        emits = emitted(self.joined(spikes), self.quantizer, is_relu=self.emits_relu()).to(x.dtype)
        return self.observed(emits, x, before, steps, rows), after or None

    def runs_in_chains(self, device: torch.device, steps: int, entries: int) -> bool:
        """Return whether `run_in_chain` may replace the forward pass for these numbers of steps and neurons."""
        return (
            not torch.compiler.is_compiling()
            and self.may_fuse(device, steps, entries)
            and (self.quantizer is None or type(self.quantizer).forward is SpikeQuantizer.forward)
        )

    def run_in_chain(
        self, maps: Tensor, norm: Rows | None, state: State | None, steps: range, *, codes: bool
    ) -> tuple[Tensor | CodedSpikes, State | None] | None:
        """Run the steps of a chunk within `hdlif.nn.chain`.

        Args:
            maps: [K or 1, B, C, H, W] of float32.
            norm: rows still to apply to the maps, or None.
            codes: whether only the codes of quantised spikes are read.
        Returns:
            the output and state as in a forward pass; None if the kernels cannot run, or a spike is NaN.
        """
        check_chunk(maps, steps)
        if not self.states:
            check_stateless(self, state)
        kept, rows = kept_of(state, maps, *self.states), self.rows_at(steps, maps)
        if not can_be_fused(kept, rows, maps.dtype) or not self._can_run_fused(steps):
            return None
        is_cut, rows = carried(steps).cut and self.cuts(), shared_rows(rows)
        if is_cut:
            kept = [state.detach() for state in kept]
        fused = self.fused_step(maps.device, len(steps), maps[0].numel(), cut=is_cut, normed=norm is not None)
        if fused is None:
            return None
        if norm is not None:
            rows = [*norm, *rows]
        given = maps, kept, fused.step.rows(rows)
        spikes: Tensor | CodedSpikes
        levels = None if self.quantizer is None else self.quantizer.levels()
        if codes and levels is not None and not torch.is_grad_enabled():
            # `joined` affects only the gradient.
            found = self._coded(fused, given, steps, levels)
            if found is None:
                return None
            spikes, kept = found
        else:
            made = fused(*given, steps=len(steps))
            if made is None:
                return None
            surplus, kept = made
            surplus, is_relu = self.joined(surplus), self.emits_relu()
            if codes and self.quantizer is not None:
                spikes = self.quantizer.coded(surplus, is_relu=is_relu)
            else:
                spikes = emitted(surplus, self.quantizer, is_relu=is_relu)
        return spikes, dict(zip(self.states, kept, strict=True)) or None

    def _coded(
        self, fused: FusedStep, given: tuple[Tensor, list[Tensor], list[Any]], steps: range, levels: Levels
    ) -> tuple[CodedSpikes, list[Tensor]] | None:
        """Return the spikes as integer codes and the states after the chunk, or None if codes cannot be computed."""
        assert self.quantizer is not None
        sizes = (len(steps), *given[0].shape[1:])
        room = code_room(prod(sizes))
        found = fused.codes(*given, steps=len(steps), levels=levels, room=room)
        if found is None:
            return None
        place, after = found
        laid = channels_last(room, sizes, is_last=not place.is_plain)
        return CodedSpikes(Codes(laid, float(self.quantizer.step), int(levels.largest)), len(steps)), after

    def emits_relu(self) -> bool:
        """Return whether the quantiser's input is the output of a ReLU, which passes no gradient where the output is 0.

        If autograd is disabled, the result is always False, because gradients are not needed.
        """
        if self.quantizer is None or not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return False
        return self.runs_its_equation() and self._fusing.emits_relu(self)

    def _can_run_fused(self, steps: range) -> bool:
        """Return whether a chunk can be fused; if the temporal gradient is cut, this may be impossible."""
        return not carried(steps).cut or (
            self.cuts() and not any(observer.reads_states for observer in carried(steps).observers)
        )

    def observed(
        self, spikes: Tensor, x: Tensor, before: Sequence[Tensor], steps: range, rows: Sequence[Tensor]
    ) -> Tensor:
        """Pass a chunk's spikes through each observer of the pass by calling `Observer.emitted`."""
        for observer in carried(steps).observers:
            spikes = observer.emitted(self, spikes, x, before, steps, rows)
        return spikes

    def _scanned(
        self, current: Tensor, kept: list[Tensor], rows: Sequence[Tensor], steps: range
    ) -> tuple[Tensor, list[Tensor]]:
        """Compute a chunk step by step, and return the spikes and the states after the chunk."""
        spikes = []
        # Split in one call: each derivative of current[k] would allocate zeros for all K steps.
        of_steps = (unstacked(current), *(unstacked(values) for values in rows))
        for t, arriving, *of_step in zip(steps, *of_steps, strict=True):
            spike, *kept = self.stepped(t, steps, arriving, *kept, *of_step)
            spikes.append(spike)
        return stack_steps(spikes), kept

    def _cut(
        self, current: Tensor, kept: list[Tensor], rows: Sequence[Tensor], steps: range
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Compute a chunk, treating the states before each step as constants. Also return these states, [K, B, ...].

        All states are computed first, and then the spikes of all steps are computed in one call.
        """
        spikes, before, kept = list[Tensor](), list[Sequence[Tensor]](), [state.detach() for state in kept]
        learns = torch.is_grad_enabled()
        # A step may return an argument as a state, which would have a graph.
        of_steps = (values.detach().unbind() for values in (current, *rows))
        with torch.no_grad():
            for t, arriving, *of_step in zip(steps, *of_steps, strict=True):
                before.append(kept)
                spike, *kept = self.stepped(t, steps, arriving, *kept, *of_step)
                if not learns:
                    spikes.append(spike)
        states = [torch.stack(of_state) for of_state in zip(*before, strict=True)]
        if not learns:
            return stack_steps(spikes), kept, states
        with_graph, *_ = self.stepped(steps.start, steps, current, *states, *rows)
        return with_graph, kept, states

    def cuts(self) -> bool:
        return self.runs_its_equation()

    def joined(self, spikes: Tensor) -> Tensor:
        """Return the spikes of a chunk [K, B, ...] for quantisation.

        Derived classes may override `joined` to change the gradient.
        """
        return spikes

    def stepped(self, t: int, steps: range, *given: Tensor) -> Any:
        """Return the result of the equation at time step t; `steps` carries the settings of the pass."""
        return self.equation()(*given)

    @classmethod
    def runs_its_equation(cls) -> bool:
        """Return whether the class runs the equation with hdlif's own loop over time, without overridden methods."""
        scan = (cls.forward, cls.stepped, cls.joined, cls.rows_at)
        return all(part.__module__.startswith(f"{__package__}.") for part in scan)

    def program(self) -> Program:
        """Return the step as a program, traced with the current parameters."""
        return self.traced()[0]

    def traced(self, rows: Mapping[str, Any] | None = None) -> tuple[Program, dict[str, Any]]:
        """Return the traced program and the values of its parameters, [T or 1, C or 1] each.

        Args:
            rows: replace `row_values()`.
        Raises:
            EquationError: the step uses an operation that programs do not support; the message begins with file and
                line.
        """
        return trace(self.equation(), states=self.states, rows=self.row_values() if rows is None else rows)
