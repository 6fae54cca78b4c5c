"""Lightning's Fabric, imported."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def fabric_class() -> type[Fabric]:
    """`lightning_fabric.Fabric`.

    Fabric asks for the version of torchmetrics by importing it, and with it SciPy, matplotlib and torchvision, which
    takes as long as all else; what it does by it, spike detection, is not used. So torchmetrics is not there meanwhile.
    """
    if "lightning_fabric" not in sys.modules and "torchmetrics" not in sys.modules:
        sys.modules["torchmetrics"] = None  # type: ignore[assignment]
        try:
            import lightning_fabric  # noqa: F401
        finally:
            del sys.modules["torchmetrics"]
    from lightning_fabric import Fabric

    return Fabric
