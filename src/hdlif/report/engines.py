"""Convert networks for the engines that `hdlif bench` compares, and run them.

The models for ONNX engines contain every algorithmic optimisation that ONNX can express. Time-constant nodes run once,
and the time axis is folded into the batch axis. Constant affine ops are folded into the weights. There is a separate
model for each batch size. All engines use the same number of threads. Run this module to measure one engine's startup
time and memory in a separate process:

    python -m hdlif.report.engines ENGINE FILE IMAGES.npy THREADS

The process prints "ready" after the first output. After a few more runs, the process prints a JSON object with its
memory use (including Python) under "resident_bytes" and "peak_resident_bytes".
"""

import contextlib
import ctypes
import gc
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hdlif.graph.artefact import Graph
from hdlif.graph.artefact.io import load
from hdlif.report.allocator import resident_bytes
from hdlif.runtime import Session

Floats = NDArray[np.float32]
Run = Callable[[Floats], Floats]
"""Maps normalised images [B, C, H, W] to logits [T, B, classes]."""

CALIBRATION_IMAGES = 300


@dataclass(frozen=True)
class Material:
    """A model file, calibration images [N, C, H, W] and a folder for converted models."""

    artefact: Path
    graph: Graph
    calibration: Floats
    folder: Path
    models: dict[int, Path] = field(default_factory=dict)

    def onnx(self, batch: int) -> Path:
        """Return the path of the unrolled ONNX model for a batch size, and write the model if it does not exist."""
        if batch not in self.models:
            from hdlif.deploy.onnx import unrolled

            self.models[batch] = self.folder / f"{batch}.onnx"
            self.models[batch].write_bytes(unrolled(self.graph, batch=batch).SerializeToString())
        return self.models[batch]

    def batches(self, batch: int) -> list[Floats]:
        """Split the calibration images into batches."""
        images = self.calibration[: max(CALIBRATION_IMAGES, batch)]
        return [images[first : first + batch] for first in range(0, len(images) - batch + 1, batch)]


@dataclass(frozen=True)
class Engine:
    """An inference engine that `hdlif bench` compares.

    Attributes:
        packages: required packages.
        write: function that writes the engine's file for a batch size.
        load: function that loads the file, to run on a number of threads.
        least_agreement: fraction of images that the engine must classify as `hdlif` does.
        dense: number format of the engine's dense multiplications; None if the graph's own operations are counted.
    """

    packages: tuple[str, ...]
    write: Callable[[Material, int], Path]
    load: Callable[[Path, int], Run]
    least_agreement: float
    dense: Literal["int8", "float32"] | None = None


def file_bytes(path: Path) -> int:
    """Return the size of a model file in bytes, including the separate weights file if there is one."""
    return sum(part.stat().st_size for part in {path, path.with_suffix(".bin")} if part.exists())


def _load_hdlif(path: Path, threads: int) -> Run:
    session = Session(path, threads)
    return lambda x: session.run(x[None])


