"""Find the synapses that feed membranes, using the paths that blocks declare or a traced pass.

A synapse feeds a neuron if the synapse's output reaches the neuron without passing through another neuron. If the
neuron accumulates currents, the neuron's membrane depends on the synapse's past inputs. The order in which children are
registered does not matter.

`Scope` runs children by name, and autograd records the inputs of each value. The search therefore follows the graph
from a child's input back to the outputs of other children. The search stops at values without a gradient, which do not
depend on any weight.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from hdlif.errors import TrainingError
from hdlif.nn import Scope
from hdlif.nn.modes import dtype_of, evaluation_mode
from hdlif.nn.per_step import PerStep
from hdlif.nn.state import Neuron, Paths, Reads, Temporal, inside
from hdlif.nn.steps import Observer, carrying


class Wiring(Observer):
    """An observer that records, in each `Scope` of a pass, the inputs of a module's children.

    Attributes:
        reads: by module, in the format of `Temporal.reads`: children in the order in which they ran, each with the
            names of those whose outputs it read, where "" is the module's own input, and finally the module's output.
    """

    def __init__(self) -> None:
        self._reads: dict[nn.Module, dict[str, dict[str, None]]] = {}
        self._gave: dict[Any, tuple[nn.Module, str]] = {}

    @property
    def reads(self) -> Mapping[nn.Module, Mapping[str, tuple[str, ...]]]:
        return {
            module: {child: tuple(of[child]) for child in (*(name for name in of if name), "") if child in of}
            for module, of in self._reads.items()
        }

    def entered(self, module: nn.Module, x: Tensor) -> Tensor:
        """Record the input of a module before it runs."""
        return self._marked(module, "", x)

    def left(self, module: nn.Module, y: Tensor) -> None:
        """Record the output of a module."""
        self._note(module, "", y)

    def before(self, scope: Scope, name: str, child: nn.Module, x: Tensor) -> Tensor:
        self._note(scope.module, name, x)
        return self.entered(child, x)

    def after(self, scope: Scope, name: str, child: nn.Module, x: Tensor, y: Tensor, state: Any) -> Tensor:
        self.left(child, y)
        return self._marked(scope.module, name, y)

    def _marked(self, module: nn.Module, name: str, value: Tensor) -> Tensor:
        # A copy has its own node in the graph, even if a child returns its input unchanged.
        copy = value.clone()
        if copy.grad_fn is not None:
            self._gave[copy.grad_fn] = module, name
        return copy

    def _note(self, module: nn.Module, name: str, value: Tensor) -> None:
        """Follow the graph back to the outputs of the module's other children."""
        read = self._reads.setdefault(module, {}).setdefault(name, {})
        nodes, seen = [value.grad_fn], set()
        while nodes:
            node = nodes.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            of, source = self._gave.get(node, (None, ""))
            if of is module:
                read[source] = None
            else:
                nodes += [one for one, _ in node.next_functions]


WATCHED = 2
"""Number of steps that trace a network's wiring; the second step may read outputs of the first."""


def is_synapse(module: nn.Module) -> bool:
    """Return whether a module mixes inputs with a weight matrix or kernel instead of only scaling each input."""
    if isinstance(module, _ConvNd | nn.Linear):
        return True
    own = (parameter for parameter in module._parameters.values() if parameter is not None)
    return not isinstance(module, PerStep | nn.LayerNorm | nn.RMSNorm) and any(one.ndim > 1 for one in own)


def unwrapped(model: nn.Module) -> nn.Module:
    """Return a network without wrappers, such as wrappers for precision or for several ranks."""
    while not isinstance(model, Temporal | nn.Sequential) and len(children := list(model.children())) == 1:
        (model,) = children
    return model


def remembered(model: nn.Module, x: Tensor | None = None, time_steps: int = WATCHED) -> dict[str, nn.Module]:
    """Return, by name and in the network's order, the synapses whose past inputs affect a membrane.

    Names are relative to the network itself, without the modules that wrap the network for precision or several ranks.

    A parallel neuron has no membrane (λ = 0), and no membrane follows the last neuron. Synapses that feed no membrane
    are trained without traces.

    Args:
        x: samples [T or 1, B, ...]; one of them is run to trace paths that modules do not declare.
        time_steps: T.
    Raises:
        TrainingError: a module declares wrong paths, or none while it does not run its children through `Scope`.
    """
    model = unwrapped(model)
    reading = _Reading(lambda: {} if x is None else wiring_of(model, x, time_steps))
    reading.before(model, "", after=False)
    return {name: module for name, module in model.named_modules(remove_duplicate=False) if name in reading.found}


def wiring_of(model: nn.Module, x: Tensor, time_steps: int) -> Mapping[nn.Module, Mapping[str, tuple[str, ...]]]:
    """Trace the inputs of each module's children in a pass of one sample, without changing the network.

    Args:
        x: [T or 1, B, ...].
    """
    wiring = Wiring()
    dtype = dtype_of(model, x)
    state = None
    with evaluation_mode(model), torch.enable_grad():
        for t in range(min(WATCHED, time_steps)):
            step = x[:, :1] if len(x) == 1 else x[t : t + 1, :1]
            start = wiring.entered(model, step.detach().to(dtype).requires_grad_())
            y, state = model(start, state, steps=carrying(range(t, t + 1), observers=[wiring]))
            wiring.left(model, y)
    return wiring.reads


