"""Run replicas of the server on a Ray cluster, either from the command line or from a Ray Serve configuration file.

    serve run hdlif.serve.ray_app:build artefacts=digits.hdlif.safetensors replicas=4

In a configuration file, values in `args` may be numbers or lists.

Each replica runs the application of `hdlif serve` with a copy of the networks. Streams require a single replica,
because each stream exists in only one process, but Ray may send a request to any replica. Ray's proxy limits
connections and slow clients. This module requires the extra hdlif[ray].
"""

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from hdlif.errors import HdlifError, MissingExtraError, brief
from hdlif.runtime.state import is_integer
from hdlif.serve.byte_counts import byte_count
from hdlif.serve.models import name_artefacts
from hdlif.serve.settings import Settings


@dataclass(frozen=True)
class Replicas:
    """The arguments of a Ray Serve application.

    Attributes:
        paths: paths of the model files by name.
        cores: number of cores per replica.
        settings: settings of each replica; streams are disabled if there are several replicas.
    """

    paths: Mapping[str, Path]
    replicas: int
    cores: int
    settings: Settings


def build(arguments: dict[str, Any]) -> Any:
    """Return the Ray Serve application.

    Args:
        arguments: as for `read_arguments`.
    Raises:
        HdlifError: an argument is missing or invalid.
        MissingExtraError: Ray is not installed.
    """
    try:
        from ray import serve
    except ImportError as missing:
        raise MissingExtraError.of("ray", "ray,serve") from missing
    found = read_arguments(arguments)

    def application() -> Any:
        # Sessions cannot be pickled, so each replica makes its own.
        from hdlif.serve.app import create_app

        return create_app(found.paths, found.settings)

    deployment: Any = serve.deployment(
        serve.ingress(application)(),
        name="hdlif",
        num_replicas=found.replicas,
        ray_actor_options={"num_cpus": found.cores},
        max_ongoing_requests=4 * found.settings.max_batch,
    )
    return deployment.bind()


def read_arguments(arguments: Mapping[str, Any]) -> Replicas:
    """Check an application's arguments: strings from Ray's command line, or typed values from a configuration file.

    Args:
        arguments: `artefacts`, a list of paths or NAME=PATH that exist on every node, or one string with commas;
            `replicas`, 1 by default; `cores` per replica, 1 by default; and any fields of `Settings`. Numbers may be
            strings, and numbers of bytes may have a unit (64M). None stands for the default.
    Raises:
        HdlifError: an argument is missing or invalid.
    """
    given = {str(key): value for key, value in arguments.items() if value is not None}
    artefacts = given.pop("artefacts", "")
    every = artefacts.split(",") if isinstance(artefacts, str) else artefacts
    every = [every] if isinstance(every, PathLike) else every
    if not isinstance(every, list | tuple) or not all(isinstance(one, str | PathLike) and fspath(one) for one in every):
        raise HdlifError(f"artefacts = {brief(artefacts)}; give a path, PATH,PATH or a list of paths")
    paths = name_artefacts([fspath(one) for one in every])
    if not paths:
        raise HdlifError("artefacts is empty; give artefacts=PATH,PATH or a list of paths")
    try:
        values = {key: _read_number(key, value) for key, value in given.items()}
        replicas, cores = values.pop("replicas", 1), values.pop("cores", 1)
        settings = Settings(**{"threads": cores} | values | ({"max_streams": 0} if replicas > 1 else {}))
    except (TypeError, ValueError) as error:
        raise HdlifError(f"{brief(given)}: {error}; give fields of hdlif.serve.Settings") from error
    for name, count in (("replicas", replicas), ("cores", cores)):
        if not is_integer(count) or not 1 <= count <= 10_000:
            raise HdlifError(f"{name} = {brief(count)}; give an integer in 1..10000")
    return Replicas(paths, replicas, cores, settings)


def _read_number(name: str, value: Any) -> Any:
    """Convert a string to a number; return any other value unchanged, because `Settings` checks it."""
    if not isinstance(value, str):
        return value
    if name.endswith("_bytes"):
        return byte_count(value)
    return int(value) if value.strip().isdecimal() else float(value)
