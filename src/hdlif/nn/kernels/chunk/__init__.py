"""One CPU function for all steps of a chunk of a neuron's equation, with its own backward pass.

Under autograd, each operation of each step saves the inputs of its own derivative. Here the chunk runs without a graph
and saves only the values that `equations.Saving` lists: each value once, a choice as one bit, and nothing that follows
from other saved values. The backward pass runs the steps in reverse. The results equal separate steps bit for bit, and
gradients differ from autograd's only by the order of summation.

The program of a step (`equations.chunk_program`) runs on one block of neurons at a time, for all steps of the chunk, so
states and gradients stay in the cache. Blocks are shared among at most 16 of PyTorch's threads. Small chunks use fewer
threads, and only one if the saved bits of a step do not fill whole bytes. The gradient of a row is summed over its
steps in the dtype of the states, and over neurons in float64. The order of summation does not depend on the threads.
"""

from hdlif.nn.kernels.chunk.step import FusedStep

__all__ = ["FusedStep"]
