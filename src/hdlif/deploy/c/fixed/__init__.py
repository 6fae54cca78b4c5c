"""Networks in fixed point, for processors without a floating-point unit."""
