"""A GRU as the network of a recipe: `model: {kind: "benchmarks.series_gru:Gru", hidden: 64}`."""

import torch
from torch import Tensor, nn

from hdlif.functional import quantize_weight
from hdlif.nn import State, Temporal


class Gru(Temporal):
    """One layer of PyTorch's GRU, and a float32 linear layer that maps its output to logits at each step.

    x is [T, B, C] or [T, B, C, 1, 1], and the logits are [T, B, classes]. The weight matrices of the GRU are rounded to
    whole numbers with one scale per row, and trained with a straight-through gradient. Its biases stay float32.

    Args:
        in_channels: C.
        classes: number of logits.
        hidden: number of units.
        bits: number of bits per weight of the GRU, or None for float32.
    """

    def __init__(self, in_channels: int, classes: int, hidden: int = 64, bits: int | None = 8) -> None:
        super().__init__()
        self.layer, self.classifier, self.bits = nn.GRU(in_channels, hidden), nn.Linear(hidden, classes), bits

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State | None]:
        x = x.flatten(2).expand(len(steps), -1, -1)
        hidden = x.new_zeros(1, x.shape[1], self.layer.hidden_size) if state is None else state["hidden"]
        weights = list(self.layer.parameters())
        if self.bits is not None:
            weights = [quantize_weight(one, bits=self.bits) if one.ndim == 2 else one for one in weights]
        y, hidden = torch.gru(x, hidden, weights, True, 1, 0.0, self.training, False, False)
        return self.classifier(y), {"hidden": hidden}