def _load_onnxruntime(path: Path, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(x: Floats) -> Floats:
        logits: Floats = session.run(None, {"input": x})[0]
        return logits

    return run


def _onnxruntime_int8(material: Material, batch: int) -> Path:
    """Quantise a model to INT8 as recommended for ONNX Runtime on x86.

    The quantised model has one weight scale per channel and unsigned activations, in the QDQ format.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc, unused-ignore]
        """A reader that supplies the calibration images batch by batch."""

        def __init__(self, batches: Sequence[Floats]) -> None:
            self._batches = iter(batches)

        def get_next(self) -> dict[str, Floats] | None:
            x = next(self._batches, None)
            return None if x is None else {"input": x}

    prepared, path = (material.folder / f"onnxruntime_{form}_{batch}.onnx" for form in ("prepared", "int8"))
    quant_pre_process(str(material.onnx(batch)), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared),
        str(path),
        Reader(material.batches(batch)),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return path


def _openvino(material: Material, batch: int) -> Path:
    import openvino

    path = material.folder / f"openvino_{batch}.xml"
    openvino.save_model(openvino.convert_model(str(material.onnx(batch))), str(path), compress_to_fp16=False)
    return path


def _openvino_int8(material: Material, batch: int) -> Path:
    import nncf
    import openvino

    batches = material.batches(batch)
    model = openvino.convert_model(str(material.onnx(batch)))

    def quantize(**arguments: Any) -> Any:
        advanced = nncf.AdvancedQuantizationParameters(**arguments)
        dataset = nncf.Dataset(batches)
        return nncf.quantize(model.clone(), dataset, subset_size=len(batches), advanced_parameters=advanced)

    # Suppress the progress bars.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            model = quantize()
        except ValueError:
            # The correction fails, because it takes the threshold after a convolution without a bias for the bias.
            model = quantize(disable_bias_correction=True)
    path = material.folder / f"openvino_int8_{batch}.xml"
    openvino.save_model(model, str(path), compress_to_fp16=False)
    return path


def _load_openvino(path: Path, threads: int, **settings: str) -> Run:
    import openvino

    chosen = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY", **settings}
    compiled = openvino.Core().compile_model(str(path), "CPU", chosen)
    request = compiled.create_infer_request()

    def run(x: Floats) -> Floats:
        request.infer([x], share_inputs=True)
        return np.array(request.get_output_tensor(0).data)

    return run


def _torch(material: Material, batch: int) -> Path:
    import torch

    from hdlif.deploy import GraphModule

    path = material.folder / "torch.pt"
    torch.save({"artefact": str(material.artefact), "state": GraphModule(material.graph).state_dict()}, path)
    return path


def _load_torch(path: Path, threads: int) -> Run:
    import torch

    from hdlif.deploy import GraphModule

    torch.set_num_threads(threads)
    stored = torch.load(path)
    module = GraphModule(load(stored["artefact"])).eval()
    module.load_state_dict(stored["state"])
    steps = range(module.graph.time_steps)

    def run(x: Floats) -> Floats:
        with torch.inference_mode():
            logits: Floats = module(torch.from_numpy(x)[None], steps=steps)[0].numpy()
        return logits

    return run


OURS = "hdlif"
ENGINES: Mapping[str, Engine] = {
    OURS: Engine((), lambda material, batch: material.artefact, _load_hdlif, 1.0),
    "openvino_int8": Engine(("openvino", "nncf", "onnx"), _openvino_int8, _load_openvino, 0.9, "int8"),
    "openvino": Engine(("openvino", "onnx"), _openvino, _load_openvino, 0.95, "float32"),
    "openvino_f32": Engine(
        ("openvino", "onnx"), _openvino, partial(_load_openvino, INFERENCE_PRECISION_HINT="f32"), 0.98, "float32"
    ),
    "onnxruntime_int8": Engine(("onnxruntime", "onnx"), _onnxruntime_int8, _load_onnxruntime, 0.9, "int8"),
    "onnxruntime": Engine(("onnxruntime", "onnx"), Material.onnx, _load_onnxruntime, 0.98, "float32"),
    "torch": Engine(("torch",), _torch, _load_torch, 0.98, "float32"),
}
"""Engines by name. An INT8 engine rounds more than the network itself, as does OpenVINO's default of bfloat16 on
processors that support it. The others differ only if a code is on a boundary."""
PEERS: Mapping[str, tuple[str, ...]] = {
    "openvino": ("openvino_int8", "openvino", "openvino_f32"),
    "onnxruntime": ("onnxruntime_int8", "onnxruntime"),
    "torch": ("torch",),
}
"""Accepted values of `--against`, with the engines that each selects."""


class _Stack(ctypes.Structure):
    """The `stack_t` structure from <signal.h> on Linux."""

    _fields_ = (("base", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextlib.contextmanager
def signal_stack_kept() -> Iterator[None]:
    """Restore this thread's alternate signal stack after a `with` block on Linux.

    `faulthandler`, for example, sets an alternate stack for signal handlers. OpenVINO replaces the signal stack with
    its own, which it unmaps when the last network is freed. Without a valid signal stack, SIGTERM or Ctrl-C would cause
    a segmentation fault.
    """
    if sys.platform != "linux":
        yield
        return
    library, before = ctypes.CDLL(None, use_errno=True), _Stack()
    library.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        # Networks in reference cycles would unmap their stack later.
        gc.collect()
        library.sigaltstack(ctypes.byref(before), None)


def main(name: str, path: str, images: str, threads: str) -> None:
    """Load a model into an engine and run it in this process, which should do nothing else."""
    x = np.load(images)
    run = ENGINES[name].load(Path(path), int(threads))
    run(x)
    print("ready", flush=True)
    for _ in range(5):
        run(x)
    print(
        json.dumps({"resident_bytes": resident_bytes("VmRSS"), "peak_resident_bytes": resident_bytes("VmHWM")}),
        flush=True,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
