"""One network on every target: what it takes there, how fast it is, and how its outputs compare with the reference.

    python benchmarks/targets.py NETWORK --data NAME|PATH [--data-root DIR] [--samples 8] [--rounds 30]
                                 [--out FILE.json]

prints the table of docs/benchmarks/runtime.md. Milliseconds are of one image (all time steps), one thread, the median
over rounds, each target by itself; instructions are those that QEMU counts for one image (bench_c.py). Outputs are
compared on samples for testing: "bits" where every output has the bits of `hdlif.runtime.reference`, else the largest
difference, and the share of samples with the same answer; fixed point has the bits of its own oracle. What is not
installed is left out, and said.

    pip install 'hdlif[engines,nir]'
    apt-get install nodejs make gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm
"""

import argparse
import importlib.util
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import bench_c
from hdlif.cli.export import export_file
from hdlif.deploy.browser import module, packed_module, script
from hdlif.deploy.c import reals, translate
from hdlif.deploy.c.building import firmware
from hdlif.deploy.c.devices import installed
from hdlif.graph.artefact import Graph, load
from hdlif.recipe.runs.tested_data import sets_for
from hdlif.report.fixed_point import rounded_on_data, shown
from hdlif.runtime import Session, reference
from hdlif.runtime.answers import alike
from hdlif.zoo import network_file
from recorded import write_record

_NODE = """
import { readFileSync } from "node:fs";
import { instantiate } from "./hdlif.mjs";
const runtime = await instantiate(readFileSync("hdlif.wasm"));
const network = runtime.open(readFileSync("artefact"));
const bytes = readFileSync("x");
const x = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
const size = network.frameSize, count = x.length / size, rounds = Number(process.argv[2]);
const logits = [];
for (let k = 0; k < count; ++k) logits.push(...network.run(x.slice(k * size, (k + 1) * size)));
const times = [];
for (let k = 0; k < rounds; ++k) {
  const start = performance.now();
  network.run(x.slice(0, size));
  times.push(performance.now() - start);
}
console.log(JSON.stringify({ logits, times }));
"""


