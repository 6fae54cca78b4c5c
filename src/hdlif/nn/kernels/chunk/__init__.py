"""Run a chunk of a neuron's steps in one compiled CPU function, with a custom backward pass.

Under autograd, every operation in every step saves inputs for its derivative. A fused chunk runs without a graph and
saves only the values that `equations.Saving` lists. Values that can be recomputed are not saved. Other values are saved
once, and comparisons take one bit each. The backward pass runs the steps in reverse. Outputs are bit-identical to the
outputs of separate steps, and gradients differ from autograd's only in the order of summation.

The program of a step (`equations.chunk_program`) processes a chunk block by block: all steps run for one block of
neurons before the next block starts. The states and gradients of a block therefore stay in the cache. At most 16 of
PyTorch's threads share the blocks. Small chunks use fewer threads. A chunk whose saved bits per step do not fill whole
bytes uses one thread. The gradient of a parameter is summed over steps in the dtype of the states, and over neurons in
float64. The order of summation does not depend on the number of threads.
"""

from hdlif.nn.kernels.chunk.step import FusedStep

__all__ = ["FusedStep"]
