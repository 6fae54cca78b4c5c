"""The deployed network as a file: graph, tensor packing, reading and writing. Never imports torch."""

from hdlif.artefact.format import FORMAT_VERSION
from hdlif.artefact.io import dumps, is_artefact, load, loads, save, tensor_bytes
from hdlif.artefact.packing import pack, unpack
from hdlif.ops import infer_values
from hdlif.ops.graph import INPUT, Graph, InputRecord, Node, TaskRecord, Value

__all__ = [
    "FORMAT_VERSION",
    "INPUT",
    "Graph",
    "InputRecord",
    "Node",
    "TaskRecord",
    "Value",
    "dumps",
    "infer_values",
    "is_artefact",
    "load",
    "loads",
    "pack",
    "save",
    "tensor_bytes",
    "unpack",
]
