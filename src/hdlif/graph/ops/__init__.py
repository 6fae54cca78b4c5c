"""Ops of deployed networks. Each op's file defines an `OP` with fields, shapes, a reference computation and a cost.

Each op also has files in `hdlif.deploy.ops`, `hdlif.deploy.c.ops` and `native/ops` (see `docs/contributing/index.md`).
"""

from collections.abc import Mapping

from hdlif.graph.op import Op, collect

OPS: Mapping[str, Op] = {op.name: op for op in collect(__name__, "OP")}
