"""What an op becomes elsewhere: its forms in PyTorch and in ONNX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from hdlif.graph.graph import Node

if TYPE_CHECKING:
    from hdlif.deploy.onnx_translation import OnnxForm


class Parts(Protocol):
    """A node as its PyTorch form sees it, at the steps of a chunk."""

    node: Node
    steps: range
    states: dict[str, Tensor]
    """Before the chunk, [B, ...] each; the form puts those after it in their places."""

    def rows(self, role: str, ndim: int) -> Tensor:
        """A per-step tensor for the steps of the chunk, broadcastable to [K, B, C, ...]."""

    def tensor(self, role: str) -> Tensor:
        """A tensor as it is."""


TorchForm = Callable[[Parts, tuple[Tensor, ...]], Tensor]
"""(parts, inputs [K or 1, B, ...]) -> output [K or 1, B, ...]."""


@dataclass(frozen=True)
class OpForm:
    """The forms of the op of that name.

    Attributes:
        keep: what a node keeps of a step once all nodes of it are known, by state, from the values [1, B, ...]; as
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
