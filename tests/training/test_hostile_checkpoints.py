"""Whatever a checkpoint holds, the outcome is what it says, or a `CheckpointError` of one printable line.

Each file here has the digest of its content: a digest tells damage, and no intent.
"""

import hashlib
import itertools
import json
import shutil
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cases import naming, sampled
from hdlif.errors import CheckpointError, InputError, TrainingError
from hdlif.inputs.plain_yaml import recipe_fields
from hdlif.learning import StochasticStep
from hdlif.recipe import TrainingConfig, builders
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.training import Log, RunFiles, checkpoint, load_teacher
from hostile import VALUES, one_printable_line
from resource_limits import within_cpu_seconds
from small_recipes import recipe
from special_files import NO_FILES
from training.tiny import BATCHES, EPOCHS, At, CrashError, crash, train

RECIPE = {"seed": 7, "training": {"epochs": EPOCHS}}
JSON_VALUES = [value for value in VALUES if not isinstance(value, bytes | set | complex)]
SECTIONS = ("recipe", "recipe.training", "counters", "counters.best_metrics", "precision", "callbacks", "callbacks.Log")


def digest_of(tensors: Mapping[str, Tensor], record: object) -> str:
    """As `checkpoint` computes it, of records too that it refuses."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def forge(path: Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    text = json.dumps({**record, "digest": digest_of(tensors, record)})
    path.write_bytes(safetensors.torch.save(dict(tensors), {"hdlif": text}))


@pytest.fixture
def last(stopped: Path) -> Path:
    """The one checkpoint of a run that stopped in its second epoch."""
    (stopped / "previous.safetensors").unlink()
    return stopped / "last.safetensors"


def is_refused(action: Callable[[], object], *kinds: type[Exception]) -> bool:
    try:
        with within_cpu_seconds(60):
            action()
    except (CheckpointError, *kinds) as error:
        one_printable_line(error)
        return True
    return False


def resume_is_refused(out: Path, **arguments: Any) -> bool:
    """Whether a run does not go on; all is then as it was."""
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    refused = is_refused(lambda: train(out, resume=True, **arguments))
    assert not refused or {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    return refused


ABSENT = object()


def with_value(record: Mapping[str, Any], key: str, value: object) -> dict[str, Any]:
    """A copy of the record with another value at a key; without the key, if the value is `ABSENT`."""
    copy: dict[str, Any] = json.loads(json.dumps(record))
    *sections, name = key.split(".")
    place = copy
    for section in sections:
        place = place[section]
    place.pop(name)
    if value is not ABSENT:
        place[name] = value
    return copy


def keys_of(record: Mapping[str, Any]) -> list[str]:
    """Every key of a state, but for the figures of its best epoch."""
    return [*(key for key in recipe_fields(record) if not key.startswith("counters.best_metrics.")), *SECTIONS]


NUMBER = int | float
TAKEN: dict[str, Callable[[Any], bool]] = {
    "threads": lambda value: value is None or type(value) is int,
    "counters.best_score": lambda value: value is None or isinstance(value, NUMBER),
    "counters.best_metrics": lambda value: all(one is None or isinstance(one, NUMBER) for one in value.values()),
    "counters.best_per_step": lambda value: all(isinstance(one, NUMBER) for one in value),
    "precision": lambda value: all(isinstance(one, NUMBER) for one in value.values()),
    **dict.fromkeys(("callbacks", "callbacks.Log"), lambda value: isinstance(value, dict)),
}
"""What may stand at a key; at others, a number of the kind that stands there, or a text."""


def test_a_state_with_a_value_of_another_type_is_refused(last: Path) -> None:
    _, record = checkpoint.load(last)
    for key, value in itertools.product(keys_of(record), JSON_VALUES):
        # Its tensors are read later.
        forge(last, {}, with_value(record, key, value))
        if key != "callbacks.Log.bytes" and not is_refused(lambda: RunFiles(last.parent).begin(RECIPE, resume=True)):
            kept = recipe_fields(record).get(key, 0)
            plain = isinstance(value, NUMBER if isinstance(kept, float) else type(kept))
            assert TAKEN[key](value) if key in TAKEN else plain and abs(value) < 2**1024, (key, value)
    for value in JSON_VALUES:
        if not is_refused(lambda value=value: Log(last.parent).load_state_dict({"bytes": value})):
            assert type(value) is int
            assert 0 <= value < 2**63


def test_a_state_without_a_key_or_of_another_place_is_refused(last: Path) -> None:
    tensors, kept = checkpoint.load(last)
    step = kept["counters"]["step"]
    keys = ("recipe", "counters", "precision", "callbacks", "counters.epoch", "counters.loss")
    places = ({"step": step + 1}, {"epoch": 9, "step": 9 * BATCHES + step % BATCHES}, {"batch": 99, "step": step + 99})
    records = [with_value(kept, key, ABSENT) for key in keys]
    records += [with_value(kept, "counters", kept["counters"] | place) for place in places]
    for record in records:
        forge(last, tensors, record)
        assert resume_is_refused(last.parent), record


@pytest.mark.slow
def test_a_state_with_other_numbers_goes_on_or_is_refused(last: Path, tmp_path: Path) -> None:
    tensors, record = checkpoint.load(last)
    keys = [key for key in keys_of(record) if key.startswith(("counters.", "callbacks.Log.", "skip"))]
    for key, number in itertools.product(keys, (0, 1, 3, 2**62)):
        out = shutil.copytree(last.parent, tmp_path / f"{key}{number}")
        value: object = [float(number)] if key.endswith("per_step") else number
        forge(out / last.name, tensors, with_value(record, key, value))
        with naming(key, number):
            resume_is_refused(out)


CHANGES: dict[str, Callable[[Tensor], Tensor | None]] = {
    "missing": lambda tensor: None,
    "of no entries": lambda tensor: tensor.new_zeros(0),
    "a scalar": lambda tensor: tensor.new_zeros(()),
    "one dimension more": lambda tensor: tensor.unsqueeze(0).clone(),
    "one entry": lambda tensor: tensor.new_zeros((1,) * (tensor.ndim + 1)),
    "of integers, or none": lambda tensor: tensor.long() if tensor.is_floating_point() else tensor.float(),
    **{str(kind): lambda tensor, kind=kind: tensor.to(kind) for kind in (torch.bool, torch.complex64, torch.uint8)},
}


AVERAGED: dict[str, Any] = {
    "config": TrainingConfig(epochs=1, learning_rate=0.1, ema_decay=0.5),
    "record": {"seed": 7, "training": {"epochs": 1}},
}


@pytest.fixture(scope="module")
def averaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch that keeps averaged weights too, with one checkpoint alone."""
    out = tmp_path_factory.mktemp("hostile") / "averaged"
    train(out, **AVERAGED)
    (out / "previous.safetensors").unlink(missing_ok=True)
    return out


