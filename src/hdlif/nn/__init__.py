"""Temporal modules: neurons, synapses, norms, and the state that threads them through time."""

from hdlif.nn.container import Sequential
from hdlif.nn.modes import evaluation_mode
from hdlif.nn.neurons import HDLIF, LIF, ParallelHDLIF, SpikeQuantizer, StepSigmoid
from hdlif.nn.norm import BatchNorm2d
from hdlif.nn.state import Scope, State, Temporal, detach
from hdlif.nn.synapses import Binary, QuantConv2d, QuantLinear, Ternary, WeightQuantizer, hold_weights

__all__ = [
    "HDLIF",
    "LIF",
    "BatchNorm2d",
    "Binary",
    "ParallelHDLIF",
    "QuantConv2d",
    "QuantLinear",
    "Scope",
    "Sequential",
    "SpikeQuantizer",
    "State",
    "StepSigmoid",
    "Temporal",
    "Ternary",
    "WeightQuantizer",
    "detach",
    "evaluation_mode",
    "hold_weights",
]
