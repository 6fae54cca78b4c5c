"""Run a module's children on a chunk of time steps with their states. Also define sequences of modules."""

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
"""Index of the channel axis in a value [K, B, C, ...]."""


class Captured:
    """A symbolic value that records the operations of a network, for example in `hdlif.deploy.lower`.

    If the input is a `Captured` value instead of a tensor, `Scope` does not run the children but calls `through` for
    each.
    """

    def through(self, name: str, child: nn.Module) -> Self:
        """Return the captured output of `child`, called `name` in the current module, for this value as its input."""
        raise NotImplementedError


class Scope:
    """A helper that runs a module's children on one chunk and collects the children's states by name.

    Use a `Scope` in the `forward` of a `Temporal` module:

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
        module: the module whose direct children run, by name.
        state: the state that the `forward` of `module` gets; None starts a sequence.
        steps: the time steps of the chunk.
    Raises:
        StateError: the state is not a mapping or lacks a child's state, or a child with a state does not run exactly
            once.
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
        """Run the child `name`; if it is temporal, pass its state, otherwise fold time into the batch."""
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
        """Run the named children in sequence, each on the output of the previous child.

        The result is the same as that of separate calls. Nothing else may read the intermediate values, so
        `hdlif.nn.chain` may fuse the children.

        Args:
            plus: returns a summand for the last child's output, such as the other branch of a block; it is called right
                before or after that child.
        """
        if not isinstance(x, Captured) and may_run_as_one(x, self._carried):
            return run_chain(self, self.steps, x, names, plus)
        for name in names:
            x = self(name, x)
        return x if plus is None else x + plus()

    def child(self, name: str) -> nn.Module:
        """Return the child with the given name."""
        found = self.module._modules.get(name)
        return self.module.get_submodule(name) if found is None else found

    def weight_of(self, layer: nn.Module) -> Tensor | None:
        """Return the weights to use in place of a layer's own weights, or None if the layer uses its own weights."""
        return self._carried.weights.get(layer)

    def ran(self, name: str) -> None:
        """Record that a child has run."""
        self._ran.add(name)

    def given_to(self, name: str) -> State | None:
        """Return the state of a child before this chunk."""
        given = self._given.get(name)
        return None if given is None else entries_of(given, repr(name))

    def keep(
        self, name: str, child: nn.Module, given: State | None, state: State | None, *, is_own: bool = True
    ) -> None:
        """Store the state of a child after the chunk.

        Args:
            is_own: whether the child itself, and not an observer, computed the state.
        Raises:
            StateError: the state cannot be stored, or is missing in the given state.
            TrainingError: the child cannot cut time within a chunk.
        """
        if state is None:
            check_stateless(child, given)
            return
        if self._carried.cut and len(self.steps) > 1 and is_own:
            check_cuts(child, name, state)
        if name in self._next:
            raise StateError(f"{name!r} ran twice in this chunk, but can store only one state; give it two names")
        if given is None and self.continues:
            raise StateError(
                f"state lacks {name!r}, a {type(child).__name__} that keeps one; give the whole state, or None to start"
            )
        if name not in self.module._modules:
            raise StateError(
                f"{name!r} is not a direct child of {type(self.module).__name__}, which cannot store its state; add "
                "it there under its own name, or run the module that contains it (a hdlif.nn.Sequential)"
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
        """Return a child's output and the child's state after this chunk."""
        measure = self._carried.measures.get(child)
        if isinstance(child, Temporal):
            check_chunk(x, self.steps)
            # The steps are traced already if necessary.
            y, state = nn.Module.__call__(child, x, given, self.steps)
            if measure is not None:
                measure.take(x, y)
            return y, state
        if _holds_temporal(child):
            return run_in_order(child, x, given, self.steps)
        return fold_time(child, x, self._carried.weights.get(child), measure), None

    @property
    def state(self) -> State | None:
        """Return the state after this chunk, or None if no child keeps a state.

        Raises:
            StateError: a child with a given state has not run, so its state would be lost.
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
    """A sequence of temporal modules, which keep state, and plain modules, which run with time folded into the batch.

    The children are named "0", "1", ...; if you pass a mapping of modules, the keys are the names. Call `network(x,
    steps=range(T))` to start a sequence, and pass the returned state to continue the sequence. You can omit `steps` if
    x has K > 1 steps and starts a sequence.

    >>> import torch
    >>> from torch import nn
    >>> from hdlif.nn import HDLIF, QuantConv2d, Sequential
    >>> network = Sequential(QuantConv2d(1, 4, 3), HDLIF(time_steps=4), nn.Flatten(), nn.Linear(4 * 6 * 6, 10))
    >>> x = torch.rand(4, 2, 1, 8, 8)
    >>> logits, state = network(x)
    >>> list(logits.shape), {name: list(kept) for name, kept in state.items()}
    ([4, 2, 10], {'1': ['potential']})

    You can also pass a constant image with a time axis of length 1, or run a stream step by step:

    >>> logits, state = network(x[:1], steps=range(4))
    >>> logits, state = network(x[:1], state, steps=range(4, 5))

    Args:
        modules: modules, or mappings from names to modules; a plain module must not mix the samples of a batch.
    Raises:
        StateError: steps are omitted but x does not determine them, the state belongs to another network, or a child is
            a batch norm of `torch.nn`, which would mix time steps, or a neuron of snnTorch or SpikingJelly.
        ShapeError: the time axis of x is neither 1 nor the number of steps.
    """

    def __init__(self, *modules: nn.Module | Mapping[str, nn.Module]) -> None:
        super().__init__()
        for index, module in enumerate(modules):
            named = {str(index): module} if isinstance(module, nn.Module) else module
            for name, child in named.items():
                _check_library(child)
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


_STATEFUL = {"snntorch": "SpikingNeuron", "spikingjelly": "MemoryModule"}
"""Base class of the modules that keep a state between calls, by library."""


def _check_library(child: nn.Module) -> None:
    """Raise `StateError` if a module contains a neuron of another library, which would not see the time steps."""
    for module in child.modules():
        for base in type(module).__mro__:
            library = base.__module__.partition(".")[0]
            if _STATEFUL.get(library) == base.__name__:
                raise StateError(
                    f"{type(module).__name__} of {library} keeps its own state between calls; use a neuron of "
                    f"hdlif.nn, or convert the entire network with hdlif.deploy.interop.{library}.from_{library}"
                )


def _holds_temporal(module: nn.Module) -> bool:
    """Return whether a `torch.nn.Sequential` contains temporal modules.

    Raises:
        StateError: a module with another `forward` contains temporal modules.
    """
    inner = next((one for one in module.modules() if isinstance(one, Temporal)), None)
    if inner is not None and type(module).forward is not nn.Sequential.forward:
        name = type(module).__name__
        raise StateError(
            f"{name} contains {type(inner).__name__}, which runs over time, but is not itself a hdlif.nn.Temporal; "
            f"derive {name} from hdlif.nn.Temporal, whose forward(x, state, steps) runs its children through "
            "hdlif.nn.Scope"
        )
    return inner is not None


_AXES = {nn.Linear: 3, QuantLinear: 3, nn.Conv1d: 4, nn.Conv2d: 5, QuantConv2d: 5, nn.Conv3d: 6}
"""Number of axes of each layer's input, including time and batch."""


def fold_time(module: nn.Module, x: Tensor, weight: Tensor | None = None, measure: Measure | None = None) -> Tensor:
    """Apply a stateless module to x [K, B, ...] with time folded into the batch.

    Args:
        weight: replaces the module's own weight.
        measure: applied to the folded input and output.
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
    """Raise `TrainingError` if a module keeps its own state but cannot cut the temporal gradient within a chunk."""
    own = [key for key, value in state.items() if isinstance(value, Tensor)]
    if own and not (isinstance(module, Temporal) and module.cuts()):
        where = f"{name or 'the network'} ({type(module).__name__})"
        raise TrainingError(
            f"{where} keeps {', '.join(map(repr, own))} but does not declare that it cuts time within a chunk; set "
            "chunk to 1, or return True from its cuts() and treat values from earlier steps as constants if "
            "hdlif.nn.steps.carried(steps).cut is true"
        )
