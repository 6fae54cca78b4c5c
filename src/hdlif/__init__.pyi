from hdlif import accounting as accounting
from hdlif import artefact as artefact
from hdlif import data as data
from hdlif import deploy as deploy
from hdlif import errors as errors
from hdlif import functional as functional
from hdlif import learning as learning
from hdlif import models as models
from hdlif import nn as nn
from hdlif import runtime as runtime
from hdlif.commands.eval import EvaluationResult as EvaluationResult
from hdlif.commands.profile import Profiled as Profiled
from hdlif.learning import NDOT as NDOT
from hdlif.learning import OTTT as OTTT
from hdlif.learning import SLTT as SLTT
from hdlif.learning import STBP as STBP
from hdlif.learning import StochasticStep as StochasticStep
from hdlif.runtime import Session as Session
from hdlif.verbs import Run as Run
from hdlif.verbs import evaluate as evaluate
from hdlif.verbs import export as export
from hdlif.verbs import profile as profile
from hdlif.verbs import train as train

__version__: str
