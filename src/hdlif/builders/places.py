"""Functions and classes by the place of their code, and what they take, read from there without importing it.

Recipes are checked before anything is built, and most of what they name is built from PyTorch, whose import takes
longer than the check. So the tables of names hold places, and what a place takes is read as a type checker reads it:
from the text.
"""

import ast
import importlib
import inspect
import itertools
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, ClassVar, get_origin

PACKAGE = "hdlif"


@dataclass(frozen=True)
class At:
    """What stands at "module:name" of this package; the module is imported when it is called or got."""

    place: str

    def get(self) -> Any:
        """The function or class."""
        module, _, name = self.place.partition(":")
        return getattr(importlib.import_module(module), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.get()(*args, **kwargs)


@dataclass(frozen=True)
class Parameter:
    """A parameter of a function, or of a class's constructor.

    Attributes:
        annotation: its type; `Opaque`, or a type of such, where it is none of Python's own.
        default: as it stands in the text, a value where that is one; None where it is required.
    """

    required: bool
    annotation: Any
    default: Any = field(default=None, compare=False)


class _Anything(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return Opaque

    def __getitem__(cls, arguments: object) -> Any:
        return Opaque


class Opaque(metaclass=_Anything):
    """Stands for every class of a package, tensors and modules among them."""


def parameters(function: Callable[..., object]) -> dict[str, Parameter]:
    """What a function or a class takes, by name, without `self`; nothing is imported for that."""
    if isinstance(function, At):
        return dict(_read(*_found(*function.place.split(":"))))
    module = sys.modules[function.__module__]
    return {
        name: Parameter(
            parameter.default is parameter.empty,
            _evaluated(parameter.annotation, module.__name__),
            None if parameter.default is parameter.empty else parameter.default,
        )
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }


def _read(module: str, node: ast.AST) -> Iterator[tuple[str, Parameter]]:
    """The parameters of what is defined by `node`, in their order."""
    if isinstance(node, ast.FunctionDef):
        yield from _of_function(module, node)
        return
    if not isinstance(node, ast.ClassDef):
        # A class of another package, such as nn.Module.
        return
    own = [member for member in node.body if isinstance(member, ast.FunctionDef) and member.name == "__init__"]
    if not own or own[0].args.kwarg is not None:
        for base in node.bases:
            yield from _read(*_found(module, ast.unparse(base)))
    if own:
        yield from list(_of_function(module, own[0]))[1:]
    is_dataclass = any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
    for member in node.body:
        # The start of a parameter of an `EquationNeuron`.
        if isinstance(member, ast.Assign) and ast.unparse(member.value).startswith("Parameter("):
            start = next(iter(getattr(member.value, "args", ())), None)
            yield from ((ast.unparse(target), Parameter(False, float, _value(start))) for target in member.targets)
        if is_dataclass and isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
            annotation = _evaluated(member.annotation, module)
            if ClassVar not in (annotation, get_origin(annotation)):
                yield member.target.id, Parameter(member.value is None, annotation, _value(member.value))


def _of_function(module: str, node: ast.FunctionDef) -> Iterator[tuple[str, Parameter]]:
    arguments = node.args
    placed = [*arguments.posonlyargs, *arguments.args]
    without = [None] * (len(placed) - len(arguments.defaults))
    defaults = [*without, *arguments.defaults, *arguments.kw_defaults]
    for argument, default in zip([*placed, *arguments.kwonlyargs], defaults, strict=True):
        yield argument.arg, Parameter(default is None, _evaluated(argument.annotation, module), _value(default))


def _value(default: ast.AST | None) -> Any:
    """A default: its value, or its text where it is no literal."""
    if default is None:
        return None
    try:
        return ast.literal_eval(default)
    except ValueError:
        return ast.unparse(default)


def meanings(function: Callable[..., object]) -> dict[str, str]:
    """What the docstring of a function or class, and of the classes it is derived from, says of arguments, by name."""
    if not isinstance(function, At):
        return _listed(inspect.getdoc(function) or "")
    return dict(_meanings(*_found(*function.place.split(":"))))


def _meanings(module: str, node: ast.AST) -> Iterator[tuple[str, str]]:
    if not isinstance(node, ast.ClassDef | ast.FunctionDef):
        return
    if isinstance(node, ast.ClassDef):
        for base in node.bases:
            yield from _meanings(*_found(module, ast.unparse(base)))
        # A string below an attribute is about it.
        for member, behind in itertools.pairwise(node.body):
            match member, behind:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    yield name, " ".join(text.split())
    yield from _listed(ast.get_docstring(node) or "").items()
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            yield from _listed(ast.get_docstring(member) or "").items()


_ENTRY = re.compile(r"^ {4}(?P<names>\w+(?:, \w+)*): (?P<meaning>.*(?:\n {5,}.*)*)", re.MULTILINE)


def _listed(docstring: str) -> dict[str, str]:
    """
    >>> _listed("Walk.\\n\\nArgs:\\n    a, b: sizes,\\n        in steps.\\nReturns:\\n    c: none.")
    {'a': 'sizes, in steps.', 'b': 'sizes, in steps.'}
    """
    found: dict[str, str] = {}
    for section in re.findall(r"^(?:Args|Attributes):\n((?:^ {4}.*\n?|^\n)*)", docstring, re.MULTILINE):
        for entry in _ENTRY.finditer(section):
            found |= dict.fromkeys(entry["names"].split(", "), " ".join(entry["meaning"].split()))
    return found


@cache
def _source(module: str) -> ast.Module | None:
    """A module of this package, parsed; None of another."""
    package, *path = module.split(".")
    if package != PACKAGE:
        return None
    place = files(PACKAGE).joinpath(*path)
    file = place.joinpath("__init__.py") if place.is_dir() else files(PACKAGE).joinpath(*path[:-1], f"{path[-1]}.py")
    return ast.parse(file.read_text("utf-8"))


@cache
def _found(module: str, name: str) -> tuple[str, ast.AST]:
    """The module that defines a name of `module`, and the definition; where a name is imported, it is followed."""
    source = _source(module)
    for node in [] if source is None else source.body:
        match node:
            case ast.ClassDef() | ast.FunctionDef() if node.name == name:
                return module, node
            case ast.Assign(targets=[ast.Name(id=assigned)]) if assigned == name:
                return module, node.value
            case ast.ImportFrom(module=str(origin), names=names):
                for alias in names:
                    if (alias.asname or alias.name) == name:
                        return _found(origin, alias.name)
    return module, ast.Name(name)


class _Names(Mapping[str, Any]):
    """What names of a module stand for in an annotation."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getitem__(self, name: str) -> Any:
        if name.startswith("__"):
            raise KeyError(name)
        module, node = _found(self._module, name)
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            return Opaque
        if not isinstance(node, ast.Name):
            return _evaluated(node, module)
        if module == self._module:
            return getattr(importlib.import_module("builtins"), node.id, Opaque)
        # Python's own modules are imported already, or at no cost.
        own = module.partition(".")[0] in sys.stdlib_module_names
        return getattr(importlib.import_module(module), node.id) if own else Opaque

    def __iter__(self) -> Iterator[str]:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError


def _evaluated(annotation: Any, module: str) -> Any:
    """The type that an annotation in `module` states."""
    if annotation is None or annotation is inspect.Parameter.empty:
        return Any
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = annotation.value
    if isinstance(annotation, ast.AST):
        annotation = ast.unparse(annotation)
    if not isinstance(annotation, str):
        return annotation
    return eval(annotation, {"__builtins__": {}}, _Names(module))
