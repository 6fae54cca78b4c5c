"""What kernels for GPUs share: how Triton is given them, and started."""
