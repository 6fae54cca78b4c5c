"""Replicas of the server on a Ray cluster.

    serve run hdlif.serve.ray_app:build artefacts=digits.hdlif.safetensors replicas=4

Each replica is the application of `hdlif serve`, with a copy of the networks. Streams live in one process, and Ray
sends each request to any replica, so that several replicas serve whole inputs alone; one replica serves streams too.
Limits of connections and slow clients are those of Ray's own proxy. Needs the extra hdlif[ray].
"""

from typing import Any

from hdlif.errors import HdlifError, MissingExtraError, brief
from hdlif.serve.models import named
from hdlif.serve.settings import Settings

try:
    from ray import serve
except ImportError as missing:
    raise MissingExtraError("ray is not installed; install it with: pip install 'hdlif[ray,serve]'") from missing


def build(arguments: dict[str, str]) -> Any:
    """The Ray Serve application.

    Args:
        arguments: `artefacts`, paths or NAME=PATH separated by commas, that every node finds; `replicas`, 1 by default;
            `cores` of each, 1 by default; and at will fields of `Settings`.
    Raises:
        HdlifError: an argument is missing, or none.
    """
    given = dict(arguments)
    paths = named([path for path in given.pop("artefacts", "").split(",") if path])
    if not paths:
        raise HdlifError("artefacts = ''; give artefacts=PATH,PATH")
    replicas, cores = _count("replicas", given.pop("replicas", "1")), _count("cores", given.pop("cores", "1"))
    limits: dict[str, Any] = {"threads": cores}
    try:
        limits |= {key: float(value) if "." in value else int(value) for key, value in given.items()}
        settings = Settings(**limits | ({"max_streams": 0} if replicas > 1 else {}))
    except (TypeError, ValueError) as error:
        raise HdlifError(f"{brief(given)}: {error}; give fields of hdlif.serve.Settings") from error

    def application() -> Any:
        # Sessions are made where they run: they are no values that travel.
        from hdlif.serve.app import create_app

        return create_app(paths, settings)

    deployment: Any = serve.deployment(
        serve.ingress(application)(),
        name="hdlif",
        num_replicas=replicas,
        ray_actor_options={"num_cpus": cores},
        max_ongoing_requests=4 * settings.max_batch,
    )
    return deployment.bind()


def _count(name: str, text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise HdlifError(f"{name} = {brief(text)}; give an integer in 1..10000")
    return int(text)
