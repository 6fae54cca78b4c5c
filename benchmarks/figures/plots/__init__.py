"""The plots, by what they are of."""

from figures.plots import coherence, memory, neurons, protocol

__all__ = ["coherence", "memory", "neurons", "protocol"]