class Table:
    """Rows of targets, and what they are compared with: outputs [T, N, n] of frames [1, N, C, H, W]."""

    def __init__(self, graph: Graph, x: Any, rounds: int) -> None:
        self.graph, self.x, self.rounds = graph, x, rounds
        self.expected = reference.run(graph, x, graph.time_steps)
        self.rows: list[dict[str, Any]] = []

    def add(self, target: str, outputs: Any, **figures: Any) -> None:
        """A row; `outputs` as `expected`, or a text."""
        row = {"target": target, **figures}
        if isinstance(outputs, str):
            row["outputs"] = outputs
        elif np.asarray(outputs, np.float32).tobytes() == self.expected.tobytes():
            row["outputs"] = "bits"
        else:
            same = alike(self.expected, np.asarray(outputs, np.float32), self.graph).mean()
            row["outputs"] = f"off by {np.abs(outputs - self.expected).max():.2g}; {same:.1%} the same answer"
        self.rows.append(row)

    def milliseconds(self, run: Callable[[], object]) -> float:
        run()
        times = []
        for _ in range(self.rounds):
            start = time.perf_counter()
            run()
            times.append(1e3 * (time.perf_counter() - start))
        return statistics.median(times)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", help="a model file, or the name of a network that ships")
    parser.add_argument("--data", required=True)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    path = network_file(given.network)
    graph = load(path)
    sets = sets_for(graph, given.data, given.data_root, path)
    table = Table(graph, shown(sets, given.samples), given.rounds)
    with tempfile.TemporaryDirectory() as folder:
        _runtime(table, path)
        _wasm(table, path, Path(folder))
        _engines(table, path, Path(folder))
        _nir(table, path, Path(folder))
        _c(table, sets)
    print("| target | file, bytes | image, RAM without stack, bytes | ms or instructions an image | outputs |")
    print("| --- | --- | --- | --- | --- |")
    for row in table.rows:
        cells = (row["target"], row.get("file", ""), row.get("memory", ""), row.get("time", ""), row["outputs"])
        print("| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells) + " |")
    if given.out is not None:
        write_record(given.out, {"rows": table.rows, "samples": table.x.shape[1]}, seeds=None)
    return 0


def _runtime(table: Table, artefact: Path) -> None:
    session, first = Session(artefact, threads=1), table.x[:, :1]
    steps = table.graph.time_steps
    time_ms = table.milliseconds(lambda: session.run(first, steps))
    outputs = session.run(table.x, steps)
    table.add("hdlif.Session", outputs, file=artefact.stat().st_size, time=f"{time_ms:.3f} ms")


def _wasm(table: Table, artefact: Path, folder: Path) -> None:
    node = shutil.which("node")
    if node is None:
        print("node is not installed: no WebAssembly", file=sys.stderr)
        return
    for name, content in (("hdlif.mjs", script().encode()), ("hdlif.wasm", module()), ("run.mjs", _NODE.encode())):
        (folder / name).write_bytes(content)
    (folder / "artefact").write_bytes(artefact.read_bytes())
    (folder / "x").write_bytes(np.ascontiguousarray(table.x[0], np.float32).tobytes())
    done = subprocess.run([node, "run.mjs", str(table.rounds)], cwd=folder, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    steps, count, outputs = table.expected.shape
    logits = np.array(found["logits"], np.float32).reshape(count, steps, outputs).swapaxes(0, 1)
    size = artefact.stat().st_size + len(packed_module())
    table.add(
        "WebAssembly, Node", np.ascontiguousarray(logits), file=size, time=f"{statistics.median(found['times']):.3f} ms"
    )


def _engines(table: Table, artefact: Path, folder: Path) -> None:
    if importlib.util.find_spec("onnx") is None:
        print("onnx is not installed", file=sys.stderr)
        return
    for weights in ("int8", "int4", "float32"):
        path = folder / f"{weights}.onnx"
        export_file(artefact, path, to="onnx", weights=weights)
        for name, load_engine in (("onnxruntime", _onnxruntime), ("openvino", _openvino)):
            if importlib.util.find_spec(name) is None:
                print(f"{name} is not installed", file=sys.stderr)
                continue
            run = load_engine(path)
            outputs = np.concatenate([run(table.x[0, k : k + 1]) for k in range(table.x.shape[1])], axis=1)
            first = table.x[0, :1]
            time_ms = table.milliseconds(lambda run=run, first=first: run(first))
            table.add(f"ONNX, weights {weights}, {name}", outputs, file=path.stat().st_size, time=f"{time_ms:.3f} ms")


def _onnxruntime(path: Path) -> Callable[[Any], Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # else weights are scaled again in every run
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"input": x})[0]


def _openvino(path: Path) -> Callable[[Any], Any]:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.compile_model(str(path), "CPU", settings)
    return lambda x: next(iter(compiled({"input": x}).values())).copy()


def _nir(table: Table, artefact: Path, folder: Path) -> None:
    if importlib.util.find_spec("nir") is None:
        print("nir is not installed", file=sys.stderr)
        return
    from hdlif.cli.import_nir import import_nir

    written = export_file(artefact, folder / "net.nir", to="nir", extension=True)
    import_nir(folder / "net.nir", out=folder / "back")
    (back,) = (folder / "back").glob("*.hdlif.safetensors")
    same = "the artefact's bytes" if back.read_bytes() == artefact.read_bytes() else "another artefact"
    table.add("NIR with extension, read back", same, file=written.bytes)


def _c(table: Table, sets: Any) -> None:
    graph, steps = table.graph, table.graph.time_steps
    fixed, rounded = rounded_on_data(graph, sets)
    for kind, own in (("float", None), ("fixed", fixed)):
        source = translate(graph, "network", fixed=own)
        frames = table.x if own is None else own.frame(table.x)
        outputs = table.expected if own is None else own.run(frames, steps)
        files = dict(firmware(source, frames.swapaxes(0, 1), outputs.swapaxes(0, 1)))
        near = reals(outputs, 0 if own is None else own.fractions[graph.output])
        said = (
            "bits"
            if own is None
            else (
                f"its oracle's bits; {rounded.agreement:.1%} the same answer, off by {rounded.mean_error:.2g} of "
                f"{rounded.largest_output:.3g} on average"
            )
        )
        assert own is None or np.abs(near - table.expected).max() <= 2 * rounded.largest_error + 1e-6
        for device in bench_c.DEVICES:
            if device not in installed():
                print(f"{device}: its tools are not installed", file=sys.stderr)
                continue
            timed = {**files, "main.c": bench_c.timed(files["main.c"])}
            ran = bench_c.instructions(timed, device, steps, [bench_c.OPTIMISED])
            table.add(
                f"C, {kind}, {device}",
                said,
                file=len(source.code.encode()),
                memory=f"{ran['rom']:,}, {ran['ram']:,}",
                time=f"{ran['mean'] * steps / 1e6:.2f} million instructions",
            )


if __name__ == "__main__":
    sys.exit(main())
