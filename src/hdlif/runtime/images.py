"""An image file as the input of a deployed network."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from hdlif.artefact import InputRecord
from hdlif.artefact.format import INPUT_KINDS
from hdlif.errors import InputError

_MODES = {1: "L", 3: "RGB"}
_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def read_image(path: str | Path, record: InputRecord) -> NDArray[np.float32]:
    """The image as [1, 1, C, H, W]: grey or RGB by C, resized as the record says, normalised.

    Raises:
        InputError: the file is no image, or its size is another and the record does not resize.
    """
    channels, height, width = record.shape
    if channels not in _MODES:
        raise InputError(f"{path}: the network takes {channels} channels; an image gives 1 or 3; give a .npy file")
    try:
        with Image.open(path) as image:
            # 16- and 32-bit grey would be clipped to white, not scaled
            if image.mode[0] in "IF":
                raise InputError(f"{path}: mode is {image.mode}; give an image of 8 bits a channel, or a .npy file")
            pixels = image.convert(_MODES[channels])
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: cannot be read as an image ({error}); give a PNG, a JPEG or a .npy file") from error
    if pixels.size != (width, height):
        if record.resize == "none":
            raise InputError(
                f"{path}: the image is {pixels.height}x{pixels.width} and the network does not resize; "
                f"give one of {height}x{width}"
            )
        pixels = pixels.resize((width, height), _RESAMPLING[record.resize])
    return normalise(np.asarray(pixels).reshape(height, width, channels).transpose(2, 0, 1), record)[None, None]


def normalise(pixels: NDArray[Any], record: InputRecord) -> NDArray[np.float32]:
    """(pixels / 255 - mean) / std of 0..255 pixels [..., C, H, W], in float32; counts of events are not divided."""
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (record.mean, record.std))
    normalised: NDArray[np.float32] = (pixels.astype(np.float32) / np.float32(INPUT_KINDS[record.kind]) - mean) / std
    return np.ascontiguousarray(normalised)
