"""Weights of convolutions and linear layers: encodings, checks, and the cost per input-weight pair."""

import math
from typing import Literal

import numpy as np

from hdlif.errors import ArtefactError, brief, did_you_mean
from hdlif.graph.graph import MAX_ELEMENTS, Array, Node, Value
from hdlif.graph.op import ADD, INTEGER_ADD, INTEGER_MAC, MAC, Seen, Work

Encoding = Literal["float32", "ternary", "binary", "int2", "int4", "int8"]
LARGEST_WEIGHT = {"ternary": 1, "binary": 1, "int2": 1, "int4": 7, "int8": 127}
"""Largest weight of each integer encoding; the smallest is its negative."""
FRACTION_BITS = {1: 13, 7: 11, 127: 8}
"""Fraction bits of a trained weight's latent value, by the largest weight, so its range fits in 16 bits."""
ADDING_ENCODINGS = ("ternary", "binary", "int2")
"""Encodings whose weights are only -1, 0 and 1, and therefore need no multiplication."""


def codes_of(latents: Array, encoding: str) -> Array:
    """Round latent int16 weights to integer codes, with halves rounded up; binary codes are 1 or -1."""
    if encoding == "binary":
        return np.where(latents >= 0, 1, -1).astype(np.int8)
    most = LARGEST_WEIGHT[encoding]
    halves = latents.astype(np.int32) + (1 << (FRACTION_BITS[most] - 1))
    codes: Array = np.clip(halves >> FRACTION_BITS[most], -most, most).astype(np.int8)
    return codes


def weight_of(node: Node, in_shape: tuple[int, ...]) -> Array:
    weight = node.tensors["weight"]
    encoding = node.attributes["encoding"]
    dtypes: dict[str, type[np.generic]] = {"float32": np.float32, **dict.fromkeys(LARGEST_WEIGHT, np.int8)}
    if not isinstance(encoding, str) or encoding not in dtypes:
        raise ArtefactError(
            f"{node.name}: encoding = {brief(encoding)} is unknown; {did_you_mean(brief(encoding), dtypes)}"
        )
    if weight.dtype != dtypes[encoding]:
        raise ArtefactError(
            f"{node.name}.weight: dtype is {weight.dtype}; {encoding} weights are {dtypes[encoding].__name__}"
        )
    if node.attributes["role"] not in ("stem", "body", "classifier"):
        raise ArtefactError(
            f"{node.name}: role = {brief(node.attributes['role'])}; choose one of body, classifier, stem"
        )
    if weight.shape[1 : 1 + len(in_shape)] != in_shape or not 0 < weight.size <= MAX_ELEMENTS:
        raise ArtefactError(f"{node.name}.weight: shape {list(weight.shape)} does not fit {in_shape[0]} input channels")
    if encoding == "float32" and not np.isfinite(weight).all():
        raise ArtefactError(f"{node.name}.weight: contains a value that is not finite")
    most = LARGEST_WEIGHT.get(encoding, 0)
    outside = encoding in LARGEST_WEIGHT and (weight.min() < -most or weight.max() > most)
    if outside or (encoding == "binary" and 0 in weight):
        raise ArtefactError(f"{node.name}.weight: contains a value that is not {encoding}")
    return weight


def check_sum(node: Node, value: Value) -> None:
    """Check that the sum of code-weight products over a receptive field fits into an int32."""
    terms = math.prod(node.tensors["weight"].shape[1:])
    largest = LARGEST_WEIGHT.get(node.attributes["encoding"], 1)
    if value.max_code is not None and terms * value.max_code * largest >= 2**31:
        raise ArtefactError(
            f"{node.name}: {terms} codes of up to {value.max_code}, times weights of up to {largest}, may exceed 2^31; "
            "split the layer"
        )


def price(node: Node, seen: Seen) -> Work:
    return _of_a_pair(node, seen) * seen.per_image(node, seen.pairs[node.name], once=True)


def _of_a_pair(node: Node, seen: Seen) -> Work:
    """Return the cost of one product of a nonzero input and a nonzero weight, including the addition."""
    max_code, encoding = seen.types[node.inputs[0]].max_code, node.attributes["encoding"]
    adds = max_code == 1 or encoding in ADDING_ENCODINGS
    if encoding == "float32" or max_code is None:
        return ADD if adds else MAC
    return INTEGER_ADD if adds else INTEGER_MAC
