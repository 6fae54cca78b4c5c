"""Read the run folders of training runs and demos, and check that their contents have the expected types."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypeVar

from pydantic import Field, TypeAdapter, ValidationError, with_config

# Before Python 3.12, pydantic rejects typing.TypedDict.
from typing_extensions import TypedDict

from hdlif import run_folder
from hdlif.errors import InputError, brief, cut, printable, reason
from hdlif.inputs.plain_yaml import is_deeper
from hdlif.recipe import one_component
from hdlif.recipe.runs.summary import FINITE, MOST_LEVELS, MOST_METRICS, MOST_SUMMARY, RESULT, Name, Number, TrainResult
from hdlif.whole_files import read_regular

Base64 = Annotated[str, Field(pattern="^[A-Za-z0-9+/]+=*$")]


class Metric(TypedDict):
    """One line of `metrics.jsonl`, whose loss may be infinite or NaN."""

    event: Literal["train", "validation"]
    epoch: int
    step: int
    loss: Number
    accuracy: Number
    metrics: NotRequired[dict[str, Number]]
    part: NotRequired[Literal["train"]]
    """Part of the data that was measured if no validation samples were held out."""


@with_config(FINITE)
class Artefact(TypedDict):
    """A model file's size, latency and agreement with the original network."""

    path: str
    bytes: int
    accuracy: NotRequired[Number]
    argmax_agreement: NotRequired[Number]
    max_logit_difference: NotRequired[Number]
    latency_ms: NotRequired[Number]
    images: NotRequired[int]


@with_config(FINITE)
class CoherenceStep(TypedDict):
    """A comparison between a layer's gradient and the STBP gradient at one time step."""

    cosine: Number


@with_config(FINITE)
class CoherenceLayer(TypedDict):
    """A comparison between a layer's gradient and the STBP gradient, with statistics on the entries of dL/dm."""

    name: Name
    kind: Literal["neuron", "synapse", "parameters"]
    cosine: Number
    norm_ratio: Number
    equal: Number
    dropped: Number
    wrong: Number
    firing_rate: Number
    per_step: list[CoherenceStep]


class CoherenceView(TypedDict):
    """The layers in a local or end-to-end comparison."""

    layers: list[CoherenceLayer]


class CoherenceRule(TypedDict):
    """The local and end-to-end comparisons of one learning rule."""

    local: CoherenceView
    end_to_end: CoherenceView


class Coherence(TypedDict):
    """An entry in `coherence.json`, for one network and one loss."""

    target: Name
    neuron: Name
    loss: Name
    trained: NotRequired[bool]
    rules: dict[Name, CoherenceRule]


class CoherenceFile(TypedDict):
    """The content of the file that `hdlif coherence --out` writes."""

    networks: list[Coherence]


class Confusion(TypedDict):
    """The content of `confusion.json`, with counts by true class (rows) and predicted class (columns)."""

    labels: list[Name]
    counts: list[list[int]]
    # The counted items, if they are not samples.
    of: NotRequired[Literal["steps", "pixels"]]


@with_config(FINITE)
class Early(TypedDict):
    """The content of `early.json`, with the mean number of time steps and the accuracy for each confidence."""

    time_steps: int
    confidence: list[float]
    steps: list[float]
    accuracy: list[float]


@with_config(FINITE)
class Errors(TypedDict):
    """The content of `errors.json`, with true and predicted values, and statistics of the errors."""

    names: list[Name]
    mean: list[float]
    deviation: list[float]
    true: list[list[float]]
    predicted: list[list[float]]


@with_config(FINITE)
class Labels(TypedDict):
    """The content of `labels.json`, with the true and false positives and negatives of each label."""

    names: list[Name]
    f1: list[float]
    true_positives: list[int]
    false_positives: list[int]
    false_negatives: list[int]
    true_negatives: list[int]


class Demo(TypedDict):
    """The content of the demo's `summary.json`, which lists networks that each have a run folder."""

    networks: list[TrainResult]
    artefact: NotRequired[Artefact | None]
    data: NotRequired[Any]
    seed: NotRequired[int | None]
    versions: NotRequired[dict[str, Any]]
    hardware: NotRequired[dict[str, Any]]


