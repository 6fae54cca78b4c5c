"""Replicas of the server on a Ray cluster.

    serve run hdlif.serve.ray_app:build artefacts=digits.hdlif.safetensors replicas=4

or a configuration file of Ray Serve, whose `args` may be numbers and lists as YAML has them.

Each replica is the application of `hdlif serve`, with a copy of the networks. Streams live in one process, and Ray
sends each request to any replica, so that several replicas serve whole inputs alone; one replica serves streams too.
Limits of connections and slow clients are those of Ray's own proxy. Needs the extra hdlif[ray].
"""

from typing import Any

from hdlif.errors import MissingExtraError
from hdlif.serve.ray_arguments import read_arguments

try:
    from ray import serve
except ImportError as missing:
    raise MissingExtraError("ray is not installed; install it with: pip install 'hdlif[ray,serve]'") from missing


def build(arguments: dict[str, Any]) -> Any:
    """The Ray Serve application.

    Args:
        arguments: as `read_arguments` takes them.
    Raises:
        HdlifError: an argument is missing, or none.
    """
    found = read_arguments(arguments)

    def application() -> Any:
        # Sessions are made where they run: they are no values that travel.
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
