"""Run chunks of a neuron's steps forward and backward with the compiled kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from hdlif.errors import EquationError
from hdlif.functional.once import once_differentiable
from hdlif.graph.equations import Needs, Saving, Value, WrittenStep
from hdlif.graph.equations.chunk_program import Levels, StreamEncoding
from hdlif.nn.kernels.chunk.places import Place
from hdlif.nn.kernels.chunk.plan import Plan, Rows
from hdlif.nn.kernels.tensors import is_plain, is_watched


class FusedStep:
    """A callable that runs chunks of a neuron's steps with the compiled kernels.

    Args:
        step: the traced step.
        instruction_set: instruction set of the kernels; "" takes the best one of this machine.
    """

    def __init__(self, step: WrittenStep, instruction_set: str = "") -> None:
        self.step, self.instruction_set = step, instruction_set
        self._plans: dict[tuple[Needs, bool], Plan | None] = {}

    def __reduce__(self) -> tuple[type[FusedStep], tuple[WrittenStep, str]]:
        # A copy compiles its programs again.
        return FusedStep, (self.step, self.instruction_set)

    def __call__(
        self, current: Tensor, states: Sequence[Tensor], rows: Sequence[Any], *, steps: int
    ) -> tuple[Tensor, list[Tensor]] | None:
        """Run K steps.

        Args:
            current: [K, B, ...], or [1, B, ...] if it is the same at all steps.
            states: the states before the chunk, [B, ...], in the dtype of the current.
            rows: the result of `WrittenStep.rows`: numbers, or tensors broadcastable to the chunk, with K rows or one
                and no wider dtype.
            steps: K.
        Returns:
            spikes [K, B, ...] and the states after the chunk; None if the kernels cannot run the chunk.
        """
        given = (current, *states, *rows)
        learns = torch.is_grad_enabled()
        asked = [learns and isinstance(one, Tensor) and one.requires_grad for one in given]
        plan = self._plan(given, asked, len(states), steps)
        if plan is None:
            return None
        if any(asked):
            spikes, *after = _Chunk.apply(plan, steps, *given)  # type: ignore[no-untyped-call]
            return spikes, after
        chunk = _Forward(plan, given, steps, saves=False)
        return chunk.spikes, chunk.after

    def codes(
        self,
        current: Tensor,
        states: Sequence[Tensor],
        rows: Sequence[Any],
        *,
        steps: int,
        levels: Levels,
        room: Tensor,
    ) -> tuple[Place, list[Tensor]] | None:
        """Run K steps without a graph, and write integer codes in place of spikes.

        Args:
            current, states, rows, steps: as in a call.
            room: uint8, filled with the codes, step after step.
        Returns:
            the memory order of a step's codes, and the states after the chunk; None if the kernels cannot run the
            chunk, or if a spike is negative or NaN.
        """
        given = (current, *states, *rows)
        plan = self._plan(given, [False] * len(given), len(states), steps)
        if plan is None:
            return None
        place, dtype = Place.of(current), current.dtype
        after = [place.empty(dtype=dtype) for _ in states]
        have_codes = plan.run_forward(
            _laid(current, place),
            [place.laid(one[None]) for one in states],
            Rows(rows, place, dtype),
            place,
            steps,
            spikes=room,
            after=after,
            computed={},
            levels=levels,
        )
        return (place, after) if have_codes else None

    def _plan(self, given: tuple[Any, ...], asked: list[bool], states: int, steps: int) -> Plan | None:
        """Return the plan for a chunk, which is shared by all chunks with the same required gradients."""
        count = 1 + states
        if not _are_readable(given[0], given[1:count], given[count:]):
            return None
        needs = Needs(asked[0], tuple(asked[1:count]), tuple(asked[count:]))
        key = needs, steps == 1
        if key not in self._plans:
            try:
                self._plans[key] = Plan(Saving(self.step, needs, steps == 1), self.instruction_set)
            except EquationError:
                self._plans[key] = None
        return self._plans[key]


def _are_readable(current: Tensor, states: Sequence[Tensor], rows: Sequence[Any]) -> bool:
    """Return whether the kernels can read the tensors of a chunk.

    The tensors must be plain, non-empty float32 or float64 tensors in CPU memory. States must match the current in
    dtype and shape, and each row must follow the pattern of `Place.columns`.
    """
    device, dtype = current.device, current.dtype
    if not current.is_cpu or dtype not in (torch.float32, torch.float64) or not is_plain(current, device):
        return False
    place, sizes = Place.of(current), current.shape[1:]
    if is_watched() or not place.entries:
        return False
    if not all(is_plain(state, device) and state.dtype == dtype and state.shape == sizes for state in states):
        return False
    return all(
        not isinstance(row, Tensor) or (is_plain(row, device) and place.columns(row) is not None) for row in rows
    )


class _Forward:
    """The forward pass of a chunk.

    Args:
        given: current, states and rows.
        saves: whether to save the values that the backward pass reads.
    Attributes:
        place: the memory order of the neurons.
        spikes, after: the spikes, and the states after the chunk.
        saved: a tensor for each of the plan's slots.
    """

    def __init__(self, plan: Plan, given: Sequence[Any], steps: int, *, saves: bool) -> None:
        program = plan.saving.program
        current, *others = given
        place, dtype = Place.of(current), current.dtype
        self.place = place
        count = len(program.states)
        current = _laid(current, place)
        states = [place.laid(one.detach()[None]) for one in others[:count]]
        self.spikes = place.empty(steps, dtype=dtype)
        self.after = [place.empty(dtype=dtype) for _ in program.states]
        self.saved: list[Tensor] = []
        computed: dict[Value, Tensor] = {}
        if saves:
            slots = plan.slots(steps)
            for source, encoding, number in zip(slots.found, slots.encodings, slots.counts, strict=True):
                if source.place == "current":
                    self.saved.append(current)
                elif source.place == "before":
                    self.saved.append(states[source.value.register - 1])
                elif source.value not in plan.outputs:
                    self.saved.append(place.laid(self.spikes))
                else:
                    computed[source.value] = _empty(encoding, number, place.entries, dtype)
                    self.saved.append(computed[source.value])
        rows = Rows(others[count:], place, dtype)
        plan.run_forward(current, states, rows, place, steps, spikes=self.spikes, after=self.after, computed=computed)


class _Chunk(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: Plan, steps: int, *given: Any) -> tuple[Tensor, ...]:
        chunk = _Forward(plan, given, steps, saves=True)
        ctx.adds_currents = given[0].shape[0] < steps
        made = plan.backward(adds_currents=ctx.adds_currents) if plan.saving.live else None
        rows = [given[row] for row in made.rows] if made else []
        ctx.save_for_backward(*chunk.saved, *(row for row in rows if isinstance(row, Tensor)))
        ctx.rows = [None if isinstance(row, Tensor) else row for row in rows]
        ctx.plan, ctx.steps, ctx.place = plan, steps, chunk.place
        ctx.dtype = given[0].dtype
        ctx.set_materialize_grads(False)
        results = (chunk.spikes, *chunk.after)
        if plan.saving.constant:
            ctx.mark_non_differentiable(*(results[place] for place in plan.saving.constant))
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        plan: Plan = ctx.plan
        place: Place = ctx.place
        saving, steps, dtype = plan.saving, ctx.steps, ctx.dtype
        program, slots = saving.program, plan.slots(steps)
        made = plan.backward(adds_currents=ctx.adds_currents)
        # Read them once: hooks unpack them at every access.
        unpacked = ctx.saved_tensors
        saved = [one.contiguous() for one in unpacked[: len(slots.found)]]
        tensors = iter(unpacked[len(slots.found) :])
        given = [next(tensors) if number is None else number for number in ctx.rows]

        spikes, *after = (None if one is None else _plain(one, dtype) for one in gradients)
        current = None
        if saving.needs.current and 0 in saving.live:
            current = place.empty(1 if ctx.adds_currents else steps, dtype=dtype)
        states = [place.empty(dtype=dtype) if need else None for need in saving.needs.states]
        sums = plan.run_backward(
            None if spikes is None else _laid(spikes, place),
            [None if one is None else place.laid(one[None]) for one in after],
            saved,
            [
                {slot: _slope(surrogate, saved[slot], place) for slot, _ in slots.parts[i]}
                for surrogate, i in made.surrogates
            ],
            Rows(given, place, dtype),
            place,
            steps,
            dtype,
            adds_currents=ctx.adds_currents,
            current=current,
            states=states,
        )
        of_rows: list[Tensor | None] = [None] * len(program.rows)
        for row, total in zip(made.summed, sums, strict=True):
            of_rows[row - 1 - len(program.states)] = place.unaligned(total, given[made.rows.index(row)])
        return None, None, current, *states, *of_rows


def _plain(gradient: Tensor, dtype: torch.dtype) -> Tensor | None:
    """Return the gradient as an ordinary tensor, or None if the gradient is known to be 0.

    Raises:
        RuntimeError: the gradient is a batch of gradients.
    """
    functorch = torch._C._functorch
    if functorch.is_functorch_wrapped_tensor(gradient) or functorch.is_legacy_batchedtensor(gradient):
        raise RuntimeError(
            "the fused kernel of a neuron does not support batched gradients (is_grads_batched, vmap or a vectorised "
            'Jacobian); compute the steps one by one (path="steps")'
        )
    if gradient._is_zerotensor():
        return None
    return gradient.detach().resolve_neg().to(dtype)


def _slope(surrogate: Callable[[Tensor], Tensor], argument: Tensor, place: Place) -> Tensor:
    """Return the surrogate derivative at each entry of the argument, in memory order."""
    rows = place.seen(argument.view(-1, *place.shape))
    return place.laid(surrogate(rows).to(rows.dtype).expand(rows.shape))


def _laid(chunk: Tensor, place: Place) -> Tensor:
    """Return a chunk [K, B, ...] in memory order, or [1, B, ...] if all steps are the same."""
    chunk = chunk.detach()
    return place.laid(chunk[:1] if chunk.shape[0] > 1 and chunk.stride(0) == 0 else chunk)


def _empty(encoding: StreamEncoding, rows: int, entries: int, dtype: torch.dtype) -> Tensor:
    """Return an uninitialised tensor for saved rows."""
    if encoding == "bits":
        make = torch.empty if entries % 8 == 0 else torch.zeros
        return make(-(-rows * entries // 8), dtype=torch.uint8, device="cpu")
    return torch.empty(rows * entries, dtype=torch.int8 if encoding == "bytes" else dtype, device="cpu")
