"""A GRU with int8 weights as the network of a recipe: `model: {kind: "benchmarks.series_gru:Gru", hidden: 64}`."""

import torch
from torch import Tensor, nn

from hdlif.functional import quantize_weight
from hdlif.nn import State, Temporal


class Gru(Temporal):
    """One layer of PyTorch's GRU and a float32 linear layer at each step, as other networks have.

    Args:
        in_channels, classes: of the data.
        hidden: number of units.
    """

    def __init__(self, in_channels: int, classes: int, hidden: int = 64) -> None:
        super().__init__()
        self.layer, self.classifier = nn.GRU(in_channels, hidden), nn.Linear(hidden, classes)

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State | None]:
        x = x.flatten(2).expand(len(steps), -1, -1)
        hidden = x.new_zeros(1, x.shape[1], self.layer.hidden_size) if state is None else state["hidden"]
        weights = [quantize_weight(one, bits=8) if one.ndim == 2 else one for one in self.layer.parameters()]
        y, hidden = torch.gru(x, hidden, weights, True, 1, 0.0, self.training, False, False)
        return self.classifier(y), {"hidden": hidden}
