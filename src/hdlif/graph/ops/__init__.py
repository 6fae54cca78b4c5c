"""What is known of each op of a deployed network: one file per op, which states an `OP`: fields, shapes, oracle, price.

The other homes of an op are its file in `hdlif.deploy.ops` (how modules become it, its forms in PyTorch and ONNX), its
file in `hdlif.deploy.c.ops`, and its file in native/ops; `docs/how_to/adding_an_op.md` walks them.
"""

from collections.abc import Mapping

from hdlif.graph.op import Op, collect

OPS: Mapping[str, Op] = {op.name: op for op in collect(__name__, "OP")}
