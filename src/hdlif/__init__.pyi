import typing

from hdlif import accounting as accounting
from hdlif import data as data
from hdlif import deploy as deploy
from hdlif import errors as errors
from hdlif import functional as functional
from hdlif import learning as learning
from hdlif import models as models
from hdlif import nn as nn
from hdlif import runtime as runtime
from hdlif import training as training
from hdlif.cli.adapt import Adapted as Adapted
from hdlif.cli.adapt import adapt as adapt
from hdlif.cli.eval import EvaluationResult as EvaluationResult
from hdlif.cli.eval import evaluate as evaluate
from hdlif.cli.export import export as export
from hdlif.cli.networks import TrainedNetwork as TrainedNetwork
from hdlif.cli.networks import load as load
from hdlif.cli.predict import predict as predict
from hdlif.cli.profile import Profiled as Profiled
from hdlif.cli.profile import profile as profile
from hdlif.cli.profile import profile_training as profile_training
from hdlif.cli.train import Run as Run
from hdlif.cli.train import train as train
from hdlif.learning import NDOT as NDOT
from hdlif.learning import OTTT as OTTT
from hdlif.learning import SLTT as SLTT
from hdlif.learning import STBP as STBP
from hdlif.learning import ForwardMode as ForwardMode
from hdlif.learning import StochasticStep as StochasticStep
from hdlif.learning import StochasticWindow as StochasticWindow
from hdlif.recipe import TrainingConfig as TrainingConfig
from hdlif.recipe.builders.schema import recipe_schema as recipe_schema
from hdlif.recipe.runs.summary import TrainResult as TrainResult
from hdlif.runtime import FrameStream as FrameStream
from hdlif.runtime import Learner as Learner
from hdlif.runtime import LearningRate as LearningRate
from hdlif.runtime import Session as Session
from hdlif.runtime import Stream as Stream
from hdlif.training import Checkpoints as Checkpoints
from hdlif.training import Fit as Fit
from hdlif.training import Log as Log
from hdlif.training import Progress as Progress
from hdlif.training import Trainer as Trainer
from hdlif.training.tasks import Classify as Classify
from hdlif.training.tasks import Instances as Instances
from hdlif.training.tasks import LabelSequence as LabelSequence
from hdlif.training.tasks import Multilabel as Multilabel
from hdlif.training.tasks import Regress as Regress
from hdlif.training.tasks import Segment as Segment

__version__: str

def names_at(package: str, at: typing.Mapping[str, str]) -> typing.Callable[[str], typing.Any]: ...
