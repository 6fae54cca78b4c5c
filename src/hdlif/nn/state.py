"""State is a value: nested dicts named like the module tree, threaded through time by `hdlif.nn.Scope`.

A temporal module maps `(x, state, steps)` to `(y, state)`. `x` is a chunk of consecutive time steps
[K, B, ...] with K = len(steps), or [1, B, ...]: the same input at every step of the chunk.
`state` is None before the first step. A chunk of K equals K chunks of one.
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
    """A module that knows time: `forward(x, state, steps) -> (y, state)`.

    x is a chunk of consecutive steps [K, B, ...] with K = len(steps), or [1, B, ...], the same at each of them. The
    state is a nested mapping of tensors, None before the first step and of modules that keep none. A chunk of K must
    equal K chunks of one. `Scope` shows how a module of your own runs its children.
    """

    @property
    def paths(self) -> Paths | None:
        """The ways that x takes through the children to y, by which a rule with traces knows what feeds a neuron.

        Each is the names of children in the order in which they read one another; () is that of an x that is added to
        y as it is, and (synapse, neuron) that of a recurrent synapse, which reads no x. A block with several children
        that hold synapses or neurons states them as an attribute of its class, or as a property:

        >>> paths = (("act1", "conv1", "act2", "conv2"), ("shortcut",))
        """
        return None

    @property
    def reads(self) -> Reads | None:
        """What each child reads: an other form of `paths`, which does not grow with the number of ways.

        Children are in execution order, and last "" for y; each has the names of those whose outputs
        it reads, "" for x. The example of `paths` again:

        >>> reads = {"act1": [""], "conv1": ["act1"], "act2": ["conv1"], "conv2": ["act2"], "shortcut": [""],
        ...          "": ["conv2", "shortcut"]}
        """
        return None

    def cuts(self) -> bool:
        """Whether a module that keeps a state can cut time within a chunk.

        Where the steps of a pass say so (`Pass.cut`), its outputs at each step then follow from what earlier steps of
        the chunk have left as from constants, as if every step were a chunk of its own whose state is detached. One
        that runs its children through `Scope`, and keeps nothing itself, is not asked.
        """
        return False

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if len(arguments) < 2:
            named.setdefault("state", None)
        if len(arguments) < 3 and named.get("steps") is None:
            named["steps"] = _steps_of_call(self, arguments, named)
        # The range is not looked at here: a graph would be made for each.
        if torch.compiler.is_dynamo_compiling():
            arguments, named = with_traced_steps(arguments, named)
        output = nn.Module.__call__(self, *arguments, **named)
        for steps in (*arguments, *named.values()):
            if isinstance(steps, Steps) and self in steps.carried.measures:
                # Its input comes first; Scope takes the measures of what it runs.
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
    """The time steps of a call that leaves them out: those of x, unless the module was made for fewer."""
    x = arguments[0] if arguments else named.get("x")
    if not isinstance(x, Tensor):
        return None
    steps = steps_of(x, arguments[1] if len(arguments) > 1 else named["state"], None)
    made_for: list[Any] = [
        one.time_steps for one in module.modules() if isinstance(getattr(one, "time_steps", None), int)
    ]
    if made_for and len(steps) > max(made_for):
        raise StateError(
            f"input has shape {list(x.shape)}, which is {len(steps)} time steps, and {type(module).__name__} was made "
            f"for {max(made_for)}; if x has no time axis, give model(x[None], steps=range({max(made_for)})); otherwise "
            f"steps=range({len(steps)})"
        )
    return steps


class Neuron(Temporal):
    """A neuron layer: currents [K, B, ...] in (or [1, B, ...]), spikes [K, B, ...] out, one for each current.

    What watches a network, and is not to know its kinds of neuron, finds the layers by this class.

    Attributes:
        accumulates: whether a membrane carries past currents on.
        fires: whether what it gives are spikes; where they are not, as of an equation that only scales what a network
            is shown, it is no neuron layer to whatever counts, draws or restrains them.
    """

    accumulates: ClassVar[bool] = True
    fires: ClassVar[bool] = True


def entries_of(state: object, of: str) -> State:
    """The entries of a state; none for None. Raises `StateError` if it is no mapping."""
    if state is None:
        return {}
    if not isinstance(state, Mapping):
        raise StateError(
            f"state of {of} is a {type(state).__name__}; it must be a mapping, as the module returned it, or None"
        )
    return state


def check_stateless(module: nn.Module, state: State | None) -> None:
    """Raise `StateError` where a module that keeps no state is given one."""
    name = type(module).__name__
    if entries := entries_of(state, name):
        raise StateError(
            f"state of {name} has {', '.join(sorted(map(repr, entries)))}, but a {name} keeps none; "
            "a state belongs to the module that returned it"
        )


def check_steps(steps: range) -> None:
    """Raise `StateError` unless `steps` is a non-empty range of consecutive steps from 0 up."""
    if are_traced(steps):
        return
    given: object = steps
    times = given.times if isinstance(given, Steps) else given
    if not isinstance(times, range) or len(times) == 0 or times.step != 1 or times.start < 0:
        raise StateError(f"steps = {steps!r}; it must be a range of consecutive time steps, such as range(4)")


def steps_of(x: Tensor, state: State | None, steps: range | None) -> range:
    """The time steps of a chunk x: those given, or range(K) where x has K > 1 frames and starts a sequence.

    Raises:
        StateError: they are no range of consecutive steps, or not given where x does not tell them.
    """
    if steps is None:
        if state is not None:
            raise StateError("say which time steps continue this state: steps=range(t, t + K)")
        frames = x.shape[0] if x.ndim else 0
        if frames == 1:
            raise StateError(
                f"input has shape {list(x.shape)}: one frame, which may be one time step or an input constant in time; "
                "say how many steps it stands for: steps=range(1), or steps=range(T)"
            )
        steps = range(frames)
    check_steps(steps)
    return steps


def check_chunk(x: Tensor, steps: range) -> None:
    """Raise `ShapeError` unless the time axis of `x` is len(steps), or 1 for an input constant in time."""
    if x.ndim < 2 or x.shape[0] not in (1, len(steps)):
        raise ShapeError(
            f"input has shape {list(x.shape)} for {len(steps)} time steps; it must be [{len(steps)}, batch, ...], "
            "or [1, batch, ...] for an input constant in time: if x has no time axis, give x[None]"
        )


def check_entry(name: str, value: Tensor, x: Tensor) -> None:
    """Raise `ShapeError` unless an entry of a state is shaped like a step of x [K, ...]."""
    if value.shape != x.shape[1:]:
        raise ShapeError(
            f"{name} has shape {list(value.shape)}, the input of this step {list(x.shape[1:])}; "
            "a new batch starts with state=None"
        )


def potential_of(state: State | None, x: Tensor) -> Tensor:
    """The potential in the state of a neuron that keeps no more than that; see `kept_of`."""
    return kept_of(state, x, "potential")[0]


def kept_of(state: State | None, x: Tensor, *names: str) -> list[Tensor]:
    """What a neuron keeps under these names, each float32 or wider and shaped like `x[0]`; zeros if there is no state.

    Raises:
        StateError: the state has other entries.
        ShapeError: one of them is of another batch.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    if state is None:
        # Laid in memory as x is.
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
    """The same values of `state` without a graph: where a rule calls it, the gradient through time is cut.

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
    """[K, ...] to a tensor of each step, whose gradient is a view where there is one."""
    return [values.squeeze(0)] if len(values) == 1 else values.unbind()


def stack_steps(steps: Sequence[Tensor]) -> Tensor:
    """[B, ...] per step to [K, B, ...]; a view where there is one step."""
    return steps[0].unsqueeze(0) if len(steps) == 1 else torch.stack(list(steps))


def inside(name: str, child: str) -> str:
    """The name of a child in the network, from that of its parent; "" is the network itself."""
    return f"{name}.{child}" if name else child
