"""Read and check the values of NIR nodes, such as channel parameters, window sizes and weights."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.deploy.interop.nir_import.graph import NirNode
from hdlif.errors import ConversionError, brief

Floats = NDArray[np.float64]
Shape = tuple[int, ...]
NEAR = 1e-6
"""Largest relative error of a few float32 operations."""
MOST_ENTRIES = 2**30
"""Largest number of entries of a value in a network."""


def array(name: str, node: NirNode, key: str) -> Floats:
    """Return a node's field as a float64 array of finite numbers."""
    if key not in node.values:
        raise ConversionError(f"{name}: the {node.kind} has no {key}, which NIR requires")
    try:
        found = np.asarray(node.values[key], np.float64)
    except (TypeError, ValueError) as error:
        raise ConversionError(f"{name}.{key} is {brief(node.values[key])}; it must contain numbers") from error
    if not np.isfinite(found).all():
        raise ConversionError(f"{name}.{key} has values that are not finite; all must be finite")
    return found


def weight(name: str, node: NirNode, axes: int) -> NDArray[np.float32]:
    """Return a layer's weights in float32, or raise `ConversionError` unless the array has `axes` axes."""
    found = array(name, node, "weight")
    if found.ndim != axes or 0 in found.shape:
        raise ConversionError(f"{name}.weight has shape {list(found.shape)}; it must have {axes} axes")
    return found.astype(np.float32)


def per_channel(name: str, node: NirNode, key: str, shape: Shape, *, default: float | None = None) -> Floats:
    """Reduce a field that is constant within each channel to [C], or to [1] if all entries are equal.

    Raises:
        ConversionError: the field has another shape, or differs within a channel.
    """
    if default is not None and node.values.get(key) is None:
        return np.full(1, default)
    found = array(name, node, key)
    if found.size == 1:
        return found.reshape(1)
    try:
        spread = np.broadcast_to(found, shape).reshape(shape[0], -1)
    except ValueError as error:
        raise ConversionError(
            f"{name}.{key} has shape {list(found.shape)}; it must have shape {list(shape)}, like the value that it "
            "applies to, or be one number"
        ) from error
    if (spread != spread[:, :1]).any():
        raise ConversionError(f"{name}.{key} differs within a channel of a map; give one value per channel")
    column = spread[:, 0]
    return column[:1].copy() if (column == column[0]).all() else column.copy()


def sizes(name: str, node: NirNode, key: str, count: int) -> list[int]:
    """Return one size per axis from a node's field."""
    found = array(name, node, key).reshape(-1)
    whole = [int(value) for value in found]
    if len(whole) not in (1, count) or any(value != size for value, size in zip(whole, found, strict=True)):
        raise ConversionError(f"{name}.{key} = {brief(found.tolist())}; it must be {count} integers")
    if any(not 0 <= size < 2**15 for size in whole):
        raise ConversionError(f"{name}.{key} = {whole}; they must be integers in 0..{2**15 - 1}")
    return whole * count if len(whole) == 1 else whole


def padding(name: str, node: NirNode, kernel: list[int], dilation: list[int]) -> list[int]:
    """Return the symmetric padding per side for each axis."""
    said = node.values.get("padding")
    if not isinstance(said, str):
        return sizes(name, node, "padding", len(kernel))
    around = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if said == "valid":
        return [0] * len(kernel)
    if said != "same" or any(size % 2 for size in around):
        raise ConversionError(f'{name}.padding = "{said}" with kernel {kernel}; "same" requires odd kernels')
    return [size // 2 for size in around]


def windows(name: str, size: Shape, kernel: list[int], stride: list[int], around: list[int], apart: list[int]) -> Shape:
    """Return the number of window positions along each axis."""
    if min(stride) < 1 or min(kernel) < 1 or min(apart) < 1:
        raise ConversionError(f"{name}: kernel {kernel}, stride {stride}, dilation {apart}; each must be at least 1")
    steps = zip(size, kernel, stride, around, apart, strict=True)
    found = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in steps)
    if min(found) < 1 or math.prod(found) > MOST_ENTRIES:
        raise ConversionError(f"{name}: kernel {kernel}, padding {around} do not fit a map of {list(size)}")
    return found


def leak(name: str, tau: Floats, dt: float) -> Floats:
    """Return the leak λ = 1 - dt/τ, or the short decimal λ from which τ was evidently computed in float32.

    >>> leak("lif", np.array([np.float32(1e-4) / (1 - np.float32(0.9))], np.float64), 1e-4)
    array([0.9])
    """
    if not (tau > 0).all():
        raise ConversionError(f"{name}: a time constant of {tau.min():g}; it must be above 0")
    found = 1 - dt / tau
    if (found < -NEAR).any():
        raise ConversionError(
            f"{name}: a time constant of {tau.min():g} s is shorter than a step of {dt:g} s; give the duration "
            "of a step (dt)"
        )
    few = np.round(found, 6)
    with np.errstate(divide="ignore"):
        of_few = dt / (1 - few)
    return np.clip(np.where(np.abs(of_few - tau) <= NEAR * tau, few, found), 0, 1)


def snapped(gain: Floats) -> Floats:
    """Return `gain`, in which values that differ from 1 only by rounding are replaced by 1."""
    return np.where(np.abs(gain - 1) <= NEAR, 1.0, gain)


def text_of(metadata: Mapping[str, Any], key: str) -> str | None:
    """Return the text under `key` in a node's metadata, or None if there is no such text."""
    found = metadata.get(key)
    return found if isinstance(found, str) else None
