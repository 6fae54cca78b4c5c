"""Export deployed graphs to ONNX.

There are two forms. `unrolled` exports a model that runs an entire sequence on a static image. The unrolled model
computes constant values once and runs neurons step by step. Layers without state run once, with time folded into the
batch: step t of image b is row t·B + b. `streamed` exports a model that runs one time step, with the state as inputs
and outputs.

The models compute integer codes in float32 with Floor and Clip. Sums of codes below 2^24 are exact in float32. ONNX
engines add floats in different orders, so a code near a rounding boundary may differ from the runtime's code.
"""

import json
from typing import Any

import numpy as np

from hdlif.deploy.onnx_translation import Streamed, Translation, Unrolled
from hdlif.deploy.onnx_writer import LOGITS, Writer
from hdlif.deploy.ops import FORMS
from hdlif.graph.dataflow import is_recurrent
from hdlif.graph.graph import INPUT, Graph
from hdlif.graph.inference import infer_values

_ONNX = {name: form.onnx for name, form in FORMS.items()}


def unrolled(graph: Graph, *, batch: int = 1, weights: str = "float32") -> Any:
    """Return an `onnx.ModelProto` that runs all T steps.

    The model maps "input" [B, C, H, W], the same at every step, to "logits" [T, B, classes]. If the network classifies
    each pixel, "logits" has the shape [T, B, classes, H, W].

    Args:
        weights: one of `WEIGHTS`: low-bit weights in float32, or as integers of 8 bits (opset 17) or 4 bits (opset 21)
            that a DequantizeLinear scales.
    Raises:
        MissingExtraError: the package onnx is not installed.
    """
    writer = Writer()
    frame = writer.input(INPUT, (batch, *graph.input.shape))
    steps, one = graph.time_steps, infer_values(graph)[graph.output].shape
    at_once = 1 if is_recurrent(graph) else steps
    clock, parts = Unrolled(writer, at_once, batch), []
    for clock.t in range(0, steps, at_once):
        parts.append(Translation(graph, writer, clock, frame, _ONNX, weights).run().joined(writer))
    logits = writer.op("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]
    shape = writer.constant((steps, batch, *one), np.int64)
    # a value that is constant in time has one step
    leading = writer.constant((-1, batch, *one), np.int64)
    result = writer.op("Expand", writer.op("Reshape", logits, leading), shape)
    writer.output(result, LOGITS, (steps, batch, *one))
    return writer.model("unrolled", _metadata(graph))


def streamed(graph: Graph, *, weights: str = "float32") -> Any:
    """Return an `onnx.ModelProto` that runs one step, for any batch B.

    The inputs are "input" [B, C, H, W], "t" (int64 scalar) and one "NODE.STATE" [B, ...] per state. The
    outputs are "logits" [B, classes] or [B, classes, H, W], "t.next" and one "NODE.STATE.next" per state. A sequence
    starts with t = 0 and all states set to zero. The argument `weights` is the same as in `unrolled`.

    Raises:
        MissingExtraError: the package onnx is not installed.
    """
    writer = Writer()
    frame = writer.input(INPUT, ("B", *graph.input.shape))
    values = infer_values(graph)
    clock = Streamed(writer, values)
    logits = Translation(graph, writer, clock, frame, _ONNX, weights).run()
    writer.output(logits.joined(writer), LOGITS, ("B", *values[graph.output].shape))
    clock.write_state()
    return writer.model("streamed", _metadata(graph))


def _metadata(graph: Graph) -> dict[str, str]:
    record = {"mean": graph.input.mean, "std": graph.input.std, "labels": graph.labels, "time_steps": graph.time_steps}
    return {key: json.dumps(value) for key, value in record.items()}
