"""Compiled CPU kernels for training: each has a plain oracle, and its caller falls back to PyTorch's operations.

Callers choose by the tensors: their device, dtype and memory layout.
"""

import torch  # noqa: F401 - loads the OpenMP runtime that `share_threads` looks for

from hdlif.nn.kernels.tensors import share_threads

share_threads()
