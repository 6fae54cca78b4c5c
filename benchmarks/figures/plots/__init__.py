"""The plots, by what they are of."""

from figures.plots import accuracy, memory, runtime, training

__all__ = ["accuracy", "memory", "runtime", "training"]
