"""Forms of an op in PyTorch and ONNX."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from hdlif.deploy.onnx_translation import OnnxForm
from hdlif.graph.graph import Node


@dataclass
class Parts:
    """A node at the steps of a chunk, for its PyTorch form.

    Attributes:
        tensors: the node's own, by role.
        states: states before the chunk, [B, ...] each; the form replaces them by those after it.
    """

    node: Node
    steps: range
    tensors: Mapping[str, Tensor]
    states: dict[str, Tensor]

    def rows(self, role: str, ndim: int) -> Tensor:
        """Return a per-step tensor for the steps of the chunk, broadcastable to [K, B, C, ...]."""
        rows = self.tensors[role]
        if len(rows) > 1:
            rows = rows[[min(t, len(rows) - 1) for t in self.steps]]
        return rows.view(rows.shape[0], 1, rows.shape[1], *[1] * (ndim - 3))


TorchForm = Callable[[Parts, tuple[Tensor, ...]], Tensor]
"""(parts, inputs [K or 1, B, ...]) -> output [K or 1, B, ...]."""


@dataclass(frozen=True)
class OpForm:
    """Forms of an op.

    Attributes:
        keep: states that a node stores once all nodes of a step are known, from the values [1, B, ...]; as
            `Op.keep`.
    """

    op: str
    torch: TorchForm
    onnx: OnnxForm
    keep: Callable[[Node, Mapping[str, Tensor]], dict[str, Tensor]] | None = None


def folded(x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """A function of [B, ...], on [K, B, ...]."""
    y = function(x.flatten(0, 1))
    return y.reshape(*x.shape[:2], *y.shape[1:])
