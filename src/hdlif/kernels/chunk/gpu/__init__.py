"""Chunks of a step in one pass over memory each way, by kernels that Triton compiles, on a GPU.

A program of a step (`equations.chunk_program`) becomes the text of a kernel. Each of its instances takes a block of
neurons through all steps of the chunk, with their states in registers. Values are those of PyTorch's operations, and
the same bytes are saved. The gradient of a row is summed in float32 within an instance, over those in float64, always
in the same order.
"""

from hdlif.kernels.chunk.gpu.step import GPUStep, serves

__all__ = ["GPUStep", "serves"]
