"""The plots, by what they are of."""

from figures.plots import accuracy, coherence, memory, runtime, training

__all__ = ["accuracy", "coherence", "memory", "runtime", "training"]