@sampled(len(CHANGES), prefix=["model.", "optimizer.", "callbacks."], change=CHANGES)
def test_tensors_of_another_shape_or_type_are_refused(
    prefix: str, change: Callable[[Tensor], Tensor | None], averaged: Path
) -> None:
    last = averaged / "last.safetensors"
    whole = last.read_bytes()
    tensors, kept = checkpoint.load(last)
    mine = [name for name in tensors if name.startswith(prefix)]
    assert mine
    for name in mine:
        changed = change(tensors[name])
        if changed is None:
            # A parameter that never had a gradient has no momentum.
            if prefix == "optimizer.":
                continue
            forge(last, {other: tensor for other, tensor in tensors.items() if other != name}, kept)
        elif (changed.shape, changed.dtype) == (tensors[name].shape, tensors[name].dtype):
            continue
        else:
            forge(last, tensors | {name: changed}, kept)
        assert resume_is_refused(averaged, **AVERAGED), name
    last.write_bytes(whole)


NO_RECORDS = (
    *("", "null", "3", "[]", '"x"', "{", "NaN", '{"a":NaN}', '{"a":Infinity}', '{"a":-Infinity}', '{"a":1e999}'),
    *('{"a":"\\ud800"}', '{"\\ud800":1}', '{"digest":{}}', '{"digest":"\\u001b[31m"}', '{"a":1,"a":2}'),
    *('{"a":' + "1" * 5000 + "}", '{"a":' + "9" * 30 + "}", "[" * 5000, '{"a":' * 5000),
    *('{"a":' + "[" * 900 + "]" * 900 + "}", '{"a":"' + "x" * 2**20 + '"}'),
)


