"""The plots, by what they are of."""

from figures.plots import coherence, memory, runtime, training

__all__ = ["coherence", "memory", "runtime", "training"]
