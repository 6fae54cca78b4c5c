"""The bytes of NumPy's files."""

import io

import numpy as np
from numpy.typing import ArrayLike


def npy(array: ArrayLike, version: tuple[int, int] | None = None) -> bytes:
    """Return a .npy file, with its objects pickled."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asanyarray(array), version)
    return file.getvalue()


def npz(**arrays: ArrayLike) -> bytes:
    """Return a .npz file."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()
