"""The plots, by what they are of."""

from figures.plots import accuracy, coherence, memory

__all__ = ["accuracy", "coherence", "memory"]
