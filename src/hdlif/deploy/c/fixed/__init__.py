"""Fixed-point networks for processors without a floating-point unit."""
