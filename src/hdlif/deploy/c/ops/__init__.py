"""C emitters for all ops, with one `EMITTER` in each op's file."""

from collections.abc import Mapping

from hdlif.deploy.c.emitter import Emitter
from hdlif.graph.op import collect

EMITTERS: Mapping[str, Emitter] = {emitter.op: emitter for emitter in collect(__name__, "EMITTER")}
