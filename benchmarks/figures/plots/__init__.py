"""The plots, by what they are of."""

from figures.plots import coherence, memory

__all__ = ["coherence", "memory"]
