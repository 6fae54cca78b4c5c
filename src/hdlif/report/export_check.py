"""Compare exported files with the reference runtime on random inputs."""

import importlib.util
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.errors import MachineError, MissingExtraError, pip_install
from hdlif.graph.artefact import Graph, dumps, loads
from hdlif.graph.graph import INPUT
from hdlif.runtime import Session, reference
from hdlif.runtime.answers import AGREEMENT_OF, alike
from hdlif.runtime.reference import random_frames

Floats = NDArray[np.float32]
Feeds = Mapping[str, NDArray[Any]]
Engine = Callable[[Feeds], dict[str, NDArray[Any]]]
"""Maps the inputs of an ONNX model to its outputs; both are dicts by name."""

SAMPLES = 16
"""Minimum number of random inputs, rounded up to complete batches if a model has a fixed batch size."""
LEAST_AGREEMENT = 0.9
"""Minimum agreement. An engine adds in another order than the reference, which may flip a spike at its threshold."""


@dataclass(frozen=True)
class Compared:
    """A comparison of an exported file's outputs with the reference outputs.

    Attributes:
        by: engine or reader, such as "onnxruntime".
        largest_difference: largest difference between two outputs; 0 if all are bit-identical.
        agreement: fraction of inputs, or of `agreement_of`, with the same prediction, in 0..1.
    """

    by: str
    inputs: int
    outputs: int
    largest_difference: float
    agreement: float
    agreement_of: str = "inputs"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        if not self.largest_difference:
            return f"checked: {self.by}: {self.outputs} outputs equal the reference's bit for bit"
        return (
            f"checked: {self.by}: {self.outputs} outputs are off by {self.largest_difference:.2g} at most, and the "
            f"prediction is the same on {self.agreement:.1%} of {self.shown}"
        )

    @property
    def shown(self) -> str:
        """Describe the inputs or parts of inputs for which predictions are compared."""
        parts = "" if self.agreement_of == "inputs" else f"the {self.agreement_of} of "
        return f"{parts}{self.inputs} random inputs"


def check_artefact(graph: Graph) -> tuple[Compared, ...]:
    """Check that the compiled runtime computes the reference outputs for a graph that was saved and reloaded."""
    x = random_frames(graph, SAMPLES, steps=_steps(graph))
    found = Session(loads(dumps(graph), "the artefact")).run(x, graph.time_steps)
    return (_compared("hdlif.Session", graph, x, found, least=None),)


def check_onnx(graph: Graph, model: Any, *, unrolled: bool, batch: int) -> tuple[Compared, ...]:
    """Compare the ONNX model's outputs in each installed engine with the reference outputs of `graph`.

    Args:
        unrolled: whether a call runs all steps of `batch` static images; otherwise it runs one step with its state.
    Raises:
        MissingExtraError: neither ONNX Runtime nor OpenVINO is installed.
        MachineError: an engine's predictions differ on more than a tenth of the inputs.
    """
    engines = {name: load for name, load in _ENGINES.items() if importlib.util.find_spec(name) is not None}
    if not engines:
        raise MissingExtraError(
            "--check requires onnxruntime or openvino, and neither is installed; install them with: "
            f"{pip_install('engines')}, or remove --check"
        )
    count = -(-SAMPLES // batch) * batch
    x = random_frames(graph, count, steps=1 if unrolled else _steps(graph))
    compared = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        for name, load in engines.items():
            engine = load(path)
            if unrolled:
                parts = [engine({INPUT: x[0, k : k + batch]})["logits"] for k in range(0, count, batch)]
                found = np.concatenate(parts, axis=1)
            else:
                found = np.stack(list(_stepped(engine, model, x, graph.time_steps)))
            compared.append(_compared(name, graph, x, found))
    return tuple(compared)


def check_read_back(graph: Graph, read: Graph, by: str) -> tuple[Compared, ...]:
    """Compare the reference outputs of a graph before and after a round trip through a file.

    Raises:
        MachineError: the predictions differ on more than a tenth of the inputs.
    """
    x = random_frames(graph, SAMPLES, steps=_steps(graph))
    return (_compared(by, graph, x, reference.run(read, x, graph.time_steps)),)


def _steps(graph: Graph) -> int:
    """Return the number of time steps in random inputs: 1 for time-constant inputs."""
    return 1 if graph.input.kind in ("image", "table") else graph.time_steps


def _stepped(engine: Engine, model: Any, x: Floats, steps: int) -> Iterator[NDArray[Any]]:
    state: dict[str, NDArray[Any]] = {"t": np.array(0, np.int64)}
    for value in model.graph.input:
        if value.name not in (INPUT, "t"):
            shape = [axis.dim_value or x.shape[1] for axis in value.type.tensor_type.shape.dim]
            state[value.name] = np.zeros(shape, np.float32)
    for t in range(steps):
        found = engine({INPUT: x[min(t, len(x) - 1)], **state})
        yield found["logits"]
        state = {name: found[f"{name}.next"] for name in state}


def _compared(by: str, graph: Graph, x: Floats, found: Any, *, least: float | None = LEAST_AGREEMENT) -> Compared:
    """Compare outputs with the reference outputs; if `least` is None, they must be bit-identical."""
    expected = reference.run(graph, x, graph.time_steps)
    found = np.ascontiguousarray(found, np.float32)
    same = found.shape == expected.shape and found.tobytes() == expected.tobytes()
    if found.shape != expected.shape or (least is None and not same):
        raise MachineError(f"{by} gives outputs {list(found.shape)} of another shape than the reference's; {_FIX}")
    with np.errstate(all="ignore"):
        difference = 0.0 if same else float(np.abs(found - expected).max())
    agreement = 1.0 if same else float(alike(expected, found, graph).mean())
    of = AGREEMENT_OF.get(graph.task.kind, "inputs")
    compared = Compared(by, x.shape[1], int(expected.size), difference, agreement, of)
    if least is not None and not agreement >= least:
        raise MachineError(
            f"{by} predicts differently from the reference on {1 - agreement:.0%} of {compared.shown}, and its "
            f"outputs are off by up to {difference:.3g}; {_FIX}"
        )
    return compared


_FIX = "nothing was written; remove --check to write it anyway, and report it"


def _onnxruntime(path: Path) -> Engine:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Suppress warnings from the graph optimiser.
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(None, dict(feeds)), strict=True))


def _openvino(path: Path) -> Engine:
    import openvino

    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(feeds: Feeds) -> dict[str, NDArray[Any]]:
        # An output can have several names.
        return {name: value.copy() for output, value in compiled(dict(feeds)).items() for name in output.names}

    return run


_ENGINES: Mapping[str, Callable[[Path], Engine]] = {"onnxruntime": _onnxruntime, "openvino": _openvino}
