"""Arguments of replicas on Ray: all of them texts from its command line, values from its configuration files."""

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from hdlif.byte_counts import byte_count
from hdlif.errors import HdlifError, brief
from hdlif.runtime.state import is_integer
from hdlif.serve.models import named
from hdlif.serve.settings import Settings


@dataclass(frozen=True)
class Replicas:
    """What is to run.

    Attributes:
        paths: of the artefacts, by their names.
        cores: of each replica.
        settings: of each; several replicas leave streams out.
    """

    paths: Mapping[str, Path]
    replicas: int
    cores: int
    settings: Settings


def read_arguments(arguments: Mapping[str, Any]) -> Replicas:
    """Check the arguments of an application.

    Args:
        arguments: `artefacts`, paths or NAME=PATH that every node finds, as a list or in one text, separated by commas;
            `replicas`, 1 by default; `cores` of each, 1 by default; and at will fields of `Settings`. Numbers may be
            texts, those of bytes with a unit (64M); None leaves a field at its default.
    Raises:
        HdlifError: an argument is missing, or none.
    """
    given = {str(key): value for key, value in arguments.items() if value is not None}
    paths = named(_paths(given.pop("artefacts", "")))
    replicas, cores = _count("replicas", given.pop("replicas", 1)), _count("cores", given.pop("cores", 1))
    limits: dict[str, Any] = {"threads": cores}
    try:
        limits |= {key: _number(key, value) for key, value in given.items()}
        settings = Settings(**limits | ({"max_streams": 0} if replicas > 1 else {}))
    except (TypeError, ValueError) as error:
        raise HdlifError(f"{brief(given)}: {error}; give fields of hdlif.serve.Settings") from error
    return Replicas(paths, replicas, cores, settings)


def _paths(said: Any) -> list[str]:
    every = said.split(",") if isinstance(said, str) else [said] if isinstance(said, PathLike) else said
    if not isinstance(every, list | tuple) or not all(isinstance(one, str | PathLike) for one in every):
        raise HdlifError(f"artefacts = {brief(said)}; give a path, PATH,PATH or a list of paths")
    found = [path for one in every if (path := fspath(one))]
    if not found:
        raise HdlifError(f"artefacts = {brief(said)}; give artefacts=PATH,PATH or a list of paths")
    return found


def _number(name: str, said: Any) -> Any:
    """A text as the number that it says; others as they are, which `Settings` checks."""
    if not isinstance(said, str):
        return said
    if name.endswith("_bytes"):
        return byte_count(said)
    return int(said) if said.strip().isdecimal() else float(said)


def _count(name: str, said: Any) -> int:
    found = int(said) if isinstance(said, str) and said.isdecimal() and len(said) < 6 else said
    if not is_integer(found) or not 1 <= found <= 10_000:
        raise HdlifError(f"{name} = {brief(said)}; give an integer in 1..10000")
    return int(found)
