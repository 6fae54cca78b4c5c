"""The engines that `hdlif bench` compares: how each gets the network, and how it runs it.

Each peer gets every algorithmic saving that ONNX can express: what is constant in time once, time folded into the
batch, constant affines inside the weights, a model of its own for each batch size. All keep to `threads` threads.

A process that loads one engine and runs it, to measure its start, its first answer and its memory:

    python -m hdlif.report.engines ENGINE FILE IMAGES.npy THREADS

It prints "ready" after the first answer, and {"resident_bytes", "peak_resident_bytes"} of the whole process, Python
included, after a few more runs.
"""

import contextlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
"""From normalised images [B, C, H, W] to logits [T, B, classes]."""

CALIBRATION_IMAGES = 300


@dataclass(frozen=True)
class Material:
    """What engines are made from: an artefact, images to calibrate on [N, C, H, W], and a folder to write to."""

    artefact: Path
    graph: Graph
    calibration: Floats
    folder: Path
    models: dict[int, Path] = field(default_factory=dict)

    def onnx(self, batch: int) -> Path:
        """The unrolled ONNX model for a batch size, written once."""
        if batch not in self.models:
            from hdlif.deploy.onnx import unrolled

            self.models[batch] = self.folder / f"{batch}.onnx"
            self.models[batch].write_bytes(unrolled(self.graph, batch=batch).SerializeToString())
        return self.models[batch]

    def batches(self, batch: int) -> list[Floats]:
        """Return the calibration images in batches of a size."""
        images = self.calibration[: max(CALIBRATION_IMAGES, batch)]
        return [images[first : first + batch] for first in range(0, len(images) - batch + 1, batch)]


@dataclass(frozen=True)
class Engine:
    """One way to run a network.

    Attributes:
        packages: what has to be installed.
        write: the file that the engine loads, for a batch size.
        load: the file ready to run, on so many threads.
        least_agreement: the share of images on which it must choose the class that `hdlif` chooses.
        dense: the numbers that it multiplies, zeros too; None where the graph's own operations are counted.
    """

    packages: tuple[str, ...]
    write: Callable[[Material, int], Path]
    load: Callable[[Path, int], Run]
    least_agreement: float
    dense: Literal["int8", "float32"] | None = None


def file_bytes(path: Path) -> int:
    """Bytes of a model: of its file, and of the weights beside it where they are a second file."""
    return sum(part.stat().st_size for part in {path, path.with_suffix(".bin")} if part.exists())


def _artefact(material: Material, batch: int) -> Path:
    return material.artefact


def _load_hdlif(path: Path, threads: int) -> Run:
    session = Session(path, threads)
    return lambda x: session.run(x[None])


def _onnx(material: Material, batch: int) -> Path:
    return material.onnx(batch)


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
    """Quantise to INT8 as ONNX Runtime does on x86: weights by channel, activations without sign, in QDQ form."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc, unused-ignore]
        """Hands the calibration images on, batch by batch."""

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

    # its progress bars are no part of our output
    with contextlib.redirect_stdout(sys.stderr):
        try:
            model = quantize()
        except ValueError:
            # where a convolution has no bias, it takes the threshold after it for one, and fails to correct it
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


def _load_openvino_float32(path: Path, threads: int) -> Run:
    return _load_openvino(path, threads, INFERENCE_PRECISION_HINT="f32")


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
    OURS: Engine((), _artefact, _load_hdlif, 1.0),
    "openvino_int8": Engine(("openvino", "nncf", "onnx"), _openvino_int8, _load_openvino, 0.9, "int8"),
    "openvino": Engine(("openvino", "onnx"), _openvino, _load_openvino, 0.95, "float32"),
    "openvino_f32": Engine(("openvino", "onnx"), _openvino, _load_openvino_float32, 0.98, "float32"),
    "onnxruntime_int8": Engine(("onnxruntime", "onnx"), _onnxruntime_int8, _load_onnxruntime, 0.9, "int8"),
    "onnxruntime": Engine(("onnxruntime", "onnx"), _onnx, _load_onnxruntime, 0.98, "float32"),
    "torch": Engine(("torch",), _torch, _load_torch, 0.98, "float32"),
}
"""An INT8 engine rounds more than the network itself does, and so does OpenVINO as it comes, which computes in bfloat16
where the processor can; the others differ where a code is on a boundary."""
PEERS: Mapping[str, tuple[str, ...]] = {
    "openvino": ("openvino_int8", "openvino", "openvino_f32"),
    "onnxruntime": ("onnxruntime_int8", "onnxruntime"),
    "torch": ("torch",),
}
"""What `--against` may name, and the engines that it means."""


def main(name: str, path: str, images: str, threads: str) -> None:
    """Load an engine in this process, which is its own, and run it."""
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
