"""Programs of neuron steps: tracing from equations, checks, operation counts and evaluation in NumPy.

    program, rows = trace(step, states=("potential",), rows={"leak": leak, "threshold": threshold})

`program` contains the operations on per-neuron values, and `rows` contains the values that depend only on parameters.
This package does not import PyTorch, because the tracer recognises PyTorch functions by name.
"""

from hdlif.graph.equations.counting import Counts, counts
from hdlif.graph.equations.literal_step import WrittenStep
from hdlif.graph.equations.program import OPERATIONS, Instruction, Operation, Program, evaluate, evaluate_registers
from hdlif.graph.equations.record import from_attributes, to_attributes
from hdlif.graph.equations.saving import Needs, Saving, Source, Value
from hdlif.graph.equations.symbols import Symbol
from hdlif.graph.equations.tracing import trace, trace_written

__all__ = [
    "OPERATIONS",
    "Counts",
    "Instruction",
    "Needs",
    "Operation",
    "Program",
    "Saving",
    "Source",
    "Symbol",
    "Value",
    "WrittenStep",
    "counts",
    "evaluate",
    "evaluate_registers",
    "from_attributes",
    "to_attributes",
    "trace",
    "trace_written",
]
