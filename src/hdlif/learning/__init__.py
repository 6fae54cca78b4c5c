"""Learning rules: who is trained through which time steps, and what is cut."""

from hdlif.learning.coherence import RuleCoherence, coherence, loss_of_each, loss_of_mean
from hdlif.learning.criterion import Criterion, Timed, first_step, loss_at, loss_over, probabilities
from hdlif.learning.distillation import Distillation
from hdlif.learning.ndot import NDOT
from hdlif.learning.ottt import OTTT, OTTTCriterion
from hdlif.learning.rule import Plan, Rule, Step
from hdlif.learning.sltt import SLTT
from hdlif.learning.stbp import STBP, mean_logits, sum_logits
from hdlif.learning.stochastic_step import Draw, StochasticStep, Stratified, Uniform

__all__ = [
    "NDOT",
    "OTTT",
    "SLTT",
    "STBP",
    "Criterion",
    "Distillation",
    "Draw",
    "OTTTCriterion",
    "Plan",
    "Rule",
    "RuleCoherence",
    "Step",
    "StochasticStep",
    "Stratified",
    "Timed",
    "Uniform",
    "coherence",
    "first_step",
    "loss_at",
    "loss_of_each",
    "loss_of_mean",
    "loss_over",
    "mean_logits",
    "probabilities",
    "sum_logits",
]
