"""What is measured of a network or of this machine: a test set, counts, peak memory, engines in turns, gradients."""