def header(text: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text


def described(shape: object, kind: str = "F32", end: int = 4) -> bytes:
    return header(json.dumps({"w": {"dtype": kind, "shape": shape, "data_offsets": [0, end]}}).encode()) + bytes(end)


HEADERS = (
    header(b"{}", 2**63),
    header(b"{}", 2**64 - 1),
    header(b"[" * 5000),
    header(b'{"a":' * 5000),
    described([2**62, 4], end=0),
    described([-1], end=0),
    described([1], "F99"),
    described([2], "F4", 1),
    described([1], "F8_E8M0", 1),
    described([1] * 3001),
    header(b'{"__metadata__":{"hdlif":3}}'),
    header(b'{"__metadata__":{"' + b"\\u001b" * 50 + b'":"x","y":"' + b"z" * 9000 + b'"}}'),
    header(b'{"\\u001b[31m":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"__metadata__":{"hdlif":"{}"}}')
    + bytes(4),
)


def test_a_file_with_a_hostile_header_or_record_is_refused(tmp_path: Path) -> None:
    path, tensors = tmp_path / "x.safetensors", {"w": torch.ones(2)}
    contents = [*HEADERS, safetensors.torch.save(tensors)]
    contents += [safetensors.torch.save(tensors, {"format": "pt"} | more) for more in ({}, {"hdlif": "{}"})]
    for text in NO_RECORDS:
        contents.append(safetensors.torch.save(tensors, {"hdlif": text}))
        try:
            record = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and record:
            forged = text[:-1] + f',"digest":"{digest_of(tensors, record)}"}}'
            contents.append(safetensors.torch.save(tensors, {"hdlif": forged}))
    for content in contents:
        path.write_bytes(content)
        with naming(content[:80], content[-80:]):
            # Of a key that is stated twice, the last value counts.
            assert is_refused(lambda: checkpoint.load(path)) or checkpoint.load(path)[1] == {"a": 2}


def test_what_is_no_file_is_refused_soon_as_a_checkpoint_and_as_a_teacher(tmp_path: Path) -> None:
    def as_teacher(path: Path) -> None:
        load_teacher(path, torch.nn.Linear(2, 2))

    names = [Path(name) for name in ("a\0b", "a\ud800", "x" * 300, "\x1b[31m")]
    attempts = list(itertools.product(names, (checkpoint.load, as_teacher)))
    for name, make in NO_FILES.items():
        for suffix, loads in ((".safetensors", (checkpoint.load, load_trained, as_teacher)), (".pth", (as_teacher,))):
            make(path := tmp_path / f"{name}{suffix}")
            attempts += itertools.product([path], loads)
    for path, load in attempts:
        assert is_refused(lambda path=path, load=load: load(path), InputError), (path, load)


def test_what_is_no_file_of_a_run_ends_its_resuming_soon(last: Path, tmp_path: Path) -> None:
    names = (last.name, "previous.safetensors", "best.safetensors", "metrics.jsonl")
    for name, (kind, make) in itertools.product(names, NO_FILES.items()):
        out = shutil.copytree(last.parent, tmp_path / name / kind)
        (out / name).unlink(missing_ok=True)
        make(out / name)
        rule = At(0, crash, StochasticStep())
        try:
            with naming(name, kind):
                is_refused(lambda out=out, rule=rule: train(out, resume=True, rule=rule), TrainingError)
        except CrashError:
            assert name == "previous.safetensors", kind


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile_network") / "model.safetensors"
    made = recipe("model.blocks=[1]")
    checkpoint.save_model(path, builders.build_model(made), {"recipe": made.model_dump(mode="json"), "epoch": 1})
    assert load_trained(path)
    return path


@settings(max_examples=25)
@given(data=st.data())
def test_a_network_whose_recipe_has_any_value_is_read_or_refused(
    data: st.DataObject, untrained: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tensors, record = checkpoint.load(untrained)
    key = data.draw(st.sampled_from([*recipe_fields(record), "recipe", "recipe.model", "recipe.data"]))
    value = data.draw(st.sampled_from(JSON_VALUES))
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    forge(path, tensors, with_value(record, key, value))
    is_refused(lambda: load_trained(path))


LINES = (
    *("{", "3", "[]", "{}", "NaN", "\udc80", '"\\ud800"', "[" * 5000, "1" * 5000),
    '{"event":"train"}',
    '{"event":3,"step":1,"seconds":1}',
    '{"event":"train","step":"1","seconds":1}',
    '{"event":"train","step":1,"seconds":null}',
    '{"event":"train","step":1,"seconds":1,"loss":"x"}',
    '{"event":"x","step":1,"seconds":1,"accuracy_per_step":3}',
)


def test_a_damaged_line_of_metrics_is_refused_before_any_is_cut(last: Path) -> None:
    tensors, record = checkpoint.load(last)
    log = last.with_name("metrics.jsonl")
    written = log.read_bytes()
    for line in LINES:
        content = line.encode("utf-8", "surrogateescape") + b"\n" + written
        log.write_bytes(content + b"written later\n")
        forge(last, tensors, with_value(record, "callbacks.Log.bytes", len(content)))
        assert resume_is_refused(last.parent), line[:80]
