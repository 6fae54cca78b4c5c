"""What trains and is more than one of PyTorch's operations: a folder each, with an oracle and what is faster than it.

Which of them runs is seen from the tensors that are given: their device, dtype and layout.
"""
