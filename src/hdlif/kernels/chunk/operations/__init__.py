"""The oracle of chunks: a step's program by PyTorch's operations, one after the other."""

from hdlif.kernels.chunk.operations.function import OperationsStep, run, run_with_graph

__all__ = ["OperationsStep", "run", "run_with_graph"]
