"""Deployment: fold, lower to a graph, pack into an artefact."""

from hdlif.deploy.export import export, fold
from hdlif.deploy.lower import lower, lowers
from hdlif.deploy.to_torch import GraphModule

__all__ = ["GraphModule", "export", "fold", "lower", "lowers"]
