"""Convert composite modules by tracing their forward pass with torch.fx; the children are leaves of the trace.

A torch function with an equivalent module is converted like that module.
"""

from __future__ import annotations

import inspect
import operator
import traceback
from collections.abc import Callable, Mapping
from numbers import Real
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from hdlif.errors import cut, first_line
from hdlif.models.spiking.turning import Fed, Turned, Turning, is_layer
from hdlif.models.wiring import INPUT, Child, Joined, Line, Multiple, Operation, Part, Sum, Wired
from hdlif.nn.state import inside


def _mean(dim: Any = None, keepdim: bool = False, **_: object) -> nn.Module:
    axes = sorted(dim) if isinstance(dim, list | tuple) else None
    if axes not in ([2, 3], [-2, -1]):
        raise ValueError
    pool = nn.AdaptiveAvgPool2d(1)
    return pool if keepdim else nn.Sequential(pool, nn.Flatten())


def _flat(start_dim: int = 0, end_dim: int = -1) -> nn.Module:
    return nn.Flatten(start_dim, end_dim)


def _max_pool(
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> nn.Module:
    return nn.MaxPool2d(kernel_size, stride, padding, dilation, return_indices, ceil_mode)


def _same(*_: object, **__: object) -> None:
    return None


def _activation(kind: type[nn.Module]) -> Callable[..., nn.Module]:
    return lambda *arguments, inplace=False, **named: kind(*arguments, **named)


MODULES: Mapping[Any, Callable[..., nn.Module | None]] = {
    **dict.fromkeys((F.relu, torch.relu, torch.relu_, "relu", "relu_"), _activation(nn.ReLU)),
    F.relu6: _activation(nn.ReLU6),
    F.hardtanh: _activation(nn.Hardtanh),
    **dict.fromkeys((F.sigmoid, torch.sigmoid, "sigmoid"), _activation(nn.Sigmoid)),
    **dict.fromkeys((F.tanh, torch.tanh, "tanh"), _activation(nn.Tanh)),
    **dict.fromkeys((F.softmax, torch.softmax, "softmax"), lambda *_, **__: nn.Softmax()),
    F.gelu: lambda *_, **__: nn.GELU(),
    F.silu: _activation(nn.SiLU),
    F.hardswish: _activation(nn.Hardswish),
    F.leaky_relu: _activation(nn.LeakyReLU),
    F.elu: _activation(nn.ELU),
    F.adaptive_avg_pool2d: lambda output_size: nn.AdaptiveAvgPool2d(output_size),
    F.avg_pool2d: lambda *arguments, **named: nn.AvgPool2d(*arguments, **named),
    F.max_pool2d: _max_pool,
    F.dropout: lambda p=0.5, training=True, inplace=False: nn.Dropout(p) if training else None,
    **dict.fromkeys((torch.mean, "mean"), _mean),
    **dict.fromkeys((torch.flatten, "flatten"), _flat),
    **dict.fromkeys(("contiguous", "clone"), _same),
}
"""Factories of modules by function or method. They get all arguments but the input. Identities yield None."""


_OUTSIDE = tuple(str(Path(place).parent) + "/" for place in (torch.__file__, __file__))
"""Folders that do not contain the user's forward passes."""
_INSTALLED = str(Path(torch.__file__).parents[1]) + "/"
"""Folder of installed libraries. Errors show lines from it only if there are no others."""


def follow(turning: Turning, module: nn.Module, path: str, fed: Fed) -> Turned:
    """Convert a module to a `Wired` network, and convert the children of the module in execution order."""
    try:
        graph = _taken_down(module)
    except Exception as error:
        return turning.refuse(path, f"({type(module).__name__}): its forward pass cannot be followed: {_where(error)}")
    return _Following(turning, module, path, fed).over(graph)


class _Tracer(fx.Tracer):
    """A tracer that enters all children except torch layers and children called with a single input."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if is_layer(type(m)) or (len(args) == 1 and isinstance(args[0], fx.Proxy) and not kwargs):
            return super().call_module(m, forward, args, kwargs)
        return forward(*args, **kwargs)


def _taken_down(module: nn.Module) -> fx.Graph:
    """Trace the forward pass with `x` as the only input and default values for all other arguments."""
    _, *others = inspect.signature(module.forward).parameters.values()
    named = [one for one in others if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    if needed := [one.name for one in named if one.default is one.empty]:
        raise TypeError(f"it also takes {', '.join(needed)}, but only one input is accepted")
    defaults = {one.name: one.default for one in named}
    graph = _Tracer().trace(module, concrete_args=defaults or None)
    for node in reversed(graph.nodes):
        if "_assert" in getattr(node.target, "__name__", "") and not node.users:
            graph.erase_node(node)
    graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
    return graph


def _where(error: Exception) -> str:
    """Describe an error and the line where it occurred, with clearer wording for tracing errors from torch.fx."""
    frames = [one for one in traceback.extract_tb(error.__traceback__) if not one.filename.startswith(_OUTSIDE)]
    frames = [one for one in frames if not one.filename.startswith(_INSTALLED)] or frames
    line = (frames[-1].line or "").removesuffix(":") if frames else ""
    at = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}: {line}: " if frames else ""
    if "Proxy" in str(error) or "symbolic" in str(error):
        return f"{at}what runs there depends on a value or its size"
    return f"{at}{type(error).__name__}: {cut(first_line(error), 120)}"


class _Following:
    """The conversion of one traced module, node by node."""

    def __init__(self, turning: Turning, module: nn.Module, path: str, fed: Fed) -> None:
        self._turning, self._module, self._path = turning, module, path
        self._children: dict[str, nn.Module] = {}
        self._lines: list[Line] = []
        self._given = fed
        self._values: dict[fx.Node, tuple[str, Fed]] = {}
        self._shapes: set[fx.Node] = set()
        """Nodes that are shapes of values, or numbers in such shapes."""
        self._refused = False

    def over(self, graph: fx.Graph) -> Turned:
        output = ""
        gives = self._given
        for node in graph.nodes:
            if node.op == "placeholder":
                self._values[node] = INPUT, self._given
            elif node.op == "output":
                (result,) = node.args
                if not isinstance(result, fx.Node) or not self._has(result):
                    return self._refuse(f"returns a {type(result).__name__}, but only one tensor is accepted")
                output, gives = self._values[result]
            else:
                self._take(node)
        return Turned(Wired(self._children, self._lines, output), gives)

    def _take(self, node: fx.Node) -> None:
        target: Any = node.target
        if self._changes_what_is_read_again(node):
            self._unknown(node, f"{getattr(target, '__name__', target)} in place on a value that is read again")
            return
        if node.op == "call_module":
            if not node.all_input_nodes or not self._has(node.all_input_nodes[0]):
                self._unknown(node, f"{target} on something other than a value")
                return
            self._child(node, str(target), self._module.get_submodule(str(target)))
        elif node.op == "get_attr":
            self._unknown(node, f"its own tensor {target!r}")
        elif _is_shape(node) or self._shapes.issuperset(node.all_input_nodes):
            self._shapes.add(node)
        elif (combine := _COMBINATIONS.get(target)) is not None:
            combine(self, node)
        elif (make := MODULES.get(target)) is not None and len(node.all_input_nodes) == 1:
            self._made(node, make)
        else:
            self._unknown(node, f"{getattr(target, '__name__', target)}()")

    def _has(self, value: object) -> bool:
        return isinstance(value, fx.Node) and value in self._values

    def _changes_what_is_read_again(self, node: fx.Node) -> bool:
        """Return whether a node overwrites a value that later nodes read, as in-place activations may do."""
        if node.op == "call_module":
            in_place = getattr(self._module.get_submodule(str(node.target)), "inplace", False)
        else:
            in_place = (
                node.kwargs.get("inplace", False) or str(getattr(node.target, "__name__", node.target))[-1] == "_"
            )
        values = node.all_input_nodes
        return bool(in_place and values and list(values[0].users)[-1] is not node)

    def _made(self, node: fx.Node, make: Callable[..., nn.Module | None]) -> None:
        """Replace a function with the module that `make` returns, or drop the function if `make` returns None."""
        try:
            made = make(*node.args[1:], **{name: value for name, value in node.kwargs.items() if name != "input"})
        except (TypeError, ValueError):
            shown = ", ".join(map(str, node.args[1:]))
            self._unknown(node, f"{getattr(node.target, '__name__', node.target)}({shown})")
            return
        if made is None:
            self._values[node] = self._values[node.all_input_nodes[0]]
        else:
            self._child(node, node.name, made)

    def _child(self, node: fx.Node, name: str, module: nn.Module) -> None:
        name = self._free(name.replace(".", "_"))
        source, fed = self._values[node.all_input_nodes[0]]
        turned, gives = self._turning.turn(module, inside(self._path, name), fed)
        self._children[name] = turned
        self._line(node, Child(name), (source,), gives)

    def _line(self, node: fx.Node, does: Operation, reads: tuple[str, ...], gives: Fed) -> None:
        self._lines.append(Line(node.name, does, reads))
        self._values[node] = node.name, gives

    def _free(self, name: str) -> str:
        """Return a name that is not used by a child or by an attribute of the network."""
        free, count = name, 1
        while free in self._children or hasattr(Wired, free) or free in ("training", "_lines", "_output", "_done"):
            count += 1
            free = f"{name}_{count}"
        return free

    def add(self, node: fx.Node) -> None:
        self._sum(node, 1.0)

    def subtract(self, node: fx.Node) -> None:
        self._sum(node, -1.0)

    def _sum(self, node: fx.Node, sign: float) -> None:
        first, second = _two(node)
        if isinstance(second, Real) and self._has(first):
            self._multiple(node, first, shift=sign * float(second))
        elif isinstance(first, Real) and self._has(second):
            self._multiple(node, second, factor=sign, shift=float(first))
        elif self._has(first) and self._has(second):
            (one, fed), (other, beside) = self._values[first], self._values[second]
            if sign != 1:
                self._lines.append(Line(f"{node.name}_minus", Multiple(sign), (other,)))
                other = f"{node.name}_minus"
            known = fed if fed.channels is not None else beside
            self._line(node, Sum(), (one, other), known)
        else:
            self._unknown(node, "a sum with something other than a value or a number")

    def multiply(self, node: fx.Node) -> None:
        first, second = _two(node)
        if isinstance(first, Real):
            first, second = second, first
        if isinstance(second, Real) and self._has(first):
            self._multiple(node, first, factor=float(second))
        else:
            self._unknown(node, "a product of two values (a gate, as squeeze-and-excitation has)")

    def divide(self, node: fx.Node) -> None:
        first, second = _two(node)
        if isinstance(second, Real) and second and self._has(first):
            self._multiple(node, first, factor=1 / float(second))
        else:
            self._unknown(node, "a division by a value, or a rounded division")

    def negate(self, node: fx.Node) -> None:
        self._multiple(node, node.all_input_nodes[0], factor=-1.0)

    def _multiple(self, node: fx.Node, value: fx.Node, factor: float = 1.0, shift: float = 0.0) -> None:
        name, fed = self._values[value]
        self._line(node, Multiple(factor, shift), (name,), fed)

    def join(self, node: fx.Node) -> None:
        parts: Any = node.args[0] if node.args else node.kwargs.get("tensors")
        dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", node.kwargs.get("axis", 0))
        if dim != 1 or not isinstance(parts, tuple | list) or not all(map(self._has, parts)):
            self._unknown(node, f"torch.cat along dimension {dim}; only 1, channels, is accepted")
            return
        names, feds = zip(*(self._values[part] for part in parts), strict=True)
        channels = [fed.channels for fed in feds]
        total = sum(channels) if None not in channels else None
        self._line(node, Joined(), names, Fed(total, all(fed.point for fed in feds)))

    def part(self, node: fx.Node) -> None:
        value: Any = node.args[0]
        index: Any = node.args[1]
        parts: tuple[Any, ...] = index if isinstance(index, tuple) else (index,)
        cut_of = parts[1] if len(parts) > 1 else None
        whole = parts[0] == slice(None) and all(one in (slice(None), Ellipsis) for one in parts[2:])
        bounds = (cut_of.start, cut_of.stop) if isinstance(cut_of, slice) and cut_of.step in (None, 1) else None
        if not self._has(value) or not whole or bounds is None or any(isinstance(one, fx.Node) for one in bounds):
            self._unknown(node, f"[{index}]; only a slice of channels, [:, a:b], is accepted")
            return
        name, fed = self._values[value]
        channels = None if fed.channels is None else len(range(fed.channels)[slice(*bounds)])
        self._line(node, Part(*bounds), (name,), Fed(channels, fed.point))

    def view(self, node: fx.Node) -> None:
        """Convert a view with the shape (batch size, any number) or (-1, number) to a flatten layer."""
        given: Any = node.args[1:]
        first, *sizes = (given[0] if len(given) == 1 and isinstance(given[0], tuple | list) else given) or (None,)
        of_batch = isinstance(first, fx.Node) and _is_batch(first)
        if len(sizes) == 1 and (of_batch or (first == -1 and isinstance(sizes[0], int))):
            self._child(node, node.name, nn.Flatten())
        else:
            self._unknown(node, f"{getattr(node.target, '__name__', node.target)}() to a shape other than (batch, -1)")

    def _unknown(self, node: fx.Node, what: str) -> None:
        self._refuse(f"uses {what}")
        self._values[node] = INPUT, Fed()

    def _refuse(self, what: str) -> Turned:
        if self._refused:
            # Later problems may follow from the first.
            return Turned(nn.Identity(), Fed())
        self._refused = True
        return self._turning.refuse(self._path, f"({type(self._module).__name__}): its forward pass {what}")


def _two(node: fx.Node) -> tuple[Any, Any]:
    given = [*node.args, *(node.kwargs[name] for name in ("input", "other") if name in node.kwargs)]
    return (given[0], given[1]) if len(given) == 2 and node.kwargs.keys() <= {"input", "other"} else (None, None)


def _is_shape(node: fx.Node) -> bool:
    """Return whether a node is `x.shape` or `x.size(...)`."""
    if node.op == "call_method":
        return node.target == "size"
    return node.op == "call_function" and node.target is getattr and node.args[1] == "shape"


def _is_batch(node: fx.Node) -> bool:
    """Return whether a node is `x.size(0)`, `x.size()[0]` or `x.shape[0]`."""
    if node.target == "size":
        return node.args[1:] == (0,)
    return node.target is operator.getitem and node.args[1:] == (0,) and _is_shape(node.all_input_nodes[0])


_COMBINATIONS: Mapping[Any, Callable[[_Following, fx.Node], None]] = {
    **dict.fromkeys((operator.add, operator.iadd, torch.add, "add", "add_"), _Following.add),
    **dict.fromkeys((operator.sub, operator.isub, torch.sub, "sub", "sub_"), _Following.subtract),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul, "mul", "mul_"), _Following.multiply),
    **dict.fromkeys((operator.truediv, operator.itruediv, torch.div, "div", "div_"), _Following.divide),
    **dict.fromkeys((operator.neg, torch.neg, "neg"), _Following.negate),
    **dict.fromkeys((torch.cat, torch.concat), _Following.join),
    **dict.fromkeys(("view", "reshape", torch.reshape), _Following.view),
    operator.getitem: _Following.part,
}
"""Handlers of operations between children, by function or method."""
