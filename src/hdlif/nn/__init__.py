"""Temporal modules: neurons, synapses and norms, with explicit state."""

from hdlif.nn.attention import SECA, HeadSum, TokenSum, eca, eca_kernel_size
from hdlif.nn.batch_statistics import Gather
from hdlif.nn.companding import Companded, companded
from hdlif.nn.delay_line import Changes, DelayLine
from hdlif.nn.equation import EquationNeuron, Parameter
from hdlif.nn.glif import GLIF
from hdlif.nn.long_memory import AdaptiveHDLIF, ResonateHDLIF, SecondOrderHDLIF, SlidingParallelHDLIF
from hdlif.nn.mem_bn import MemBN
from hdlif.nn.modes import evaluation_mode
from hdlif.nn.neurons import HDLIF, LIF, GradedLIF, ParallelHDLIF
from hdlif.nn.norm import Affine, BatchNorm1d, BatchNorm2d
from hdlif.nn.per_step import PerStep, StepValue, TimeConstants, step_parameters
from hdlif.nn.recurrent import Recurrent
from hdlif.nn.scope import Scope, Sequential
from hdlif.nn.spikes import Dspike, SpikeQuantizer
from hdlif.nn.state import Neuron, State, Temporal, detach
from hdlif.nn.step_neuron import SteppedNeuron
from hdlif.nn.steps import Carrying, Measure, Observer, carrying
from hdlif.nn.synapses import (
    Binary,
    HeldWeights,
    Integer,
    QuantConv1d,
    QuantConv2d,
    QuantLayer,
    QuantLinear,
    Ternary,
    WeightQuantizer,
)
from hdlif.nn.unit_lif import LateResetLIF, LeakyIntegrator, UnitLIF

__all__ = [
    "GLIF",
    "HDLIF",
    "LIF",
    "SECA",
    "AdaptiveHDLIF",
    "Affine",
    "BatchNorm1d",
    "BatchNorm2d",
    "Binary",
    "Carrying",
    "Changes",
    "Companded",
    "DelayLine",
    "Dspike",
    "EquationNeuron",
    "Gather",
    "GradedLIF",
    "HeadSum",
    "HeldWeights",
    "Integer",
    "LateResetLIF",
    "LeakyIntegrator",
    "Measure",
    "MemBN",
    "Neuron",
    "Observer",
    "ParallelHDLIF",
    "Parameter",
    "PerStep",
    "QuantConv1d",
    "QuantConv2d",
    "QuantLayer",
    "QuantLinear",
    "Recurrent",
    "ResonateHDLIF",
    "Scope",
    "SecondOrderHDLIF",
    "Sequential",
    "SlidingParallelHDLIF",
    "SpikeQuantizer",
    "State",
    "StepValue",
    "SteppedNeuron",
    "Temporal",
    "Ternary",
    "TimeConstants",
    "TokenSum",
    "UnitLIF",
    "WeightQuantizer",
    "carrying",
    "companded",
    "detach",
    "eca",
    "eca_kernel_size",
    "evaluation_mode",
    "step_parameters",
]
