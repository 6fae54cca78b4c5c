"""Explicit state: a nested dict keyed by module names, which `hdlif.nn.Scope` passes from chunk to chunk.

A temporal module maps `(x, state, steps)` to `(y, state)`. `x` is a chunk of consecutive time steps [K, B, ...] with K
= len(steps), or [1, B, ...] for the same input at every step. Before the first step, `state` is None. The result for
one chunk of K steps equals the result for K successive chunks of one step each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from hdlif.errors import ResetError, ShapeError, StateError
from hdlif.nn.steps import State as State
from hdlif.nn.steps import Steps, are_traced, with_traced_steps

Paths = Sequence[Sequence[str]]
Reads = Mapping[str, Sequence[str]]


class Temporal(nn.Module):
    """Base class for temporal modules: `forward(x, state, steps) -> (y, state)`.

    x is a chunk of consecutive steps [K, B, ...] with K = len(steps), or [1, B, ...] for the same input at each step.
    The state is a nested mapping of tensors, or None before the first step and for modules without state. The result
    for one chunk of K steps must equal the result for K successive chunks of one step each. To run your module's
    children, use `Scope`.
    """

    @property
    def paths(self) -> Paths | None:
        """Return the paths from x to y through the child modules.

        Trace-based rules use these paths to find the inputs of neurons. Each path lists the names of children in the
        order of data flow. The path () denotes the addition of the unchanged x to y. A path (synapse, neuron) denotes a
        recurrent synapse, which does not read x. If several children of your block contain synapses or neurons, define
        `paths` as a class attribute or property:

        >>> paths = (("act1", "conv1", "act2", "conv2"), ("shortcut",))
        """
        return None

    @property
    def reads(self) -> Reads | None:
        """Return the inputs of each child, as a shorter alternative to `paths` for modules with many paths.

        The keys are the names of the children in execution order, followed by "" for y. Each value lists the names of
        children whose outputs are the inputs, or "" for x. For the example in `paths`, the inputs are:

        >>> reads = {"act1": [""], "conv1": ["act1"], "act2": ["conv1"], "conv2": ["act2"], "shortcut": [""],
        ...          "": ["conv2", "shortcut"]}
        """
        return None

    def cuts(self) -> bool:
        """Return whether a stateful module can truncate the temporal gradient within a chunk.

        If `Pass.cut` is set for a pass, the module treats states from earlier steps of the chunk as constants. The
        gradient then equals the gradient of separate one-step chunks with detached states. You need not define `cuts`
        for a module that keeps no state of its own and runs its children through `Scope`.
        """
        return False

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if len(arguments) < 2:
            named.setdefault("state", None)
        if len(arguments) < 3 and named.get("steps") is None:
            named["steps"] = _steps_of_call(self, arguments, named)
        # Do not read the range here: each range would get a graph of its own.
        if torch.compiler.is_dynamo_compiling():
            arguments, named = with_traced_steps(arguments, named)
        output = nn.Module.__call__(self, *arguments, **named)
        for steps in (*arguments, *named.values()):
            if isinstance(steps, Steps) and self in steps.carried.measures:
                # The input comes first; Scope takes the measures of the children that it runs.
                steps.carried.measures[self].take(arguments[0] if arguments else named["x"], output[0])
        return output

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State | None]:
        raise NotImplementedError

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name == "reset":
                raise ResetError(
                    f"{type(self).__name__} has no state to reset: model(x) starts a new sequence, and "
                    "model(x, state, steps=...) continues one"
                )
            return super().__getattr__(name)


def _steps_of_call(module: nn.Module, arguments: Sequence[Any], named: Mapping[str, Any]) -> range | None:
    """Return the range of time steps in x if `steps` is omitted. Raise `StateError` if the module has fewer."""
    x = arguments[0] if arguments else named.get("x")
    if not isinstance(x, Tensor):
        return None
    steps = steps_of(x, arguments[1] if len(arguments) > 1 else named["state"], None)
    made_for: list[Any] = [
        one.time_steps for one in module.modules() if isinstance(getattr(one, "time_steps", None), int)
    ]
    if made_for and len(steps) > max(made_for):
        raise StateError(
            f"input has shape {list(x.shape)}, which is {len(steps)} time steps, but {type(module).__name__} was made "
            f"for {max(made_for)}; if x has no time axis, give model(x[None], steps=range({max(made_for)})); "
            f"otherwise steps=range({len(steps)})"
        )
    return steps


class Neuron(Temporal):
    """Base class for neuron layers, which map currents [K, B, ...] or [1, B, ...] to spikes [K, B, ...].

    Observers of a network use this base class to find neuron layers of any type.

    Attributes:
        accumulates: whether a membrane carries past currents on.
        fires: whether the outputs are spikes. If not, for example in an equation that only scales a network's input,
            the layer is not counted, plotted or regularised as a neuron layer.
    """

    accumulates: ClassVar[bool] = True
    fires: ClassVar[bool] = True


def entries_of(state: object, of: str) -> State:
    """Return the entries of a state, or {} if the state is None; raise `StateError` if it is not a mapping."""
    if state is None:
        return {}
    if not isinstance(state, Mapping):
        raise StateError(
            f"state of {of} is a {type(state).__name__}; it must be a mapping, as the module returned it, or None"
        )
    return state


def check_stateless(module: nn.Module, state: State | None) -> None:
    """Raise `StateError` if a state is passed to a module without state."""
    name = type(module).__name__
    if entries := entries_of(state, name):
        raise StateError(
            f"state of {name} has {', '.join(sorted(map(repr, entries)))}, but a {name} keeps none; "
            "a state belongs to the module that returned it"
        )


def check_steps(steps: range) -> None:
    """Raise `StateError` unless `steps` is a non-empty range of consecutive steps that starts at 0 or later."""
    if are_traced(steps):
        return
    given: object = steps
    times = given.times if isinstance(given, Steps) else given
    if not isinstance(times, range) or len(times) == 0 or times.step != 1 or times.start < 0:
        raise StateError(f"steps = {steps!r}; it must be a range of consecutive time steps, such as range(4)")


def steps_of(x: Tensor, state: State | None, steps: range | None) -> range:
    """Return `steps`; if omitted, return range(K), provided that the chunk x has K > 1 frames and starts a sequence.

    Raises:
        StateError: the steps are not a range of consecutive steps, or are omitted but x does not determine them.
    """
    if steps is None:
        if state is not None:
            raise StateError("give the time steps that continue this state: steps=range(t, t + K)")
        frames = x.shape[0] if x.ndim else 0
        if frames == 1:
            raise StateError(
                f"input has shape {list(x.shape)}: one frame, which may be one time step or an input constant in "
                "time; give the number of steps it stands for: steps=range(1), or steps=range(T)"
            )
        steps = range(frames)
    check_steps(steps)
    return steps


def check_chunk(x: Tensor, steps: range) -> None:
    """Raise `ShapeError` unless the time axis of `x` has length len(steps), or length 1 for a constant input."""
    if x.ndim < 2 or x.shape[0] not in (1, len(steps)):
        raise ShapeError(
            f"input has shape {list(x.shape)} for {len(steps)} time steps; it must be [{len(steps)}, batch, ...], "
            "or [1, batch, ...] for an input constant in time: if x has no time axis, give x[None]"
        )


def check_entry(name: str, value: Tensor, x: Tensor) -> None:
    """Raise `ShapeError` unless an entry of a state has the shape of one step of x [K, ...]."""
    if value.shape != x.shape[1:]:
        raise ShapeError(
            f"{name} has shape {list(value.shape)}, but the input of this step {list(x.shape[1:])}; a new batch "
            "starts with state=None"
        )


def potential_of(state: State | None, x: Tensor) -> Tensor:
    """Return the potential of a neuron whose state contains nothing else; see `kept_of`."""
    return kept_of(state, x, "potential")[0]


def kept_of(state: State | None, x: Tensor, *names: str) -> list[Tensor]:
    """Return the named states, or zeros if `state` is None, each float32 or wider and shaped like `x[0]`.

    Raises:
        StateError: the state has other entries.
        ShapeError: a state belongs to another batch.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    if state is None:
        # Use the memory layout of x.
        return [torch.zeros_like(x[0], dtype=dtype) for _ in names]
    entries, count = entries_of(state, "a neuron"), "one tensor" if len(names) == 1 else f"{len(names)} tensors"
    kept = []
    for name in names:
        value = entries.get(name)
        if len(entries) != len(names) or not isinstance(value, Tensor) or not value.is_floating_point():
            seen = ", ".join(f"{key!r}: {_kind(one)}" for key, one in entries.items())
            raise StateError(
                f"state of a neuron has {{{seen}}}; it must be {count}, {' and '.join(map(repr, names))}, "
                "of floating point"
            )
        check_entry(name, value, x)
        kept.append(value.to(torch.promote_types(value.dtype, dtype)))
    return kept


