"""Reading, writing and tensor packing of model files for deployed networks.

This package never imports torch.
"""

from hdlif.graph.artefact.files import is_artefact
from hdlif.graph.artefact.io import FORMAT_VERSION, dumps, joined, load, loads, metadata_of, save, stored, tensor_bytes
from hdlif.graph.artefact.packing import pack, unpack
from hdlif.graph.artefact.statements import read_statement, statement
from hdlif.graph.graph import INPUT, Graph, InputRecord, Node, TaskRecord, Value
from hdlif.graph.inference import infer_values

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
    "joined",
    "load",
    "loads",
    "metadata_of",
    "pack",
    "read_statement",
    "save",
    "statement",
    "stored",
    "tensor_bytes",
    "unpack",
]
