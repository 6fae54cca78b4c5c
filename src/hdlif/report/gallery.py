"""Draw the test images with the lowest scores for reports: targets next to predictions."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from hdlif.report.data_sheet import enlarged, with_target

if TYPE_CHECKING:
    from hdlif.data import Samples
    from hdlif.training.tasks.task import Shown


def gallery(samples: Samples, shown: Sequence[Shown]) -> dict[str, Any]:
    """Return gallery.json: for each image its score, and base64 PNG files with the target and the prediction drawn.

    Args:
        samples: images with targets at places, such as masks or boxes.
    """
    return {"images": [_drawn(samples, one) for one in shown]}


def _drawn(samples: Samples, shown: Shown) -> dict[str, Any]:
    x, targets = samples.plain().raw(torch.tensor([shown.index]))
    pixels = x[0].numpy()
    picture = enlarged(np.broadcast_to(pixels, (3, *pixels.shape[1:])))
    drawn = {"truth": targets[0], "answer": shown.answer}
    return {
        "score": shown.score,
        **{name: _png(with_target(picture, one.numpy(), pixels.shape[1])) for name, one in drawn.items()},
    }


def _png(pixels: Any) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()
