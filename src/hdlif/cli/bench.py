"""Implement `hdlif bench`, which times a model file on several inference engines."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from hdlif.cli.names import NETWORK
from hdlif.cli.options import FILE, Confidence, DataKeys, DataRoot, DataSetName, Place, argument, option, subcommand
from hdlif.errors import say_nothing
from hdlif.report.tables import aligned
from hdlif.zoo import network_file

COMPARED_IMAGES = 64


def bench(
    artefact: Annotated[Place, argument(type=NETWORK)],
    *,
    twin: Annotated[Path | None, option(type=FILE)] = None,
    confidence: Confidence = None,
    against: Annotated[str | None, option(metavar="NAMES")] = None,
    data: DataSetName = None,
    data_root: DataRoot = None,
    overrides: DataKeys = (),
    batch: int = 16,
    threads: int | None = None,
    repeats: int = 20,
    say: Callable[[str], None] = say_nothing,
) -> dict[str, Any]:
    """Compare the latency, throughput, memory and startup time of ARTEFACT on several engines.

    `hdlif bench` times all engines that predict the same classes as ARTEFACT, alternating between engines. With --twin,
    `hdlif bench` also times an ordinary network without spikes that you could deploy instead (trained with `hdlif train
    RECIPE --twin ordinary`).

    \f
    The module `hdlif.report.engines` describes the model that each engine runs. Latency is per image.

    Args:
        twin: The model file of an ordinary network for the same input, to time with ARTEFACT.
        confidence: Time ARTEFACT with early exit too, as in `hdlif run --confidence P`; off omits it.  [default: auto,
            if ARTEFACT has a confidence]
        against: Engines to time, out of openvino,onnxruntime,torch.  [default: the installed ones]
        data: Data set, or path of your own data, for timing and INT8 calibration.  [default: noise]
        batch: Images per batch for throughput.
        threads: Threads of each engine.  [default: the machine's cores]
        repeats: Rounds of timing.
    Returns:
        {"engines": {name: {"accuracy", "energy_uj", "agreement", "max_logit_difference", "latency_ms",
        "one_thread_ms", "throughput_per_s", "ratio", "ratio_range", "throughput_ratio", "file_bytes", "resident_bytes",
        "peak_resident_bytes", "start_seconds"}}, "early", "layers", "images", "tested", "batch", "threads",
        "instructions", "hardware", "versions"}; a ratio is the engine's time divided by the compiled runtime's, and
        names of the twin begin with "twin: ".
    Raises:
        ArtefactError: the twin's input differs.
        InputError: an engine is unknown.
        MissingExtraError: a requested engine is not installed.
    """
    from hdlif.graph.artefact import load
    from hdlif.recipe.runs.files import existing
    from hdlif.report import engine_times as measure
    from hdlif.report.engines import OURS, Material, signal_stack_kept
    from hdlif.report.provenance import hardware, versions
    from hdlif.runtime import Session
    from hdlif.runtime.early import choose_confidence
    from hdlif.runtime.limits import available_cores

    threads = available_cores() if threads is None else threads
    peers = None if against is None else [name for name in against.split(",") if name]
    names = [OURS, *measure.engines_of(peers)]
    files = {"": network_file(artefact), **({} if twin is None else {measure.TWIN: twin})}
    graphs = {prefix: load(existing(path)) for prefix, path in files.items()}
    graph = graphs[""]
    least = choose_confidence(confidence, graph.confidence, graph.task)
    if twin is not None:
        measure.check_twin(twin, graphs[measure.TWIN], graph)
    root, compared = None if data_root is None else Path(data_root), max(COMPARED_IMAGES // batch, 1) * batch
    images = measure.images_of(graph.input, data, root, overrides, compared=compared)
    say(f"images: {images.source}")
    with signal_stack_kept(), tempfile.TemporaryDirectory() as folder:
        candidates = {}
        for prefix, one in graphs.items():
            place = Path(folder, "twin" if prefix else "ours")
            place.mkdir()
            material = Material(files[prefix], one, images.calibration, place)
            for name in names:
                say(f"{prefix}{name}: preparing")
                candidates[prefix + name] = measure.prepare(name, material, threads, batch, reference=prefix + OURS)
        early = None
        if least is not None:
            stopping = measure.early(candidates[OURS], least, threads)
            candidates[OURS + measure.EARLY] = stopping
            early = {"confidence": least, "steps": measure.mean_steps(stopping, images.compared)}
        results = measure.compare(candidates, images.compared, batch)
        for name, candidate in candidates.items():
            results[name]["accuracy"] = measure.accuracy(candidate, images, batch, graph.task)
            results[name]["energy_uj"] = measure.energy_uj(candidate, images.compared)
        timed = {name: c for name, c in candidates.items() if results[name]["agrees"]}
        say(f"timing {', '.join(timed)}")
        measure.time_engines(timed, results, images.compared, batch, repeats)
        if threads > 1:
            say("timing on one thread")
            measure.time_on_one_thread(timed, results, images.compared, repeats)
        say("starting each in a fresh process")
        whole = {name: c for name, c in timed.items() if c.confidence is None}
        measure.start(whole, results, images.compared[:1], Path(folder), threads)
    session = Session(files[""], threads)
    return {
        "engines": results,
        "early": early,
        "layers": measure.layers_of(session, graph, images.compared),
        "images": images.source,
        "tested": None if images.labels is None else len(images.labels),
        "batch": batch,
        "threads": threads,
        "instructions": session.instructions,
        "hardware": hardware(),
        "versions": {**versions(), **measure.engine_versions(names)},
    }


def engines_table(result: Mapping[str, Any]) -> str:
    """Format the result of `hdlif bench`, with one row per engine and one row per stage of the runtime."""
    header = ["engine", "accuracy", "ms, 1 thread", "ms", "min–max", "ratio", "images/s", "ratio"]
    header += ["µJ, SOPs only", "all operations"]
    header += ["agreement", "Δ logits", "file (MB)", "resident (MB)", "peak (MB)", "start (s)"]
    rows = []
    for name, engine in result["engines"].items():
        row = [name, "" if engine["accuracy"] is None else f"{engine['accuracy']:.2%}"]
        row.append(f"{engine['one_thread_ms']['median']:.2f}" if "one_thread_ms" in engine else "")
        if "latency_ms" in engine:
            latency = engine["latency_ms"]
            row += [f"{latency['median']:.2f}", f"{latency['min']:.2f}–{latency['max']:.2f}", f"{engine['ratio']:.2f}"]
            row += [f"{engine['throughput_per_s']:.1f}", f"{engine['throughput_ratio']:.2f}"]
        else:
            row += ["disagrees", *[""] * 4]
        row += ["" if one is None else f"{one:.3g}" for one in engine["energy_uj"].values()]
        difference = engine["max_logit_difference"]
        row += [f"{engine['agreement']:.2%}", "" if difference is None else f"{difference:.1e}"]
        row += [_mb(engine.get(key)) for key in ("file_bytes", "resident_bytes", "peak_resident_bytes")]
        row.append(f"{engine['start_seconds']:.2f}" if "start_seconds" in engine else "")
        rows.append(row)
    cpu = result["hardware"]["cpu"]
    vnni = "with" if any("vnni" in name for name in result["hardware"]["instruction_sets"]) else "without"
    lines = [
        f"{result['threads']} threads, {cpu} {vnni} VNNI, ours on {result['instructions']}; {result['images']}",
        f"ms: latency of one image; images/s: batches of {result['batch']}; ratio: the engine's time divided by "
        "hdlif's; energy: per prediction, without memory traffic",
        *_early(result["early"]),
        *_verdict(result["engines"]),
        "",
        aligned(header, rows),
        "",
        stages_table(result["layers"]),
    ]
    return "\n".join(lines)


def _early(early: Mapping[str, float] | None) -> list[str]:
    if early is None:
        return []
    steps, confidence = early["steps"], early["confidence"]
    return [f"early: an image stops when its class has probability {confidence:g}, after {steps:.2f} steps on average"]


def _verdict(engines: Mapping[str, Any]) -> list[str]:
    """Return a sentence that compares the fastest engine of the network with the fastest engine of its twin."""
    from hdlif.report.engine_times import TWIN

    timed = {name: engine["latency_ms"]["median"] for name, engine in engines.items() if "latency_ms" in engine}
    of_both = [[name for name in timed if name.startswith(TWIN) == is_twin] for is_twin in (False, True)]
    if not all(of_both):
        return []
    own, twin = (min(names, key=timed.__getitem__) for names in of_both)
    times = timed[own] / timed[twin]
    return [f"verdict: {own} takes {timed[own]:.2f} ms per image, {times:.2f} times as long as {twin}"]


def stages_table(layers: Sequence[Mapping[str, Any]]) -> str:
    """Format a table with the time of each stage and the number of operations that a dense engine would run."""
    header = ["stage", "op", "ms", "density", "M MACs", "dense GMAC/s"]
    rows = [
        [
            layer["name"],
            layer["op"],
            f"{layer['ms']:.3f}",
            "" if layer["density"] is None else f"{layer['density']:.1%}",
            f"{layer['macs'] / 1e6:.2f}" if layer["macs"] else "",
            "" if layer["dense_gmacs_per_s"] is None else f"{layer['dense_gmacs_per_s']:.0f}",
        ]
        for layer in layers
    ]
    seconds, macs = sum(layer["ms"] for layer in layers) / 1e3, sum(layer["macs"] for layer in layers)
    total = ["total", "", f"{1e3 * seconds:.3f}", "", f"{macs / 1e6:.2f}", f"{macs / seconds / 1e9:.0f}"]
    return aligned(header, [*rows, total])


def _mb(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:.2f}"


COMMAND = subcommand(
    bench,
    ("hdlif bench digits.hdlif.safetensors --data digits", "compared with the engines that are installed"),
    ("hdlif bench digits.hdlif.safetensors --twin relu.hdlif.safetensors", "with the ordinary network too"),
    ("hdlif bench digits.hdlif.safetensors --data digits --confidence 0.95", "with early exit too"),
    ("hdlif bench digits.hdlif.safetensors --against torch --batch 1 --threads 1", "with PyTorch, on one thread"),
    text=engines_table,
)
