"""State is a value: nested dicts named like the module tree, threaded through time by `Scope`.

A temporal module maps `(x, state, steps)` to `(y, state)`. `x` is a chunk of consecutive time steps
[K, B, ...] with K = len(steps), or [1, B, ...]: the same input at every step of the chunk.
`state` is None before the first step. A chunk of K equals K chunks of one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from weakref import ReferenceType, ref

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hdlif.errors import ResetError, ShapeError, StateError, TrainingError
from hdlif.kernels.code_conv import codes_of, marked, pooled
from hdlif.nn.captured import Captured
from hdlif.nn.chain import may_run_as_one, run_chain, side_by_side
from hdlif.nn.one_pixel import product, runs_as_product
from hdlif.nn.steps import Measure, Steps, carried
from hdlif.nn.synapses import QuantConv2d, QuantLinear
from hdlif.nn.traced_pass import drift, run_traced
from hdlif.nn.tracing import are_traced, with_traced_steps

State = Mapping[str, "State | Tensor"]
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

        Children stand in the order in which they run, and last "" for y; each has the names of those whose outputs
        it reads, "" for x. The example of `paths` again:

        >>> reads = {"act1": [""], "conv1": ["act1"], "act2": ["conv1"], "conv2": ["act2"], "shortcut": [""],
        ...          "": ["conv2", "shortcut"]}
        """
        return None

    def cuts(self) -> bool:
        """Whether a module that keeps a state can cut time within a chunk.

        Where the steps of a pass say so (`Steps.cut`), its outputs at each step then follow from what earlier steps of
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
            if isinstance(steps, Steps) and self in steps.measures:
                # Its input comes first; Scope takes the measures of what it runs.
                steps.measures[self].take(arguments[0] if arguments else named["x"], output[0])
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


class _Fired(NamedTuple):
    """What a neuron emitted in this chunk, its current, and the state after it."""

    name: str
    y: Tensor
    current: Tensor
    state: State | None


class Scope:
    """Runs the children of one module on one chunk, and gathers their states under their names.

    It is what the `forward` of a `Temporal` module is written with:

    >>> import torch
    >>> from hdlif.nn import HDLIF, QuantConv2d, Scope, Temporal
    >>> class Residual(Temporal):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.act, self.conv = HDLIF(time_steps=4), QuantConv2d(2, 2, 3, padding=1)
    ...
    ...     def forward(self, x, state=None, steps=None):
    ...         run = Scope(self, state, steps)
    ...         h = run("act", x)
    ...         return x + run("conv", h), run.state
    >>> y, state = Residual()(torch.rand(4, 1, 2, 5, 5), None, range(4))
    >>> list(y.shape), {name: list(kept) for name, kept in state.items()}
    ([4, 1, 2, 5, 5], {'act': ['potential']})

    Args:
        module: whose direct children are run, by name.
        state: of `module`, as its `forward` is given it; None starts a sequence.
        steps: the time steps of the chunk.
    Raises:
        StateError: the state is no mapping, or lacks that of a child; a child with a state runs twice, or not at all.
    """

    def __init__(self, module: nn.Module, state: State | None, steps: range) -> None:
        check_steps(steps)
        self._module = module
        self._given = entries_of(state, type(module).__name__)
        self._continues = state is not None
        self._steps, self._carried = steps, carried(steps)
        self._ran: set[str] = set()
        self._next: dict[str, State | Tensor] = {}
        self._fired: list[_Fired] = []
        self._gave: list[tuple[str, ReferenceType[Tensor]]] = []
        unknown = [name for name in self._given if name not in module._modules]
        if unknown:
            raise StateError(
                f"state has {', '.join(sorted(map(repr, unknown)))}, which is not a child of {type(module).__name__}; "
                "a state belongs to the module that returned it"
            )

    def __call__(self, name: str, x: Tensor) -> Tensor:
        """Run the child `name`: temporal ones with their state, others with time folded into the batch."""
        child = self.child(name)
        self.ran(name)
        if isinstance(x, Captured):
            return x.through(name, child)
        given = self.given_to(name)
        eligibility = self._carried.eligibility
        if eligibility is not None:
            eligibility.begins(self._steps.start)
            if isinstance(child, Neuron):
                eligibility.arrives(child, x)
        if (wiring := self._carried.wiring) is None:
            y, state = self._run(name, child, x, given)
        else:
            wiring.given(self._module, name, x)
            y, state = self._run(name, child, wiring.entered(child, x), given)
            wiring.left(child, y)
            y = wiring.gave(self._module, name, y)
        if eligibility is not None:
            eligibility.ran(child, x, y)
        self.keep(name, child, given, state)
        return y

    def chain(self, x: Tensor, *names: str, plus: Callable[[], Tensor] | None = None) -> Tensor:
        """Run these children one after another, each on what the one before gave.

        The same as a call for each, but that nobody else is to read what lies between: there they may run as one, see
        `hdlif.nn.chain`.

        Args:
            plus: gives what is added to what the last one gives, such as the other branch of a block; it is called
                right before or behind that one.
        """
        if not isinstance(x, Captured) and may_run_as_one(x, self._carried):
            return run_chain(self, self._steps, x, names, plus)
        for name in names:
            x = self(name, x)
        return x if plus is None else x + plus()

    def child(self, name: str) -> nn.Module:
        """The child of that name."""
        return self._module.get_submodule(name)

    def weight_of(self, layer: nn.Module) -> Tensor | None:
        """What runs in place of a layer's own weights, if anything."""
        return self._carried.weights.get(layer)

    def ran(self, name: str) -> None:
        """Note that a child has run."""
        self._ran.add(name)

    def given_to(self, name: str) -> State | None:
        """The state that a child starts from."""
        given = self._given.get(name)
        return None if given is None else entries_of(given, repr(name))

    def keep(self, name: str, child: nn.Module, given: State | None, state: State | None) -> None:
        """Keep the state of a child behind the chunk.

        Raises:
            StateError, TrainingError: there is no place for it, or it does not go with what was given.
        """
        if state is None:
            check_stateless(child, given)
            return
        traces = self._carried.traces
        # A trace has no graph to be cut.
        if self._carried.cut and len(self._steps) > 1 and (traces is None or child not in traces.names):
            check_cuts(child, name, state)
        if name in self._next:
            raise StateError(
                f"{name!r} ran twice in this chunk, and there is one place for its state; give it two names"
            )
        if given is None and self._continues:
            raise StateError(
                f"state lacks {name!r}, a {type(child).__name__} that keeps one; give the whole state, or None to start"
            )
        if name not in self._module._modules:
            raise StateError(
                f"{name!r} is not a direct child of {type(self._module).__name__}, which has no place for its state; "
                "give it a name of its own there, or run what holds it (a hdlif.nn.Sequential)"
            )
        self._next[name] = state

    def _run(self, name: str, child: nn.Module, x: Tensor, given: State | None) -> tuple[Tensor, State | None]:
        """y and the state of a child after this chunk."""
        traces = self._carried.traces
        state: State | None
        # How a network is wired is looked at once a sequence.
        looking = traces is not None and not self._continues and not torch.compiler.is_compiling()
        if looking:
            self._check_path(name, x)
        if traces is not None and child in traces.names:
            check_chunk(x, self._steps)
            moved = self._drift_behind(x, traces.rule.leak, traces.names[child]) if traces.rule.dynamic else None
            y, state = run_traced(child, x, given, self._steps, traces.rule, moved)
        elif isinstance(child, Temporal):
            check_chunk(x, self._steps)
            # Its steps are traced already where they are to be.
            y, state = nn.Module.__call__(child, x, given, self._steps)
            if traces is not None and traces.rule.dynamic and isinstance(child, Neuron):
                self._fired.append(_Fired(name, y, x, state))
        elif _holds_temporal(child):
            y, state = run_in_order(child, x, given, self._steps)
        else:
            carried = self._carried
            y, state = fold_time(child, x, carried.weights.get(child), carried.measures.get(child)), None
        if isinstance(child, Temporal) and child in self._carried.measures:
            self._carried.measures[child].take(x, y)
        if looking:
            self._gave.append((name, ref(y)))
        return y, state

    def _check_path(self, name: str, x: Tensor) -> None:
        """Raise `TrainingError` where a child reads what another one gave and no path of the module says so."""
        before = [other for other, gave in self._gave if gave() is x]
        paths = stated_ways(self._module) if before else None
        if paths is None:
            return
        on_paths = {child for way in paths for child in way}
        if name not in on_paths or not on_paths.issuperset(before):
            return
        known = {pair for way in paths for pair in itertools.pairwise(way)}
        if not any((other, name) in known for other in before):
            kind = type(self._module).__name__
            raise TrainingError(
                f"{kind} runs {name!r} on what {before[-1]!r} gave, and on none of {kind}.paths does {name!r} follow "
                f"{before[-1]!r}; a rule with traces has to know what feeds a neuron, so state the ways that x takes"
            )

    def _drift_behind(self, x: Tensor, leak: float, synapse: str) -> Tensor | None:
        """How the potentials of the neurons that emitted `x` moved; None where no neuron with a memory did."""
        fired = next((fired for fired in self._fired if fired.y is x), None)
        if fired is None or fired.state is None:
            return None
        potential = fired.state.get("potential")
        if not isinstance(potential, Tensor):
            raise TrainingError(
                f"{synapse} follows the neuron {fired.name!r}, by whose potential its trace is to decay, and that one "
                f"keeps {', '.join(map(repr, fired.state))} and no 'potential'; give the state that its current adds "
                "to that name, or use a rule whose traces have a leak of their own (ottt)"
            )
        return drift(fired.current[-1].to(potential.dtype), potential, leak)

    @property
    def state(self) -> State | None:
        """The state after this chunk, or None if no child keeps one.

        Raises:
            StateError: a child that was given a state has not run, and its state would be lost.
        """
        for name, given in self._given.items():
            if given and name not in self._ran:
                raise StateError(f"state has {name!r}, which {type(self._module).__name__} did not run in this chunk")
        return self._next or None


