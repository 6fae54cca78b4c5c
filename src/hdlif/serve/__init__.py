"""HTTP server for model files (`hdlif serve`), for complete inputs and for streams with state on the server.

`create_app` returns an ASGI application for use with any server and load balancer. `serve` runs the application in the
current process, with limits on slow clients. This package requires the extra hdlif[serve] and never imports torch.
"""

from hdlif.serve.settings import Settings

__all__ = ["Settings"]
