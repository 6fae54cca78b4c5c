"""Forms of an op in PyTorch and ONNX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from hdlif.graph.graph import Node

if TYPE_CHECKING:
    from hdlif.deploy.onnx_translation import OnnxForm


class Parts(Protocol):
    """Interface of a node for its PyTorch form, at the steps of a chunk."""

    node: Node
    steps: range
    states: dict[str, Tensor]
    """States before the chunk, [B, ...] each; the form replaces them by those after it."""

    def rows(self, role: str, ndim: int) -> Tensor:
        """Return a per-step tensor for the steps of the chunk, broadcastable to [K, B, C, ...]."""

    def tensor(self, role: str) -> Tensor:
        """Return a tensor unchanged."""


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