def stated_ways(module: nn.Module) -> Paths | None:
    """The paths that a module states; where it states what each child reads, each of these pairs."""
    reads: Reads | None = getattr(module, "reads", None)
    if reads is None:
        paths: Paths | None = getattr(module, "paths", None)
        return paths
    return [[one for one in (source, child) if one] for child, sources in reads.items() for source in sources]


def run_in_order(module: nn.Module, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State | None]:
    """Run the children of a module one after another on one chunk."""
    run = Scope(module, state, steps)
    return run.chain(x, *module._modules), run.state


def _holds_temporal(module: nn.Module) -> bool:
    """Whether torch's own sequence holds modules that know time.

    Raises:
        StateError: another module does, which calls them by itself.
    """
    inner = next((one for one in module.modules() if isinstance(one, Temporal)), None)
    if inner is not None and type(module).forward is not nn.Sequential.forward:
        name = type(module).__name__
        raise StateError(
            f"{name} holds {type(inner).__name__}, which knows time, and does not itself; derive {name} from "
            "hdlif.nn.Temporal, whose forward(x, state, steps) runs its children through hdlif.nn.Scope"
        )
    return inner is not None


def entries_of(state: object, of: str) -> State:
    """The entries of a state; none for None. Raises `StateError` where it is no mapping."""
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


