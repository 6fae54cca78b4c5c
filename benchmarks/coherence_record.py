"""What is kept of `hdlif coherence`: each rule beside STBP, over all layers and by layer, without the single entries.

    hdlif coherence digits_hdlif --out runs/untrained
    hdlif coherence runs/mine/epoch_2.safetensors runs/mine/epoch_20.safetensors --out runs/mine
    python benchmarks/coherence_record.py runs/untrained/coherence.json runs/mine/coherence.json --out FILE.json

An untrained network is named by its neuron and recipe, a trained one by its folder and its file. Other thresholds,
resets and seeds: `coherence_settings.py`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from recorded import write_record

SHARES = ("firing_rate", "equal", "idle", "dropped", "wrong", "opposite", "cosine", "norm_ratio")


def kept(rule: dict[str, Any]) -> dict[str, Any]:
    """Of a rule: the local view over all neuron layers and by layer, and the view end to end."""
    local, end = rule["local"], rule["end_to_end"]
    parameters = {layer["name"]: layer for layer in local["layers"] if layer["kind"] == "parameters"}
    layers = []
    for layer in local["layers"]:
        if layer["kind"] == "neuron":
            own = parameters.get(layer["name"], {})
            layers.append(
                {"name": layer["name"], **{key: layer[key] for key in SHARES}}
                | {"cosines": [step["cosine"] for step in layer["per_step"]]}
                | {"parameters": {key: own.get(key) for key in ("cosine", "norm_ratio")}}
            )
    first, *_ = ends = _synapses(end["layers"])
    return {
        "local": {key: local["whole"][key] for key in SHARES},
        "layers": layers,
        "synapses": {"local": _synapses(local["layers"]), "end_to_end": ends},
        "end_to_end": {key: end[key] for key in ("cosine", "norm_ratio", "firing_rate")},
        "first_layer": first,
        "draws": [plan["cosine"] for plan in end["plans"]],
    }


def _synapses(layers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The gradients of weights, from the input on."""
    return [
        {key: layer[key] for key in ("name", "cosine", "norm_ratio")} for layer in layers if layer["kind"] == "synapse"
    ]


def named(entry: dict[str, Any]) -> dict[str, Any]:
    """Of a network and a loss what the record has."""
    target = Path(entry["target"])
    return {
        "target": f"{target.parent.name}/{target.stem.split('.')[0]}" if entry["trained"] else entry["target"],
        **{key: entry[key] for key in ("trained", "neuron", "loss", "time_steps", "images")},
        "rules": {rule: kept(of) for rule, of in entry["rules"].items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--after", help="the commands that were run before, which the record is to name")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    found = [entry for result in given.results for entry in json.loads(result.read_text("utf-8"))["networks"]]
    networks = [named(entry) for entry in found]
    before = {"before": given.after} if given.after else {}
    write_record(given.out, {"networks": networks, **before}, seeds="the recipe's own, 42")


if __name__ == "__main__":
    main()
