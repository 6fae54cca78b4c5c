"""An installed wheel, without PyTorch and without a compiler: a network is written, read, and run."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import hdlif
from hdlif.graph.artefact import INPUT, Graph, InputRecord, Node, save
from hdlif.runtime import Session, reference

rng = np.random.default_rng(0)
conv = {"encoding": "ternary", "padding": (1, 1), "role": "body", "stride": (1, 1)}
graph = Graph(
    (
        Node(
            "quantise", "codes", (INPUT,), {"bits": 4, "offset": 0.5}, {"inverse_step": np.full((1, 1), 4, np.float32)}
        ),
        Node("conv2d", "conv", ("codes",), conv, {"weight": rng.integers(-1, 2, (5, 3, 3, 3)).astype(np.int8)}),
        Node("global_sum_pool", "logits", ("conv",)),
    ),
    "logits",
    2,
    InputRecord((3, 6, 6), (0.5,) * 3, (0.25,) * 3),
    tuple("abcde"),
)
x = rng.normal(size=(2, 4, 3, 6, 6)).astype(np.float32)
expected = reference.run(graph, x)
np.testing.assert_array_equal(Session(graph).run(x), expected)
with tempfile.TemporaryDirectory() as folder:
    network, image = Path(folder, "net.hdlif.safetensors"), Path(folder, "x.npy")
    save(graph, network)
    np.save(image, rng.integers(0, 256, (3, 6, 6), dtype=np.uint8))
    command = [sys.executable, "-m", "hdlif", "run", str(network), str(image), "--json"]
    said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert said["inputs"][0]["label"] in graph.labels
assert "torch" not in sys.modules
print(f"{Path(hdlif.__file__).parent}: runs on Python {sys.version.split()[0]}")
