"""Export of trained networks to model files, C, ONNX, NIR and web pages.

Imports are lazy, so `hdlif.deploy.c` works without PyTorch.
"""

from hdlif import names_at

_AT = {
    **dict.fromkeys(("export", "fold", "lower"), "deploy.network"),
    **dict.fromkeys(("FoldedNeuron", "fold_mem_bn", "fold_mem_bn_on_current"), "deploy.mem_bn_folding"),
    "lowers": "deploy.lowering",
    "GraphModule": "deploy.to_torch",
}
"""Module of each public name; `__init__.pyi` repeats these names for type checkers."""

__all__ = [*_AT]

__getattr__ = names_at(__name__, _AT)
