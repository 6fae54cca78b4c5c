"""Learning rules: who is trained through which time steps, and what is cut."""

from hdlif.learning.coherence import RuleCoherence, coherence, loss_of_each, loss_of_mean
from hdlif.learning.ndot import NDOT
from hdlif.learning.ottt import OTTT, OTTTCriterion
from hdlif.learning.rule import Criterion, Plan, Rule, Step
from hdlif.learning.sltt import SLTT
from hdlif.learning.stbp import STBP, mean_logits, sum_logits
from hdlif.learning.stochastic_step import Draw, StochasticStep, Stratified, Uniform

__all__ = [
    "NDOT",
    "OTTT",
    "SLTT",
    "STBP",
    "Criterion",
    "Draw",
    "OTTTCriterion",
    "Plan",
    "Rule",
    "RuleCoherence",
    "Step",
    "StochasticStep",
    "Stratified",
    "Uniform",
    "coherence",
    "loss_of_each",
    "loss_of_mean",
    "mean_logits",
    "sum_logits",
]
