"""Items of data sets in Python as the contents of files: pictures as PPM files, series as .npy files of float32."""

import io
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from hdlif.errors import DataError
from hdlif.inputs.fitting import MODES

PICTURE, SERIES = ".ppm", ".npy"
_TAKES = "pictures ([C, H, W] of uint8 or of floats in 0..1, or PIL's) or series ([T, C] of floats)"


def encoded(x: Any, name: str) -> tuple[bytes, str]:
    """An item as a file has it, and how its name would end; raises `DataError` where it is neither kind."""
    if isinstance(x, Image.Image):
        mode = "L" if x.mode in ("1", "L", "LA") else "RGB"
        return _ppm(np.asarray(x.convert(mode))), PICTURE
    if isinstance(x, torch.Tensor):
        x = x.detach().cpu().to_dense()
        x = (x.float() if x.dtype == torch.bfloat16 else x).numpy()
    array: NDArray[Any] = x
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "uif" or not array.size:
        seen = f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else f"a {type(x).__name__}"
        raise DataError(f"{name}: is {seen}; give {_TAKES}")
    if array.dtype == np.uint8 or array.ndim == 3:
        return _ppm(_rows(array, name)), PICTURE
    if array.ndim not in (1, 2):
        raise DataError(f"{name}: is {array.dtype} {list(array.shape)}; give {_TAKES}")
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(array if array.ndim == 2 else array[:, None], np.float32))
    return file.getvalue(), SERIES


def _rows(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Pixels [H, W] or [H, W, 3] of a picture in one of the usual layouts."""
    if array.ndim == 3:
        if array.shape[0] in MODES:
            array = array.transpose(1, 2, 0)
        if array.shape[2] not in MODES:
            raise DataError(f"{name}: is {array.dtype} {list(array.shape)}; pictures have 1 or 3 channels: [C, H, W]")
        array = array[:, :, 0] if array.shape[2] == 1 else array
    elif array.ndim != 2:
        raise DataError(f"{name}: is {array.dtype} {list(array.shape)}; give {_TAKES}")
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f" or not (array.min() >= 0 and array.max() <= 1):
        raise DataError(
            f"{name}: is {array.dtype} with values in {array.min()}..{array.max()}; give pictures of uint8, or of "
            "floats in 0..1: they are normalised here"
        )
    return np.rint(array.astype(np.float64) * 255).astype(np.uint8)


def _ppm(pixels: NDArray[np.uint8]) -> bytes:
    """Pixels [H, W] or [H, W, 3] as a PPM or PGM file."""
    height, width = pixels.shape[:2]
    kind = "P5" if pixels.ndim == 2 else "P6"
    return f"{kind} {width} {height} 255\n".encode() + np.ascontiguousarray(pixels).tobytes()
