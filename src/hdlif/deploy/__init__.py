"""Deployment: fold, lower to a graph, pack into a model file; C, ONNX, NIR and pages.

Names are looked up when they are asked for: `hdlif.deploy.c` needs no PyTorch.
"""

from importlib import import_module
from typing import Any

_AT = {
    **dict.fromkeys(("export", "fold", "lower"), "network"),
    **dict.fromkeys(("FoldedNeuron", "fold_mem_bn", "fold_mem_bn_on_current"), "folding"),
    "lowers": "lowering",
    "GraphModule": "to_torch",
}
"""The module of each name; `__init__.pyi` says the same to type checkers."""

__all__ = [*_AT]


def __getattr__(name: str) -> Any:
    if name not in _AT:
        raise AttributeError(f"module 'hdlif.deploy' has no attribute {name!r}")
    return getattr(import_module(f"hdlif.deploy.{_AT[name]}"), name)
