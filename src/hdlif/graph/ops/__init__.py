"""Ops of deployed networks, one file per op, each with an `OP`: fields, shapes, reference computation and cost.

Each op also has a file in `hdlif.deploy.ops` (conversion from modules, forms in PyTorch and ONNX), one in
`hdlif.deploy.c.ops`, and one in native/ops; see `docs/contributing/index.md`.
"""

from collections.abc import Mapping

from hdlif.graph.op import Op, collect

OPS: Mapping[str, Op] = {op.name: op for op in collect(__name__, "OP")}
