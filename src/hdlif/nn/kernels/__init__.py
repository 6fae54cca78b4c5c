"""Compiled CPU kernels for training, each with a plain reference and a fallback to PyTorch's operations.

Callers choose by the tensors' device, dtype and memory layout.
"""

import torch  # noqa: F401 - loads the OpenMP runtime that `share_threads` looks for

from hdlif.nn.kernels.tensors import share_threads

share_threads()
