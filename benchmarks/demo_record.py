"""What is kept of `hdlif demo`: its summary, and of each network the validation after each epoch and spike densities.

    hdlif demo [--data fashion_mnist --data-root DIR]
    python benchmarks/demo_record.py runs/demo --out benchmarks/records/demo_digits.json

By network: `densities`, the share of a neuron layer's outputs that are not zero, over all steps and test samples;
`body_mb`, what the weights of the convolutions after the stem take in the artefact.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from recorded import write_record

KEPT = (
    *("name", "seed", "accuracy", "accuracy_per_step", "test_samples", "params_mb", "stored_mb", "sops", "nops"),
    *("energy_mj", "energy_mj_honest", "parameters", "saved_bytes", "best_epoch", "validation_accuracy"),
    *("train_seconds", "peak_bytes", "threads"),
)


def of_network(network: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Of an entry of the summary, and its run folder."""
    events = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    layers, neurons = network["layers"], {neuron["name"] for neuron in network["neurons"]}
    body = [layer for layer in layers if layer["kind"] == "conv2d" and not layer["name"].startswith("stem")]
    return {key: network[key] for key in KEPT} | {
        "validation_by_epoch": [event["accuracy"] for event in events if event["event"] == "validation"],
        "densities": {layer["name"]: layer["density"] for layer in layers if layer["name"] in neurons},
        "body_mb": sum(layer["stored_mb"] for layer in body),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, help="the folder that `hdlif demo` wrote")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    summary = json.loads((given.demo / "summary.json").read_text("utf-8"))
    data = summary["data"]
    record = {
        "networks": [of_network(network, given.demo / network["name"]) for network in summary["networks"]],
        "artefact": {key: value for key, value in summary["artefact"].items() if key != "path"},
        "data": data,
        # What was measured is the demo's: its command, machine and versions.
        "command": "hdlif demo" if data == "digits" else f"hdlif demo --data {data} --data-root DIR",
        "hardware": summary["hardware"],
        "versions": summary["versions"],
    }
    if commit := summary["versions"].get("hdlif_commit"):
        record["commit"] = commit
    write_record(given.out, record, seeds=[summary["seed"]])


if __name__ == "__main__":
    main()
