"""What is known of each op of a deployed network: one file an op, with its fields, shapes, oracle and price.

The other homes of an op are its file in `hdlif.deploy.ops` (how modules become it, its forms in PyTorch and ONNX) and
its file in native/ops; `docs/how_to/adding_an_op.md` walks them.
"""

from hdlif.graph.ops.graph import INPUT, Graph, InputRecord, Node, TaskRecord, Value
from hdlif.graph.ops.inference import infer_values
from hdlif.graph.ops.input_record import SAMPLE, SampleName, sample_name
from hdlif.graph.ops.table import OPS, is_recurrent, reads, renamed, state_names

__all__ = [
    "INPUT",
    "OPS",
    "SAMPLE",
    "Graph",
    "InputRecord",
    "Node",
    "SampleName",
    "TaskRecord",
    "Value",
    "infer_values",
    "is_recurrent",
    "reads",
    "renamed",
    "sample_name",
    "state_names",
]
