"""Graded spikes on few levels of a fixed step, in one pass over memory, by Triton's kernel on a GPU.

Its oracle is `functional.quantize_spike`. On a CPU spikes are quantised along with their codes (`kernels.code_conv`).
"""

from hdlif.kernels.spikes.levels import quantised, serves

__all__ = ["quantised", "serves"]
