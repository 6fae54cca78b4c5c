"""Docstrings of the public names."""

import importlib
import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from hdlif.errors import MissingExtraError

PACKAGES = ["hdlif"]
PACKAGES += [f"hdlif.{name}" for name in ("data", "deploy", "functional", "learning", "models", "nn", "runtime")]
PACKAGES += [f"hdlif.{name}" for name in ("deploy.c", "graph.artefact", "graph.equations", "report.accounting")]
PACKAGES += [f"hdlif.{name}" for name in ("training", "training.tasks")]
PACKAGES += [f"hdlif.deploy.interop.{name}" for name in ("nir_import", "snntorch", "spikingjelly")]


def public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The classes and functions of ours that a package gives, by name."""
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    for name in getattr(module, "__all__", [name for name in own if not name.startswith("_")]):
        value = getattr(module, name)
        if (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__.startswith("hdlif"):
            yield name, value


def text_of(value: Any) -> str:
    """Its docstring, and of a class that of its `__init__`."""
    made = vars(value).get("__init__") if inspect.isclass(value) else None
    return "\n".join(inspect.cleandoc(doc) for doc in (value.__doc__, made and made.__doc__) if doc)


def pointed_to(value: Any) -> Iterator[Any]:
    """Yield what of ours its docstring names in backticks."""
    home = value.__module__
    names = (home, home.rpartition(".")[0], "hdlif", "hdlif.nn", "hdlif.recipe", "hdlif.training.tasks", "hdlif.data")
    for path in re.findall(r"`(?:hdlif\.)?([\w.]+)`", text_of(value)):
        for name in names:
            target: Any = importlib.import_module(name)
            for part in path.split("."):
                target = getattr(target, part, None)
            if target is not None and getattr(target, "__module__", "").startswith("hdlif"):
                yield target
                break


def parameters_of(value: Any) -> list[str]:
    if getattr(value, "_is_protocol", False):
        return []
    try:
        names = inspect.signature(value).parameters
    except ValueError:
        return []
    return [name for name in names if not name.startswith("_") and name not in ("args", "kwargs")]


def is_named(parameter: str, text: str) -> bool:
    """Whether it heads an entry, alone or among others, stands in a list of names, or in backticks."""
    return re.search(rf"(?m)(?:^|[ (,`*])\*{{0,2}}{re.escape(parameter)}(?:[,:)`]| and )", text) is not None


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_has_a_docstring_that_explains_its_parameters_or_points_to_them(package: str) -> None:
    try:
        module = importlib.import_module(package)
    except MissingExtraError as error:
        pytest.skip(str(error))
    unexplained = {}
    for name, value in public(module):
        assert value.__doc__, name
        text = "\n".join(map(text_of, [value, *pointed_to(value)]))
        if missing := [one for one in parameters_of(value) if not is_named(one, text)]:
            unexplained[name] = missing
    assert unexplained == {}
