"""What trains and is more than one of PyTorch's operations: a folder each, with an oracle and what is faster than it.

Which of them runs is seen from the tensors that are given: their device, dtype and layout.
"""

import torch  # noqa: F401 - whose OpenMP runtime is looked for

from hdlif.kernels.threads import share_threads

share_threads()
