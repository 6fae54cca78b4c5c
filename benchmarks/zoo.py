"""Add the trained network of a run to the folder `zoo`, or remove one.

    OMP_NUM_THREADS=1 python benchmarks/zoo.py add RUN --name NAME --data-licence TEXT [--failure TEXT ...]
    python benchmarks/zoo.py remove NAME

RUN is a folder that `hdlif train` has finished. `add` writes the model file, the weights, the card and the entry of
the manifest, and replaces an earlier network of that name. The metric is what `hdlif eval NAME` prints. Its interval
holds 95 %: of an accuracy it is Wilson's, of any other metric that of 200 resamples of the test set (bootstrap, seed
0). Times are those of one sample on one thread; the card has the load of the machine, best near 1.
"""

import argparse
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import bench_places
import hdlif
from hdlif import run_folder, zoo
from hdlif.errors import HdlifError
from hdlif.graph.artefact import save
from hdlif.recipe import Recipe, load_recipe, shipped_recipes
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.recipe.runs.files import write_json
from hdlif.report.engine_times import in_turns, spread
from hdlif.report.provenance import hardware
from hdlif.report.tables import wilson_interval
from hdlif.runtime import Session
from hdlif.training import checkpoint

RESAMPLES = 200
ROUNDS, CALLS = 20, 3


def write_weights(run: Path, path: Path) -> None:
    """Write the checkpoint of a finished run, without the folders of this machine."""
    tensors, record = checkpoint.load(run / run_folder.MODEL)
    for section, key in (("data", "path"), ("start", "network")):
        stated = record["recipe"].get(section, {}).get(key)
        if stated is not None and Path(stated).is_absolute():
            record["recipe"][section][key] = Path(stated).name
    checkpoint.save(path, tensors=tensors, record=record)


def command_of(recipe: Recipe) -> str:
    """Return the command that trains a shipped recipe with the values of this one."""
    if recipe.name not in shipped_recipes():
        raise HdlifError(f"{recipe.name} is no recipe that ships; give --command, the command that trains it")
    shipped = load_recipe(recipe.name).model_dump(mode="json")
    changes = checkpoint.recipe_differences(shipped, recipe.model_dump(mode="json"))
    own = [
        f"--set {key}={json.dumps(value)}"
        for key, _, value in changes
        if not key.startswith(("data.found", "data.path"))
    ]
    return " ".join(["hdlif train", recipe.name, *own])


def card_of(given: argparse.Namespace, weights: Path, model: Path) -> dict[str, Any]:
    """Measure a network, and return its card."""
    trained, summary = load_trained(weights), json.loads((given.run / run_folder.SUMMARY).read_text("utf-8"))
    recipe = trained.recipe
    evaluated = hdlif.evaluate(weights, data_root=given.data_root)
    found = bench_places.measured(given.run, given.data_root)
    metric = found["record"]["metric"]
    if metric == "accuracy" and recipe.task.kind == "classify":
        interval, method = wilson_interval(evaluated.metrics[metric], evaluated.n), "Wilson"
    else:
        drawn = bench_places.resampled(found, RESAMPLES)
        interval, method = bench_places.interval(drawn), f"bootstrap, {RESAMPLES} resamples"
    turns = in_turns({"": Session(model, 1).run}, found["images"], ROUNDS, CALLS)
    versions = summary["versions"]
    return {
        "name": given.name,
        "data": recipe.data.kind if recipe.data.found is None else Path(str(recipe.data.arguments["path"])).name,
        "data_licence": given.data_licence,
        "licence": given.licence,
        "task": recipe.task.kind,
        "input": {"kind": found["graph"].input.kind, "shape": list(found["graph"].input.shape)},
        "outputs": list(found["graph"].labels),
        "time_steps": recipe.time_steps,
        "metric": metric,
        "value": evaluated.metrics[metric],
        "interval": interval,
        "interval_method": method,
        "samples": evaluated.n,
        "metrics": dict(evaluated.metrics),
        "metrics_of_model_file": found["record"]["metrics"],
        "parameters": summary["parameters"],
        "model_bytes": model.stat().st_size,
        "ms": {
            **spread([1e3 * seconds for turn in turns for seconds in turn[""]]),
            "threads": 1,
            "load": os.getloadavg()[0],
            "hardware": hardware(),
        },
        "energy_uj": {
            "all_operations": None if summary["energy_mj_honest"] is None else 1e3 * summary["energy_mj_honest"],
            "sops_only": None if summary["energy_mj"] is None else 1e3 * summary["energy_mj"],
        },
        "training": {
            "command": given.command or command_of(recipe),
            "commit": versions.get("hdlif_commit", "not recorded"),
            "seed": summary["seed"],
            "seconds": summary["train_seconds"],
            "versions": versions,
            "hardware": summary["hardware"],
        },
        "known_failures": given.failure,
    }


