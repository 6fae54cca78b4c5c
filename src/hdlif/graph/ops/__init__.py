"""Ops of deployed networks, one file per op; each defines an `OP`: fields, shapes, oracle and cost.

The other parts of an op are its file in `hdlif.deploy.ops` (conversion from modules, forms in PyTorch and ONNX), its
file in `hdlif.deploy.c.ops`, and its file in native/ops; see `docs/contributing/index.md`.
"""

from collections.abc import Mapping

from hdlif.graph.op import Op, collect

OPS: Mapping[str, Op] = {op.name: op for op in collect(__name__, "OP")}
