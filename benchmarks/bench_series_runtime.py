"""A deployed network of series beside a GRU of as many parameters in ONNX Runtime: microseconds a sample.

    python benchmarks/bench_series_runtime.py ARTEFACT... [--data-root DIR] [--set hapt] [--parameters N]
        [--windows N] [--rounds N] [--out FILE]

Two ways to run, each on one thread with a batch of one:

whole: a recording cut in windows of as many samples as the network was trained on; a call takes a window.
stream: sample by sample. A call takes one, and state is carried to the next; hdlif by `Session.sequence`, the GRU as a
    graph of one step whose state is input and output: by `InferenceSession.run`, and by an I/O binding whose two
    buffers of state change places ("bound").

The GRU has one layer and a linear head at every step, and the hidden size whose number of parameters comes next to
--parameters (by default what `series_table.py` counts of hapt_hdlif). Its step is tried as the operator GRU and written
out in Gemm, Sigmoid and Tanh, and the quicker one is taken. Weights are random, on which its time does not depend;
outputs have to be those of torch.nn.GRU. hdlif's logits have to be the NumPy oracle's, bit by bit, on the first window.

All engines in turns, ten windows each; a round is all windows. A time is that of calls from Python whose arguments are
ready. Ratios are medians over rounds of an engine's time beside the first artefact's in that round; spread is least to
most of the rounds.
"""

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper
from onnx.onnx_ml_pb2 import TensorProto

from hdlif.artefact import load
from hdlif.inputs.series import shown
from hdlif.report.tables import aligned
from hdlif.runs.provenance import hardware, versions
from hdlif.runtime import Session, reference
from recorded import write_record
from series.gru import Gru, hidden_for

Floats = NDArray[np.float32]
Run = Callable[[Floats], object]
"""A window [T, C, 1, 1], all of it."""
WARM_WINDOWS, TURN = 3, 10
KEYS = ("median", "min", "max")


def onnx_gru(model: Gru, steps: int, *, has_state: bool, written_out: bool = False) -> bytes:
    """x [steps, 1, C] (and h [1, 1, H]) to logits [steps, classes] (and the next h)."""
    # Gates stand as reset, update, new in PyTorch; as update, reset, hidden in ONNX.
    parts = {key: value.detach().numpy() for key, value in model.layer.named_parameters()}
    size, channels = model.layer.hidden_size, model.layer.input_size
    order = np.concatenate([np.arange(size, 2 * size), np.arange(size), np.arange(2 * size, 3 * size)])
    w, r = (parts[f"weight_{key}_l0"][order] for key in ("ih", "hh"))
    b = [parts[f"bias_{key}_l0"][order] for key in ("ih", "hh")]
    constants = {"head_w": model.head.weight.detach().numpy().T, "head_b": model.head.bias.detach().numpy()}
    if written_out:
        assert steps == 1
        assert has_state
        constants |= {"w": w.T, "r": r.T, "bw": b[0], "br": b[1]}
        constants |= {"row": np.array([1, -1]), "state": np.array([1, 1, size]), "parts": np.array([2 * size, size])}
        op = helper.make_node
        nodes = [
            op("Reshape", ["x", "row"], ["x0"]),
            op("Reshape", ["h", "row"], ["h0"]),
            op("Gemm", ["x0", "w", "bw"], ["from_x"]),
            op("Gemm", ["h0", "r", "br"], ["from_h"]),
            op("Split", ["from_x", "parts"], ["x_gates", "x_new"], axis=1),
            op("Split", ["from_h", "parts"], ["h_gates", "h_new"], axis=1),
            op("Add", ["x_gates", "h_gates"], ["sums"]),
            op("Sigmoid", ["sums"], ["gates"]),
            op("Split", ["gates"], ["update", "reset"], axis=1, num_outputs=2),
            op("Mul", ["reset", "h_new"], ["kept"]),
            op("Add", ["x_new", "kept"], ["raw"]),
            op("Tanh", ["raw"], ["new"]),
            op("Sub", ["h0", "new"], ["apart"]),
            op("Mul", ["update", "apart"], ["part"]),
            op("Add", ["new", "part"], ["rows"]),
            op("Reshape", ["rows", "state"], ["next"]),
        ]
    else:
        constants |= {"w": w[None], "r": r[None], "b": np.concatenate(b)[None], "rows_of": np.array([-1, size])}
        nodes = [
            helper.make_node(
                "GRU",
                ["x", "w", "r", "b", "", *(["h"] if has_state else [])],
                ["all", "next" if has_state else ""],
                hidden_size=size,
                linear_before_reset=1,
            ),
            helper.make_node("Reshape", ["all", "rows_of"], ["rows"]),
        ]
    nodes.append(helper.make_node("Gemm", ["rows", "head_w", "head_b"], ["logits"]))
    number = TensorProto.FLOAT
    state = [1, 1, size]
    inputs = [helper.make_tensor_value_info("x", number, [steps, 1, channels])]
    outputs = [helper.make_tensor_value_info("logits", number, [steps, model.head.out_features])]
    if has_state:
        inputs.append(helper.make_tensor_value_info("h", number, state))
        outputs.append(helper.make_tensor_value_info("next", number, state))
    stored = [numpy_helper.from_array(np.ascontiguousarray(value), key) for key, value in constants.items()]
    graph = helper.make_graph(nodes, "gru", inputs, outputs, stored)
    made: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    made.ir_version = 9
    return made.SerializeToString()


