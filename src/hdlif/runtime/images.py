"""Read image files and arrays of pixels as inputs of a deployed network."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import InputError, reason
from hdlif.graph.artefact import InputRecord
from hdlif.graph.graph import INPUT_KINDS
from hdlif.inputs import Unreadable, pictures
from hdlif.inputs.fitting import MODES, Floats, Pixels, fitted, framed, normalised
from hdlif.runtime.files import Given, content_of

if TYPE_CHECKING:
    # imported lazily: runs on arrays do not need it
    from PIL import Image

SUFFIXES = tuple(pictures.FORMATS)
"""Suffixes of image files in a folder; upper and lower case are equivalent."""
_CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}


class Placed(NamedTuple):
    """The position of an image within a network's input, which is used to map predictions back to the image.

    Attributes:
        size, target: width and height of the image and of the input.
        fit: fitting mode, as in the input's record.
    """

    size: tuple[int, int]
    target: tuple[int, int]
    fit: str

    @classmethod
    def whole(cls, record: InputRecord) -> "Placed":
        """Return the position of an array that fills the network's input exactly."""
        _, height, width = record.shape
        return cls((width, height), (width, height), "squash")


def read_image(path: str | Path | Given, record: InputRecord, *, time_steps: int = 1) -> Floats:
    """Read an image file as a network's input [1, 1, C, H, W], or as a sequence of its rows or pixels.

    `hdlif.inputs.pictures.decode` defines the image formats and limits. The image is converted to grey or RGB, fitted
    to the input's size, and normalised, as the record requires.

    >>> import numpy as np
    >>> from PIL import Image
    >>> from hdlif.graph.artefact import InputRecord
    >>> from hdlif.runtime import read_image
    >>> Image.fromarray(np.zeros((8, 8), np.uint8)).save("digit.png"); read_image(
    ...     "digit.png", InputRecord((1, 8, 8), (0.5,), (0.25,))
    ... ).shape
    (1, 1, 1, 8, 8)

    Args:
        time_steps: T of the network.
        path: path of the image file.
        record: record of the network's input.
    Raises:
        InputError: the file is not an image, or its size differs and the record does not resize.
    """
    return read_placed_image(path, record, time_steps=time_steps)[0]


def read_placed_image(path: str | Path | Given, record: InputRecord, *, time_steps: int = 1) -> tuple[Floats, Placed]:
    """Read an image file as `read_image` does, and also return the image's position within the input."""
    return _sequence(_decoded(path, _mode(record, str(path))), record, time_steps, str(path))


def read_pixels(path: str | Path | Given) -> Pixels:
    """Return the RGB pixels [h, w, 3] of an image file, without resizing the image."""
    return np.asarray(_decoded(path, MODES[3]))


def _decoded(path: str | Path | Given, mode: str) -> "Image.Image":
    place = path if isinstance(path, Given) else Path(path)
    try:
        return pictures.decode(content_of(place), mode, ended=place.ended if isinstance(place, Given) else None)
    except (OSError, Unreadable) as error:
        raise InputError(
            f"{path}: cannot be read as an image ({reason(error)}); give an image, or pixels in a .npy file"
        ) from error


def image_sequence(array: Pixels, record: InputRecord, name: str, *, time_steps: int) -> tuple[Floats, Placed]:
    """Convert the pixels of an image to a network's input, and also return the image's position within the input.

    Raises:
        InputError: the image has another shape, or another size and the record does not resize. The message begins with
            `name`.
    """
    return _sequence(_image(array, record, name), record, time_steps, name)


def fit_images(pixels: Pixels, record: InputRecord) -> Pixels:
    """Convert images, uint8 [N, C, H, W], to the size and channels of the network's input.

    Raises:
        InputError: the network takes part of an image at each step, so proportions must not change.
    """
    (height, width), (_, to_height, to_width) = pixels.shape[2:], record.shape
    if pixels.shape[1:] == record.shape:
        return pixels
    if height * to_width != width * to_height or record.frames != "constant":
        raise InputError(
            f"images are {height}x{width}, but the network takes {to_height}x{to_width}; give data of its shape"
        )
    return np.stack([_fit(_image(image.transpose(1, 2, 0), record, "image"), record, 1, "image") for image in pixels])


def normalise(pixels: NDArray[Any], record: InputRecord) -> Floats:
    """Return (pixels / 255 - mean) / std in float32, or (counts - mean) / std for event counts.

    >>> import numpy as np
    >>> from hdlif.graph.artefact import InputRecord
    >>> from hdlif.runtime import normalise
    >>> normalise(np.full((1, 2, 2), 255, np.uint8), InputRecord((1, 2, 2), (0.5,), (0.25,))).tolist()
    [[[2.0, 2.0], [2.0, 2.0]]]

    Args:
        pixels: pixels [..., C, H, W] in 0..255, or event counts.
        record: record of the network's input, with mean and std.
    """
    return normalised(pixels, record.mean, record.std, whole=INPUT_KINDS[record.kind])


def _mode(record: InputRecord, name: str) -> str:
    if record.shape[0] not in MODES:
        raise InputError(
            f"{name}: the network takes {record.shape[0]} channels, but an image has 1 or 3; give a .npy file"
        )
    return MODES[record.shape[0]]


def _image(array: Pixels, record: InputRecord, name: str) -> "Image.Image":
    """Convert an array of pixels to an image in the colour mode that the network requires."""
    from PIL import Image

    mode = _mode(record, name)
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in _CHANNELS or not array.size:
        raise InputError(f"{name}: uint8 {list(array.shape)}; an image is [H, W] or [H, W, 1, 3 or 4]")
    flat = array.reshape(array.shape[:2]) if channels == 1 else array
    return Image.fromarray(flat, _CHANNELS[channels]).convert(mode)


def _sequence(image: "Image.Image", record: InputRecord, time_steps: int, name: str) -> tuple[Floats, Placed]:
    pixels = _fit(image, record, time_steps, name)
    placed = Placed(image.size, (pixels.shape[2], pixels.shape[1]), record.fit)
    return framed(normalise(pixels, record), record.frames)[:, None], placed


def _fit(image: "Image.Image", record: InputRecord, time_steps: int, name: str) -> Pixels:
    """Fit an image to the complete input of all steps together, and return its pixels [C, H, W]."""
    shape = record.sample_shape(time_steps)
    _, height, width = shape
    try:
        # No other code checks the size of an array.
        pictures.check_size(*image.size)
    except Unreadable as error:
        raise InputError(f"{name}: {error}; give a smaller image") from error
    if image.size != (width, height):
        if record.resize == "none":
            raise InputError(
                f"{name}: the image is {image.height}x{image.width}, but the network does not resize; give one of "
                f"{height}x{width}"
            )
        if height == 1 < image.height:
            raise InputError(
                f"{name}: the network takes one row of {width} pixels, but its file, from an earlier version, "
                "lacks the rows for each step; export it again, or give the steps as a .npy array"
            )
    return fitted(image, shape, resize=record.resize, fit=record.fit, mean=record.mean)