def add(given: argparse.Namespace) -> None:
    """Write the files of a network and its entry in the manifest."""
    if not zoo.NAME.fullmatch(given.name):
        raise HdlifError(f"--name {given.name}: give letters, digits, - and _, at most 64")
    model, weights, card = (given.zoo / f"{given.name}{suffix}" for suffix in zoo.SUFFIXES)
    given.zoo.mkdir(exist_ok=True)
    networks = _networks(given.zoo)
    write_weights(given.run, weights)
    save(load_trained(weights).graph(), model)
    found = card_of(given, weights, model)
    write_json(card, found)
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in (model, weights, card)
    }
    listed = {key: found[key] for key in ("data", "task", "metric", "value", "interval", "samples", "licence")}
    networks[given.name] = {**listed, "files": files}
    _write(given.zoo, networks)
    total = sum(file["bytes"] for entry in networks.values() for file in entry["files"].values())
    print(f"{given.name}: {found['metric']} {found['value']:.4f}, {found['model_bytes']:,} bytes")
    print(f"the zoo has {total / 1e6:.2f} of {zoo.MOST_BYTES / 1e6:.0f} MB")
    if total > zoo.MOST_BYTES:
        raise HdlifError("that is too much; remove a network: python benchmarks/zoo.py remove NAME")


def remove(given: argparse.Namespace) -> None:
    """Delete the files of a network and its entry in the manifest."""
    networks = _networks(given.zoo)
    if networks.pop(given.name, None) is None:
        raise HdlifError(f"{given.name}: the zoo has {', '.join(sorted(networks))}")
    _write(given.zoo, networks)
    for suffix in zoo.SUFFIXES:
        (given.zoo / f"{given.name}{suffix}").unlink(missing_ok=True)
    print(f"{given.name} is removed")


def _networks(folder: Path) -> dict[str, Any]:
    return dict(zoo.manifest(str(folder))) if (folder / zoo.MANIFEST).exists() else {}


def _write(folder: Path, networks: dict[str, Any]) -> None:
    write_json(folder / zoo.MANIFEST, {"networks": dict(sorted(networks.items()))})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", type=Path, default=zoo.CHECKOUT, help="the folder; by default that of the repository")
    commands = parser.add_subparsers(required=True)
    adding = commands.add_parser("add", help="add a network, or replace it")
    adding.set_defaults(do=add)
    adding.add_argument("run", type=Path, metavar="RUN")
    adding.add_argument("--name", required=True)
    adding.add_argument("--data-licence", required=True, help="licence and source of the data, in words")
    adding.add_argument("--licence", default="Apache-2.0", help="of the weights")
    adding.add_argument("--failure", action="append", default=[], metavar="TEXT", help="a known failure; repeatable")
    adding.add_argument("--command", help="that trained it; by default that of the shipped recipe")
    adding.add_argument("--data-root", type=Path)
    removing = commands.add_parser("remove", help="remove a network")
    removing.set_defaults(do=remove)
    removing.add_argument("name", metavar="NAME")
    given = parser.parse_args()
    try:
        given.do(given)
    except HdlifError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
