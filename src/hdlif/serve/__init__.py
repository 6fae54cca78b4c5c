"""`hdlif serve`: deployed networks behind HTTP: whole inputs, and streams whose state lives on the server.

`create_app` gives an ASGI application for any server and any balancer; `serve` runs it in this process, with what a
server that strangers reach needs. Needs the extra hdlif[serve], and never imports torch.
"""

from hdlif.serve.settings import Settings

__all__ = ["Settings"]
