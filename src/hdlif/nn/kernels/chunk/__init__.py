"""All steps of a chunk of a neuron's equation in one function, with its own backward pass, on a CPU.

Under autograd each operation of each step saves what its own derivative reads. Here the chunk runs without a graph and
saves only what `equations.Saving` lists: each value once, a choice as one bit, and nothing that follows from the rest.
The backward pass runs the steps in reverse. Values equal those of the steps bit for bit, and gradients differ from
autograd's only by the order of their sums.

The program of a step (`equations.chunk_program`) runs on one block of neurons at a time, for all steps of the chunk, so
that states and gradients stay in the cache. Blocks are shared among PyTorch's threads, at most 16 of them; small chunks
use fewer, and one if the saved bits of a step do not fill whole bytes. The gradient of a row is summed over the steps
that share it in the dtype of the states, and over neurons in float64, in an order that does not depend on the threads.
"""

from hdlif.nn.kernels.chunk.step import FusedStep

__all__ = ["FusedStep"]