@with_config(FINITE)
class GalleryImage(TypedDict):
    """A test image's score, and its target and prediction as base64-encoded PNG files."""

    score: float
    truth: Base64
    answer: Base64


class Gallery(TypedDict):
    """The content of `gallery.json`, with the test images that have the lowest scores."""

    images: list[GalleryImage]


_DEMO = TypeAdapter(Demo)
_METRIC = TypeAdapter(Metric)
_COHERENCE = TypeAdapter(CoherenceFile)
_OF_NETWORKS: Mapping[str, tuple[str, TypeAdapter[Any]]] = {
    "confusions": (run_folder.CONFUSION, TypeAdapter(Confusion)),
    "early": (run_folder.EARLY, TypeAdapter(Early)),
    "errors": (run_folder.ERRORS, TypeAdapter(Errors)),
    "labels": (run_folder.LABELS, TypeAdapter(Labels)),
    "galleries": (run_folder.GALLERY, TypeAdapter(Gallery)),
}
"""Optional files of a run folder, by the field of `Run` that contains them."""
_FIX = "finish the run with `hdlif train RECIPE --resume`, or run it again"


@dataclass
class Run:
    """The content of one or more run folders, in dicts keyed by network name.

    A network is missing from a dict if its run folder lacks the corresponding file. `recipes` contains the recipes as
    text. `coherence` contains the entries of all `coherence.json` files, and may describe networks that the dicts do
    not contain.
    """

    networks: list[TrainResult] = field(default_factory=list)
    histories: dict[str, list[Metric]] = field(default_factory=dict)
    recipes: dict[str, str] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)
    confusions: dict[str, Confusion] = field(default_factory=dict)
    early: dict[str, Early] = field(default_factory=dict)
    errors: dict[str, Errors] = field(default_factory=dict)
    labels: dict[str, Labels] = field(default_factory=dict)
    galleries: dict[str, Gallery] = field(default_factory=dict)
    artefact: Artefact | None = None
    data: str | None = None
    coherence: list[Coherence] = field(default_factory=list)