def stated_ways(module: nn.Module) -> Paths | None:
    """Return the paths that a module declares, or one path per source-child pair if the module declares `reads`."""
    reads: Reads | None = getattr(module, "reads", None)
    if reads is None:
        paths: Paths | None = getattr(module, "paths", None)
        return paths
    return [[one for one in (source, child) if one] for child, sources in reads.items() for source in sources]


class _Reading:
    """A backward search from the end of a network for the synapses that feed a membrane."""

    def __init__(self, see: Callable[[], Mapping[nn.Module, Reads]]) -> None:
        self.found: set[str] = set()
        self._see = cache(see)
        self._read: dict[tuple[str, bool], bool] = {}
        self._matter: dict[nn.Module, bool] = {}

    def before(self, module: nn.Module, name: str, *, after: bool) -> bool:
        """Return whether a membrane depends on a module's past inputs.

        The argument `after` states whether a membrane depends on the module's past outputs.
        """
        if isinstance(module, Neuron):
            return module.accumulates
        if is_synapse(module):
            if after:
                self.found.add(name)
            return after
        key = name, after
        if key not in self._read:
            paths = self._paths(module, name)
            reads: Reads | None = self._seen(module, name) if paths is None else getattr(module, "reads", None)
            if reads is not None:
                self._read[key] = self._back(reads, module, name, after)
            elif paths is not None:
                # Every path may find synapses, so follow all.
                ways = [self._along(way, module, name, after) for way in paths]
                self._read[key] = any(ways)
        return self._read[key]

    def _along(self, way: Sequence[str], module: nn.Module, name: str, after: bool) -> bool:
        for child in reversed(way):
            after = self.before(module.get_submodule(child), inside(name, child), after=after)
        return after

    def _back(self, reads: Reads, module: nn.Module, name: str, after: bool) -> bool:
        """Return whether the module's input affects a membrane, given the inputs that each child reads."""
        matters = dict.fromkeys(reads.get("", ()), after)
        known: dict[str, bool] = {}
        # One pass is enough, unless a child reads a later child's output of the previous step.
        while matters != known:
            known = dict(matters)
            for child, sources in reversed(list(reads.items())):
                if not child:
                    continue
                before = self.before(module.get_submodule(child), inside(name, child), after=matters.get(child, False))
                for source in sources:
                    matters[source] = matters.get(source, False) or before
        return matters.get("", False)

    def _seen(self, module: nn.Module, name: str) -> Reads:
        """Return the traced inputs of the children, for a module without declared paths.

        Raises:
            TrainingError: a relevant child did not run.
        """
        reads = self._see().get(module, {})
        if missing := list(self._unseen(module, "", reads)):
            raise TrainingError(
                f"{_where(module, name)} does not run {_listed(missing)} by name with hdlif.nn.Scope, but a rule with "
                "traces needs the inputs of each neuron; run all modules with weights this way, in a class derived "
                "from hdlif.nn.Temporal, or use a rule without traces (sltt)"
            )
        return reads

    def _unseen(self, module: nn.Module, at: str, reads: Reads) -> Iterator[str]:
        """Yield the outermost children with neurons or synapses that no `Scope` ran by name."""
        for child, one in module._modules.items():
            path = inside(at, child)
            if one is None or path in reads or not self._matters(one):
                continue
            if any(ran.startswith(f"{path}.") for ran in reads):
                yield from self._unseen(one, path, reads)
            else:
                yield path

    def _paths(self, module: nn.Module, name: str) -> Sequence[Sequence[str]] | None:
        """Return the declared or trivial paths of a module, or None if the paths must be traced."""
        children = [child for child, one in module._modules.items() if one is not None and self._matters(one)]
        stated = stated_ways(module)
        if stated is None:
            return None if len(children) > 1 and not isinstance(module, nn.Sequential) else [children]
        where = _where(module, name)
        on_paths = {child for way in stated for child in way}
        if unknown := on_paths - module._modules.keys():
            raise TrainingError(
                f"{where}.paths names {_listed(sorted(unknown))}, which is not one of its children; it has "
                f"{_listed(module._modules)}"
            )
        if missing := [child for child in children if child not in on_paths]:
            raise TrainingError(
                f"{where}.paths omits {_listed(missing)}, but a rule with traces needs the inputs of each neuron; add "
                "the paths through it"
            )
        return stated

    def _matters(self, module: nn.Module) -> bool:
        """Return whether a module contains a neuron or a synapse."""
        if module not in self._matter:
            own = isinstance(module, Neuron) or is_synapse(module)
            self._matter[module] = own or any(self._matters(child) for child in module.children())
        return self._matter[module]


def _where(module: nn.Module, name: str) -> str:
    return f"{name} ({type(module).__name__})" if name else type(module).__name__


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))
