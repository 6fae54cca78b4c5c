"""A writer of ONNX models that merges identical nodes and drops unused nodes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import MissingExtraError

OPSET, IR_VERSION = 17, 8
"""Opset and IR version of 2022, which are old enough for every engine in use."""
OPSET_OF_4_BITS, IR_VERSION_OF_4_BITS = 21, 10
"""Opset and IR version of 2024, the first with 4-bit weights."""

Shape = Sequence[int | str]
"""Shape of a tensor; a string is the name of a variable size."""


LOGITS = "logits"
"""Name of a network's output; no other value has this name."""


class Writer:
    """A builder that collects the nodes and constants of one ONNX graph.

    Raises:
        MissingExtraError: the package onnx is not installed.
    """

    def __init__(self) -> None:
        try:
            import onnx
        except ModuleNotFoundError as error:
            raise MissingExtraError.of("onnx", "export") from error
        self._onnx = onnx
        self._nodes: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._constants: dict[str, NDArray[Any]] = {}
        self._known: dict[Any, tuple[str, ...]] = {}
        self._arguments: dict[tuple[str, str], str] = {}
        self._names = {LOGITS}
        self._has_4_bits = False

    def input(self, name: str, shape: Shape, dtype: type[np.generic] = np.float32) -> str:
        self._inputs.append(self._typed(name, shape, dtype))
        self._names.add(name)
        return name

    def output(self, value: str, name: str, shape: Shape, dtype: type[np.generic] = np.float32) -> None:
        """Add `value` to the graph's outputs under the name `name`."""
        self._outputs.append(self._typed(name, shape, dtype))
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [name]))
        self._names.add(name)

    def constant(self, value: Any, dtype: type[np.generic] = np.float32) -> str:
        """Add a constant, and return its name."""
        array = np.ascontiguousarray(value, dtype).reshape(np.shape(value))
        return self._constant((array.dtype.str, array.shape, array.tobytes()), array)

    def _constant(self, key: tuple[Any, ...], array: NDArray[Any]) -> str:
        if key not in self._known:
            self._known[key] = (self._unused("constant"),)
            self._constants[self._known[key][0]] = array
        return self._known[key][0]

    def is_zero(self, value: str) -> bool:
        """Return whether a value is a constant that contains only zeros."""
        return value in self._constants and not self._constants[value].any()

    def packed(self, weight: NDArray[np.int8], bits: int) -> str:
        """Add a constant of 4-bit or 8-bit integers, and return its name."""
        if bits == 8:
            return self.constant(weight, np.int8)
        self._has_4_bits = True
        dtype = self._onnx.helper.tensor_dtype_to_np_dtype(self._onnx.TensorProto.INT4)
        return self._constant(("int4", weight.shape, weight.tobytes()), weight.astype(dtype))

    def op(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        return self.split(kind, inputs, 1, name, attributes)[0]

    def split(
        self, kind: str, inputs: Sequence[str], count: int, name: str = "", attributes: Mapping[str, Any] | None = None
    ) -> tuple[str, ...]:
        """Add an operation with `count` outputs, and return their names."""
        attributes = attributes or {}
        key = (kind, *inputs, count, *sorted((k, repr(v)) for k, v in attributes.items()))
        if key not in self._known:
            outputs = tuple(self._unused(name or kind) for _ in range(count))
            self._nodes.append(self._onnx.helper.make_node(kind, list(inputs), list(outputs), outputs[0], **attributes))
            self._known[key] = outputs
            self._arguments[kind, outputs[0]] = inputs[0]
        return self._known[key]

    def argument_of(self, kind: str, value: str) -> str:
        """Return the first operand of the `kind` operation that computes `value`, or `value` if there is none."""
        return self._arguments.get((kind, value), value)

    def model(self, name: str, metadata: Mapping[str, str]) -> Any:
        """Build, check and return the `onnx.ModelProto`."""
        needed = {output.name for output in self._outputs}
        kept = []
        for node in reversed(self._nodes):
            if needed.intersection(node.output):
                kept.append(node)
                needed.update(node.input)
        onnx = self._onnx
        for node in kept if self._has_4_bits else ():
            if node.op_type == "Split":
                # until opset 18 the number of outputs defines it
                node.attribute.append(onnx.helper.make_attribute("num_outputs", len(node.output)))
        constants = [onnx.numpy_helper.from_array(a, n) for n, a in self._constants.items() if n in needed]
        graph = onnx.helper.make_graph(kept[::-1], name, self._inputs, self._outputs, constants)
        model = onnx.helper.make_model(
            graph,
            opset_imports=[onnx.helper.make_opsetid("", OPSET_OF_4_BITS if self._has_4_bits else OPSET)],
            ir_version=IR_VERSION_OF_4_BITS if self._has_4_bits else IR_VERSION,
            producer_name="hdlif",
        )
        onnx.helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model)
        return model

    def _typed(self, name: str, shape: Shape, dtype: type[np.generic]) -> Any:
        helper = self._onnx.helper
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), list(shape))

    def _unused(self, name: str) -> str:
        candidate, count = name, 0
        while candidate in self._names:
            count += 1
            candidate = f"{name}:{count}"
        self._names.add(candidate)
        return candidate
