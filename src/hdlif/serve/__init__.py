"""`hdlif serve`: model files over HTTP, for whole inputs and for streams whose state the server keeps.

`create_app` returns an ASGI application for any server and load balancer; `serve` runs it in this process, with
limits on slow clients. Needs the extra hdlif[serve], and never imports torch.
"""

from hdlif.serve.settings import Settings

__all__ = ["Settings"]
