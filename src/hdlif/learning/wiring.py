"""How a network is wired, seen from a pass of it: what each child reads of the others, whatever is done in between.

`Scope` runs children by their names, and autograd knows what each value was made of. So the graph is followed back from
what a child is given to what other children gave; a value without a gradient leads to none, and to no weight either.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from hdlif.nn import Scope
from hdlif.nn.observer import Observer


class Wiring(Observer):
    """What the children of modules read, noted in each `Scope` of a pass that it observes.

    Attributes:
        reads: by module, as `Temporal.reads` states it: children in the order in which they ran, each with the names of
            those whose outputs it read, "" being the module's own input, and at the end, what it gives.
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
        """The input of a module, before it is run."""
        return self._marked(module, "", x)

    def left(self, module: nn.Module, y: Tensor) -> None:
        """Take note of what a module gave."""
        self._note(module, "", y)

    def before(self, scope: Scope, name: str, child: nn.Module, x: Tensor) -> Tensor:
        self._note(scope.module, name, x)
        return self.entered(child, x)

    def after(self, scope: Scope, name: str, child: nn.Module, x: Tensor, y: Tensor, state: Any) -> Tensor:
        self.left(child, y)
        return self._marked(scope.module, name, y)

    def _marked(self, module: nn.Module, name: str, value: Tensor) -> Tensor:
        # A copy has a place of its own in the graph, even where a child gives what it was given.
        copy = value.clone()
        if copy.grad_fn is not None:
            self._gave[copy.grad_fn] = module, name
        return copy

    def _note(self, module: nn.Module, name: str, value: Tensor) -> None:
        """Follow the graph back to what the module's other children gave, and no further."""
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
