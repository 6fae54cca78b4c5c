"""Deployment: fold, lower to a graph, pack into an artefact."""

from hdlif.deploy.export import export, fold
from hdlif.deploy.folding import FoldedNeuron, fold_mem_bn, fold_mem_bn_on_current
from hdlif.deploy.lower import lower
from hdlif.deploy.lowering import lowers
from hdlif.deploy.to_torch import GraphModule

__all__ = [
    "FoldedNeuron",
    "GraphModule",
    "export",
    "fold",
    "fold_mem_bn",
    "fold_mem_bn_on_current",
    "lower",
    "lowers",
]
