"""Learning rules, which choose time steps for the loss and truncate the temporal gradient."""

from hdlif.learning.coherence import RuleCoherence, coherence, loss_of_each, loss_of_mean
from hdlif.learning.criterion import (
    Criterion,
    Distillation,
    StepWeights,
    Timed,
    after_own,
    first_step,
    late_weights,
    loss_at,
    loss_over,
    probabilities,
    step_weights,
)
from hdlif.learning.draws import Draw, Stratified, Uniform
from hdlif.learning.forward_mode import ForwardMode
from hdlif.learning.ottt import NDOT, OTTT, OTTTCriterion
from hdlif.learning.rule import Carry, Plan, Rule, Step, Streaming, Tracing
from hdlif.learning.sltt import SLTT
from hdlif.learning.stbp import STBP, mean_logits, sum_logits
from hdlif.learning.stochastic_step import StochasticStep
from hdlif.learning.stochastic_window import StochasticWindow

__all__ = [
    "NDOT",
    "OTTT",
    "SLTT",
    "STBP",
    "Carry",
    "Criterion",
    "Distillation",
    "Draw",
    "ForwardMode",
    "OTTTCriterion",
    "Plan",
    "Rule",
    "RuleCoherence",
    "Step",
    "StepWeights",
    "StochasticStep",
    "StochasticWindow",
    "Stratified",
    "Streaming",
    "Timed",
    "Tracing",
    "Uniform",
    "after_own",
    "coherence",
    "first_step",
    "late_weights",
    "loss_at",
    "loss_of_each",
    "loss_of_mean",
    "loss_over",
    "mean_logits",
    "probabilities",
    "step_weights",
    "sum_logits",
]
