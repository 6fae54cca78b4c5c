"""HTTP server for model files (`hdlif serve`), which accepts complete inputs and keeps the state of streams.

`create_app` returns an ASGI application that works with any server and load balancer. `serve` runs the application in
the current process, and disconnects clients that are too slow. This package requires the extra hdlif[serve], and never
imports torch.
"""

from hdlif.serve.settings import Settings

__all__ = ["Settings"]