def read_run(folder: Path) -> Run:
    """Read a training run's folder, or a demo's folder with one run folder per network.

    Raises:
        InputError: the folder does not exist or contains no finished run, or a file in it is damaged.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give the OUT folder of `hdlif train` or `hdlif demo`")
    path = folder / run_folder.SUMMARY
    summary = _json(_text(path), str(path))
    if not isinstance(summary, dict):
        raise InputError(f"{path} contains a {type(summary).__name__}, but a summary is a JSON object; {_FIX}")
    if "networks" not in summary:
        network = _checked(RESULT, {"name": folder.resolve().name} | summary, str(path))
        network = replace(network, name=run_name(folder, network.name))
        run = Run()
        _add(run, network, folder)
        return run
    demo = _checked(_DEMO, summary, str(path))
    if not demo["networks"]:
        raise InputError(f"{path}: networks is empty, but a demo has at least one; run `hdlif demo` again")
    data = demo.get("data")
    run = Run(coherence=_coherence(folder), artefact=demo.get("artefact"), data=data if isinstance(data, str) else None)
    for network in demo["networks"]:
        name = network.name
        if not _is_component(name) or name in run.folders:
            raise InputError(f"{path}: network {brief(name)} is listed twice or is not a folder name; {_FIX}")
        common: Any = {key: demo.get(key) for key in ("seed", "versions", "hardware") if getattr(network, key) is None}
        _add(run, replace(network, **common), folder / name)
    return run


def run_name(folder: Path, recipe: str) -> str:
    """Return the name of a training run's folder, or the recipe's name if the folder has no name.

    >>> run_name(Path("runs/photos"), "digits_hdlif"), run_name(Path("/"), "digits_hdlif")
    ('photos', 'digits_hdlif')
    """
    return printable(folder.resolve().name) or recipe


def _is_component(name: str) -> bool:
    try:
        one_component(name)
    except ValueError:
        return False
    return True


def merge(runs: Sequence[Run]) -> Run:
    """Merge runs, using folders to distinguish networks that have the same name.

    Raises:
        InputError: a run is given twice, or several runs have a model file.
    """
    artefacts = [run.artefact for run in runs if run.artefact]
    if len(artefacts) > 1:
        raise InputError(
            f"{len(artefacts)} of the runs are demos, but a page shows only one; write a separate report for each demo"
        )
    data = {run.data for run in runs}
    merged = Run(artefact=artefacts[0] if artefacts else None, data=data.pop() if len(data) == 1 else None)
    names = [network.name for run in runs for network in run.networks]
    for run in runs:
        for network in run.networks:
            name = network.name
            folder = run.folders[name]
            if folder in merged.folders.values():
                raise InputError(f"{folder} is given twice; give each run once")
            label = name if names.count(name) == 1 else folder.as_posix()
            merged.networks.append(replace(network, name=label))
            for by_name in ("histories", "recipes", "folders", *_OF_NETWORKS):
                if name in getattr(run, by_name):
                    getattr(merged, by_name)[label] = getattr(run, by_name)[name]
        merged.coherence += run.coherence
    return merged


def _add(run: Run, network: TrainResult, folder: Path) -> None:
    name = network.name
    run.networks.append(network)
    run.histories[name] = _metrics(folder / run_folder.METRICS)
    run.recipes[name] = _text(folder / run_folder.RECIPE)
    run.folders[name] = folder
    run.coherence += _coherence(folder)
    for by_name, (file, record) in _OF_NETWORKS.items():
        if (path := folder / file).exists():
            found = _record(path, record)
            if not _is_even(found):
                raise InputError(f"{path}: its lists have different lengths; {_FIX}")
            getattr(run, by_name)[name] = found


def _is_even(record: Mapping[str, Any]) -> bool:
    """Return whether the lists in a file have consistent lengths and its confusion matrix, if any, is square."""
    lists = [value for value in record.values() if isinstance(value, list)]
    inner = [[len(row) for row in value] for value in lists if value and isinstance(value[0], list)]
    if "counts" in record:
        inner.append([len(record["labels"])] * len(record["labels"]))
    return len({*map(len, lists)}) == 1 and all(lengths == inner[0] for lengths in inner)


def _coherence(folder: Path) -> list[Coherence]:
    path = folder / run_folder.COHERENCE
    if not path.exists():
        return []
    fix = "write it again with `hdlif coherence TARGET --out DIR`, or remove it"
    return _record(path, _COHERENCE, fix)["networks"]


_NOT_DRAWN = ("surrogate", "fallback", "threads", "traces")
"""Events of a training run that are not drawn, such as temperatures, damaged checkpoints and the choice of threads."""


def _metrics(path: Path) -> list[Metric]:
    events = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        source = f"{path} line {number}"
        event = _json(line, source)
        if not isinstance(event, dict) or event.get("event") not in _NOT_DRAWN:
            events.append(_checked(_METRIC, event, source))
    return events


def _text(path: Path) -> str:
    most = MOST_METRICS if path.suffix == ".jsonl" else MOST_SUMMARY
    try:
        return read_regular(path, most=most).decode("utf-8")
    except FileNotFoundError:
        raise InputError(f"{path} is missing; a finished run has one; {_finishing(path.parent)}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({reason(error)}); {_FIX}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} cannot be read (byte {error.start} is not UTF-8); {_FIX}") from error


def _finishing(folder: Path) -> str:
    """Explain how to finish the run in a folder, including a command if the run can be resumed."""
    if not all((folder / name).exists() for name in (run_folder.RECIPE, run_folder.LAST)):
        return _FIX
    return f"the run was stopped; continue it with: {run_folder.resuming(folder)}"


def _json(text: str, source: str) -> Any:
    try:
        value = json.loads(text)
        if is_deeper(value, MOST_LEVELS):
            raise ValueError(f"more than {MOST_LEVELS} levels of nesting")
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source} is not JSON ({error}); {_FIX}") from error
    return value


_Record = TypeVar("_Record")


def _record(path: Path, record: TypeAdapter[_Record], fix: str = _FIX) -> _Record:
    return _checked(record, _json(_text(path), str(path)), str(path), fix)


def _checked(record: TypeAdapter[_Record], value: Any, source: str, fix: str = _FIX) -> _Record:
    try:
        return record.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = cut(".".join(str(part) for part in first["loc"]))
        seen = "" if first["type"] == "missing" else f" = {cut(repr(first['input']), 40)}"
        raise InputError(f"{source}: {place}{seen}: {first['msg']}; {fix}") from error
