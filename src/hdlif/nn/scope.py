"""Running the children of a module on one chunk of time steps, with the state of each, and a sequence of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Self

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hdlif.errors import ShapeError, StateError, TrainingError
from hdlif.nn.chain import may_run_as_one, run_chain, side_by_side
from hdlif.nn.kernels.codes import codes_of, mark, pool_codes
from hdlif.nn.layout import product, runs_as_product
from hdlif.nn.state import Paths, State, Temporal, check_chunk, check_stateless, check_steps, entries_of, steps_of
from hdlif.nn.steps import Measure, carried
from hdlif.nn.synapses import QuantConv2d, QuantLinear

CHANNELS = 2
"""The axis of channels in a value [K, B, C, ...]."""


class Captured:
    """A value of a network whose operations are recorded, such as by `hdlif.deploy.lower`.

    A `Scope` that is given one in place of a tensor runs nothing: it asks it for what a child makes of it.
    """

    def through(self, name: str, child: nn.Module) -> Self:
        """What `child`, of that name in the module at hand, makes of this value."""
        raise NotImplementedError


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
        self.module, self.steps = module, steps
        self.continues = state is not None
        self._given = entries_of(state, type(module).__name__)
        self._carried = carried(steps)
        self._ran: set[str] = set()
        self._next: dict[str, State | Tensor] = {}
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
        if self._carried.observers:
            return self._run_observed(name, child, x, given)
        y, state = self._run(child, x, given)
        self.keep(name, child, given, state)
        return y

    def chain(self, x: Tensor, *names: str, plus: Callable[[], Tensor] | None = None) -> Tensor:
        """Run these children one after another, each on what the one before gave.

        The same as a call for each, but that nobody else is to read what is between: there they may run as one, see
        `hdlif.nn.chain`.

        Args:
            plus: gives what is added to what the last one gives, such as the other branch of a block; it is called
                right before or after that one.
        """
        if not isinstance(x, Captured) and may_run_as_one(x, self._carried):
            return run_chain(self, self.steps, x, names, plus)
        for name in names:
            x = self(name, x)
        return x if plus is None else x + plus()

    def child(self, name: str) -> nn.Module:
        """The child of that name."""
        found = self.module._modules.get(name)
        return self.module.get_submodule(name) if found is None else found

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

    def keep(
        self, name: str, child: nn.Module, given: State | None, state: State | None, *, is_own: bool = True
    ) -> None:
        """Keep the state of a child after the chunk.

        Args:
            is_own: whether the child itself made it, and not an observer in its place.
        Raises:
            StateError, TrainingError: there is no place for it, or it does not go with what was given.
        """
        if state is None:
            check_stateless(child, given)
            return
        if self._carried.cut and len(self.steps) > 1 and is_own:
            check_cuts(child, name, state)
        if name in self._next:
            raise StateError(
                f"{name!r} ran twice in this chunk, and there is one place for its state; give it two names"
            )
        if given is None and self.continues:
            raise StateError(
                f"state lacks {name!r}, a {type(child).__name__} that keeps one; give the whole state, or None to start"
            )
        if name not in self.module._modules:
            raise StateError(
                f"{name!r} is not a direct child of {type(self.module).__name__}, which has no place for its state; "
                "give it a name of its own there, or run what holds it (a hdlif.nn.Sequential)"
            )
        self._next[name] = state

    def _run_observed(self, name: str, child: nn.Module, x: Tensor, given: State | None) -> Tensor:
        observers = self._carried.observers
        for observer in observers:
            x = observer.before(self, name, child, x)
        made = None
        for observer in observers:
            made = made or observer.run(self, name, child, x, given)
        y, state = made or self._run(child, x, given)
        for observer in observers:
            y = observer.after(self, name, child, x, y, state)
        self.keep(name, child, given, state, is_own=made is None)
        return y

    def _run(self, child: nn.Module, x: Tensor, given: State | None) -> tuple[Tensor, State | None]:
        """y and the state of a child after this chunk."""
        measure = self._carried.measures.get(child)
        if isinstance(child, Temporal):
            check_chunk(x, self.steps)
            # Its steps are traced already where they are to be.
            y, state = nn.Module.__call__(child, x, given, self.steps)
            if measure is not None:
                measure.take(x, y)
            return y, state
        if _holds_temporal(child):
            return run_in_order(child, x, given, self.steps)
        return fold_time(child, x, self._carried.weights.get(child), measure), None

    @property
    def state(self) -> State | None:
        """The state after this chunk, or None if no child keeps one.

        Raises:
            StateError: a child that was given a state has not run, and its state would be lost.
        """
        for name, given in self._given.items():
            if given and name not in self._ran:
                raise StateError(f"state has {name!r}, which {type(self.module).__name__} did not run in this chunk")
        return self._next or None


def run_in_order(module: nn.Module, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State | None]:
    """Run the children of a module one after another on one chunk."""
    run = Scope(module, state, steps)
    return run.chain(x, *module._modules), run.state


class Sequential(Temporal):
    """Modules one after another; plain ones see time folded into the batch, temporal ones carry their state.

    Children are named "0", "1", ..., or as the keys of a mapping that is given in place of a module.
    `network(x, steps=range(T))` starts a sequence; the state that it returns continues it. Steps may be left out where
    x has K > 1 of them and starts a sequence.

    >>> import torch
    >>> from torch import nn
    >>> from hdlif.nn import HDLIF, QuantConv2d, Sequential
    >>> network = Sequential(QuantConv2d(1, 4, 3), HDLIF(time_steps=4), nn.Flatten(), nn.Linear(4 * 6 * 6, 10))
    >>> x = torch.rand(4, 2, 1, 8, 8)
    >>> logits, state = network(x)
    >>> list(logits.shape), {name: list(kept) for name, kept in state.items()}
    ([4, 2, 10], {'1': ['potential']})

    An image that is the same at every step has a time axis of 1, and a stream goes step by step:

    >>> logits, state = network(x[:1], steps=range(4))
    >>> logits, state = network(x[:1], state, steps=range(4, 5))

    Args:
        modules: modules, or mappings from names to modules; a plain module must not mix the samples of a batch.
    Raises:
        StateError: steps are left out where x does not determine them, or the state is another network's; or
            a child is a batch norm of `torch.nn`, which does not know of time.
        ShapeError: the time axis of x is neither 1 nor the number of steps.
    """

    def __init__(self, *modules: nn.Module | Mapping[str, nn.Module]) -> None:
        super().__init__()
        for index, module in enumerate(modules):
            named = {str(index): module} if isinstance(module, nn.Module) else module
            for name, child in named.items():
                self.add_module(name, child)

    @property
    def paths(self) -> Paths:
        return [list(self._modules)]

    def forward(self, x: Tensor, state: State | None = None, steps: range | None = None) -> tuple[Tensor, State | None]:
        return run_in_order(self, x, state, steps_of(x, state, steps))

    def __len__(self) -> int:
        return len(self._modules)

    def __getitem__(self, index: int) -> nn.Module:
        return list(self.children())[index]


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
        return mark(unfolded, pool_codes(y, codes, window))
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