_AXES = {nn.Linear: 3, QuantLinear: 3, nn.Conv1d: 4, nn.Conv2d: 5, QuantConv2d: 5, nn.Conv3d: 6}
"""Axes of the input of a layer, time and batch among them."""


def fold_time(module: nn.Module, x: Tensor, weight: Tensor | None = None, measure: Measure | None = None) -> Tensor:
    """Apply a stateless module to [K, B, ...] with time folded into the batch.

    Args:
        weight: runs in place of its own.
        measure: is taken of what it reads and gives, folded.
    """
    if isinstance(module, _BatchNorm):
        ours = "BatchNorm1d" if isinstance(module, nn.BatchNorm1d) else "BatchNorm2d"
        raise StateError(
            f"{type(module).__name__} would mix the statistics of time steps; use hdlif.nn.{ours}, "
            "whose running statistics follow the steps"
        )
    axes = _AXES.get(type(module), 0)
    if x.ndim < axes:
        raise ShapeError(
            f"{type(module).__name__} gets an input of shape {list(x.shape)}, not {axes} axes [steps, batch, ...]; "
            "if x has no time axis, give x[None] and the steps that it is shown for: model(x[None], steps=range(T))"
        )
    folded = x.flatten(0, 1)
    y: Tensor
    codes = codes_of(x)
    if codes is not None and type(module) is QuantConv2d:
        y = module(folded, weight, codes)
    elif runs_as_product(module, folded):
        assert isinstance(module, nn.Conv2d)
        y = product(folded, module.weight, module.bias)
    else:
        y = module(folded) if weight is None else module(folded, weight)
    if measure is not None:
        measure.take(folded, y)
    unfolded = y.reshape(*x.shape[:2], *y.shape[1:])
    if codes is not None and (window := side_by_side(module)):
        return marked(unfolded, pooled(y, codes, window))
    return unfolded


def check_cuts(module: nn.Module, name: str, state: State) -> None:
    """Raise `TrainingError` where a module keeps a state of its own, and does not cut time within a chunk."""
    own = [key for key, value in state.items() if isinstance(value, Tensor)]
    if own and not (isinstance(module, Temporal) and module.cuts()):
        where = f"{name or 'the network'} ({type(module).__name__})"
        raise TrainingError(
            f"{where} keeps {', '.join(map(repr, own))} and does not say that it cuts time within a chunk; set chunk "
            "to 1, or let its cuts() return True and take what earlier steps have left as constants where "
            "hdlif.nn.steps.carried(steps).cut says so"
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
        if value.shape != x.shape[1:]:
            raise ShapeError(
                f"{name} has shape {list(value.shape)}, the input of this step {list(x.shape[1:])}; "
                "a new batch starts with state=None"
            )
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