def _kind(value: object) -> str:
    return str(value.dtype).removeprefix("torch.") if isinstance(value, Tensor) else type(value).__name__


def detach(state: State | None) -> State | None:
    """Return a copy of `state` with its tensors detached from the autograd graph, which cuts the gradient through time.

    >>> import torch
    >>> from hdlif.nn import HDLIF, detach
    >>> _, state = HDLIF(time_steps=2)(torch.rand(2, 1, 3), None, range(2))
    >>> state["potential"].requires_grad, detach(state)["potential"].requires_grad
    (True, False)
    """
    if state is None:
        return None
    entries = entries_of(state, "a module")
    return {k: v.detach() if isinstance(v, Tensor) else detach(v) or {} for k, v in entries.items()}


def unstacked(values: Tensor) -> Sequence[Tensor]:
    """Split values [K, ...] into one tensor per step. If K = 1, the gradient is a view, not a copy."""
    return [values.squeeze(0)] if len(values) == 1 else values.unbind()


def stack_steps(steps: Sequence[Tensor]) -> Tensor:
    """Stack one tensor [B, ...] per step into a tensor [K, B, ...]. If K = 1, the result is a view, not a copy."""
    return steps[0].unsqueeze(0) if len(steps) == 1 else torch.stack(list(steps))


def inside(name: str, child: str) -> str:
    """Return the full name of a child from the full name of its parent module. The network itself is called ""."""
    return f"{name}.{child}" if name else child