def engine(model: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def state_of(size: int) -> Floats:
    return np.zeros((1, 1, size), np.float32)


class Step:
    """A GRU's step in ONNX Runtime, sample by sample."""

    def __init__(self, model: bytes, size: int) -> None:
        self.session, self.size = engine(model), size

    def by_run(self, frames: Sequence[Floats]) -> Floats:
        run, names, state = self.session.run, ["logits", "next"], state_of(self.size)
        logits = None
        for frame in frames:
            logits, state = run(names, {"x": frame, "h": state})
        assert logits is not None
        return logits

    def bound(self, channels: int, classes: int) -> Callable[[Sequence[Floats]], Floats]:
        """The same where inputs and outputs keep their memory."""
        value = onnxruntime.OrtValue.ortvalue_from_numpy
        x, logits = value(np.zeros((1, 1, channels), np.float32)), value(np.zeros((1, classes), np.float32))
        states = value(state_of(self.size)), value(state_of(self.size))
        bindings = []
        for before, after in (states, states[::-1]):
            binding = self.session.io_binding()
            binding.bind_ortvalue_input("x", x)
            binding.bind_ortvalue_input("h", before)
            binding.bind_ortvalue_output("logits", logits)
            binding.bind_ortvalue_output("next", after)
            bindings.append(binding)

        def run(frames: Sequence[Floats]) -> Floats:
            states[0].update_inplace(state_of(self.size))
            for place, frame in enumerate(frames):
                x.update_inplace(frame)
                self.session.run_with_iobinding(bindings[place % 2])
            return logits.numpy()

        return run


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def in_turns(
    runs: Mapping[str, Callable[[int], object]], windows: int, samples: int, rounds: int
) -> dict[str, list[float]]:
    """Microseconds a sample of each, by rounds."""
    for run in runs.values():
        for window in range(WARM_WINDOWS):
            run(window % windows)
    taken: dict[str, list[float]] = {name: [] for name in runs}
    gc.disable()
    try:
        for _ in range(rounds):
            seconds = dict.fromkeys(runs, 0.0)
            for first in range(0, windows, TURN):
                for name, run in runs.items():
                    begin = time.perf_counter()
                    for window in range(first, min(first + TURN, windows)):
                        run(window)
                    seconds[name] += time.perf_counter() - begin
            for name, value in seconds.items():
                taken[name].append(1e6 * value / windows / samples)
    finally:
        gc.enable()
    return taken


def hdlif_runs(path: Path, raw: NDArray[np.float64]) -> tuple[dict[str, Callable[[int], object]], dict[str, Any]]:
    """Of an artefact: how it runs window i, and what it is."""
    graph, session = load(path), Session(path, 1)
    record = session.input
    frames = [np.ascontiguousarray(shown(one, record.mean, record.std)) for one in raw]
    whole = [one[:, None] for one in frames]
    single = [list(one[:, None]) for one in frames]
    expected = reference.run(graph, whole[0])
    sequence = session.sequence()
    np.testing.assert_array_equal(session.run(whole[0]), expected)
    np.testing.assert_array_equal(np.stack([sequence.step(frame) for frame in single[0]]), expected)

    def by_step(window: int) -> None:
        step = session.sequence().step
        for frame in single[window]:
            step(frame)

    facts = {
        "file_bytes": path.stat().st_size,
        "weight_bytes": session.weight_bytes,
        "state_bytes": session.state_bytes,
        "instructions": session.instructions,
    }
    return {"whole": lambda window: session.run(whole[window]), "stream": by_step}, facts


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    raw = np.load(arguments.data_root / arguments.set / "x.npy")[: arguments.windows].astype(np.float64)
    windows, samples, channels = raw.shape
    found = {path.name.removesuffix(".hdlif.safetensors"): hdlif_runs(path, raw) for path in arguments.artefacts}
    classes = len(Session(arguments.artefacts[0], 1).labels)
    torch.manual_seed(0)
    model = Gru(channels, hidden_for(arguments.parameters, channels, classes), classes)
    size = model.layer.hidden_size
    x = np.ascontiguousarray(((raw - raw.mean((0, 1))) / raw.std((0, 1)))[:, :, None].astype(np.float32))
    with torch.no_grad():
        expected = model.head(model.layer(torch.from_numpy(x[0]))[0])[:, 0].numpy()
    whole = engine(onnx_gru(model, samples, has_state=False))
    np.testing.assert_allclose(whole.run(None, {"x": x[0]})[0], expected, atol=1e-5)
    single = [list(one[:, None]) for one in x]
    forms = {
        form: Step(onnx_gru(model, 1, has_state=True, written_out=form == "written out"), size)
        for form in ("operator", "written out")
    }
    bound = {form: step.bound(channels, classes) for form, step in forms.items()}
    for form, step in forms.items():
        for run in (step.by_run, bound[form]):
            np.testing.assert_allclose(run(single[0])[0], expected[-1], atol=1e-5)
    tried = {
        form: statistics.median(in_turns({form: lambda i, run=run: run(single[i])}, 4, samples, 3)[form])
        for form, run in bound.items()
    }
    form = min(tried, key=lambda one: tried[one])
    ways: dict[str, dict[str, Callable[[int], object]]] = {
        "whole": {
            **{name: runs["whole"] for name, (runs, _) in found.items()},
            "GRU, ONNX Runtime": lambda i: whole.run(None, {"x": x[i]}),
        },
        "stream": {
            **{name: runs["stream"] for name, (runs, _) in found.items()},
            "GRU, ONNX Runtime": lambda i: forms[form].by_run(single[i]),
            "GRU, ONNX Runtime, bound": lambda i: bound[form](single[i]),
        },
    }
    result: dict[str, Any] = {}
    first = next(iter(found))
    for way, runs in ways.items():
        taken = in_turns(runs, windows, samples, arguments.rounds)
        result[way] = {
            name: {
                "us_a_sample": spread(values),
                "ratio": spread([value / own for value, own in zip(values, taken[first], strict=True)]),
            }
            for name, values in taken.items()
        }
    gru_bytes = len(onnx_gru(model, samples, has_state=False))
    return {
        "ways": result,
        "networks": {
            **{name: facts for name, (_, facts) in found.items()},
            "GRU": {
                "parameters": sum(one.numel() for one in model.parameters()),
                "hidden": size,
                "file_bytes": gru_bytes,
                "step": form,
            },
        },
        "windows": windows,
        "samples": samples,
        "rounds": arguments.rounds,
        "threads": 1,
        "hardware": hardware(),
        "versions": {**versions(), "onnxruntime": onnxruntime.__version__},
    }


def table(result: Mapping[str, Any]) -> str:
    rows = [
        [
            way,
            name,
            *(f"{taken['us_a_sample'][key]:.3f}" for key in KEYS),
            *(f"{taken['ratio'][key]:.2f}" for key in KEYS),
        ]
        for way, engines in result["ways"].items()
        for name, taken in engines.items()
    ]
    return aligned(["", "engine", "us a sample", "min", "max", "ratio", "min", "max"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artefacts", type=Path, nargs="+", metavar="ARTEFACT")
    parser.add_argument("--data-root", type=Path, default=Path())
    parser.add_argument("--set", default="hapt")
    parser.add_argument("--parameters", type=int, default=13_932)
    parser.add_argument("--windows", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result = measure(arguments)
    print(table(result))
    if arguments.out:
        write_record(arguments.out, result, seeds=[0])


if __name__ == "__main__":
    main()
