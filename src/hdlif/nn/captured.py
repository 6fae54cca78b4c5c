"""What stands for a value while a module's forward pass is followed, and not computed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

from torch import nn

CHANNELS = 2
"""The axis of channels in a value [K, B, C, ...]."""


class Captured(ABC):
    """A value of a network of which what is done to it is taken down, such as by `hdlif.deploy.lower`.

    A `Scope` that is given one in place of a tensor runs nothing: it asks it for what a child makes of it.
    """

    @abstractmethod
    def through(self, name: str, child: nn.Module) -> Self:
        """What `child`, of that name in the module at hand, makes of this value."""
