"""Compiled CPU kernels for training, each with a reference implementation and a fallback to PyTorch operations.

Callers choose between the kernel and the fallback based on device, dtype and memory layout.
"""

import torch  # noqa: F401 - loads the OpenMP runtime that `share_threads` looks for

from hdlif.nn.kernels.tensors import share_threads

share_threads()
