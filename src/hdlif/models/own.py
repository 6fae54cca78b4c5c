"""Wrapper of custom networks."""

import torch
from torch import Tensor, nn

from hdlif.errors import ShapeError
from hdlif.models.blocks import Network
from hdlif.nn import Scope, State, Temporal
from hdlif.nn.state import Paths, steps_of


class OwnNetwork(Temporal):
    """Any sequence or temporal module as a network: samples [K, B, ...] (or [1, ...]) to logits [K, B, classes, ...].

    It is called as `Network` is; the module's parameters bear its name, `network`, before theirs.

    >>> import torch
    >>> from torch import nn
    >>> from hdlif.models import OwnNetwork
    >>> from hdlif.nn import HDLIF
    >>> network = OwnNetwork(nn.Sequential(nn.Conv2d(1, 4, 3), HDLIF(time_steps=2), nn.Flatten(), nn.Linear(144, 10)))
    >>> logits, state = network(torch.rand(2, 1, 1, 8, 8))
    >>> list(logits.shape)
    [2, 1, 10]

    Args:
        network: `hdlif.nn.Sequential`, `torch.nn.Sequential`, or a class derived from `hdlif.nn.Temporal`.
    Raises:
        TypeError: it is something else.
    """

    paths: Paths = (("network",),)

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        is_sequence = isinstance(network, nn.Sequential) and type(network).forward is nn.Sequential.forward
        if not (isinstance(network, Temporal) or is_sequence):
            raise TypeError(
                f"{type(network).__name__} is not a network over time; give a Sequential of hdlif.nn or torch.nn, with "
                "layers and neurons, or a class derived from hdlif.nn.Temporal"
            )
        self.network = network

    def forward(self, x: Tensor, state: State | None = None, steps: range | None = None) -> tuple[Tensor, State | None]:
        steps = steps_of(x, state, steps)
        run = Scope(self, state, steps)
        logits = run("network", x)
        if logits.ndim not in (3, 5):
            raise ShapeError(
                f"{type(self.network).__name__} gives {list(logits.shape)}; a network gives logits "
                "[steps, batch, classes], such as by nn.Flatten() and nn.Linear at its end, or maps of them"
            )
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return logits.expand(len(steps), *logits.shape[1:]), run.state


def as_network(module: nn.Module) -> Temporal:
    """`module` as a network: a `Network` or `OwnNetwork` as it is, and any other module in an `OwnNetwork`.

    >>> from torch import nn
    >>> from hdlif.models import as_network
    >>> from hdlif.nn import HDLIF
    >>> network = as_network(nn.Sequential(nn.Linear(2, 8), HDLIF(time_steps=4), nn.Linear(8, 3)))
    >>> as_network(network) is network
    True

    Args:
        module: as in `OwnNetwork`, whose errors are raised.
    """
    return module if isinstance(module, Network | OwnNetwork) else OwnNetwork(module)
