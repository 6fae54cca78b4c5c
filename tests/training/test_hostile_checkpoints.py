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

from cases import naming
from hdlif.errors import CheckpointError, InputError, TrainingError
from hdlif.inputs.plain_yaml import recipe_fields
from hdlif.learning import StochasticStep
from hdlif.recipe import TrainingConfig
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.training import Log, RunFiles, checkpoint, load_teacher
from hostile import NO_FILES, VALUES, one_printable_line, within
from training.tiny import EPOCHS, At, CrashError, crash, stop, train
from trainings import train as train_recipe

RECIPE = {"seed": 7, "training": {"epochs": EPOCHS}}


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


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that stopped in its second epoch, with one checkpoint alone."""
    out = stop(tmp_path_factory.mktemp("hostile") / "run", 14)
    (out / "previous.safetensors").unlink()
    return out


def resumed(out: Path) -> bool:
    """Whether the run went on; where it did not, all is as it was."""
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    try:
        with within(60):
            train(out, resume=True)
    except CheckpointError as error:
        one_printable_line(error)
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
        return False
    return True


def begun(files: RunFiles) -> bool:
    try:
        files.begin(RECIPE, resume=True)
    except CheckpointError as error:
        one_printable_line(error)
        return False
    return True


def with_value(record: Mapping[str, Any], key: str, value: object) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(record))
    *sections, last = key.split(".")
    place = copy
    for section in sections:
        place = place[section]
    place[last] = value
    return copy


JSON_VALUES = [value for value in VALUES if not isinstance(value, bytes | set | complex)]
SECTIONS = ("recipe", "recipe.training", "counters", "counters.best_metrics", "precision", "callbacks", "callbacks.Log")


def keys_of(record: Mapping[str, Any]) -> list[str]:
    """Every key of a state, but for the figures of its best epoch."""
    return [*(key for key in recipe_fields(record) if not key.startswith("counters.best_metrics.")), *SECTIONS]


def test_a_state_with_a_value_of_another_type_is_refused(stopped: Path, tmp_path: Path) -> None:
    out = shutil.copytree(stopped, tmp_path / "run")
    _, record = checkpoint.load(out / "last.safetensors")
    for key in keys_of(record):
        if key == "callbacks.Log.bytes":
            continue
        kept, taken = recipe_fields(record).get(key, 0), []
        for value in JSON_VALUES:
            # Its tensors are read later.
            forge(out / "last.safetensors", {}, with_value(record, key, value))
            if begun(RunFiles(out)):
                taken.append(value)
        for value in taken:
            assert _is_of_its_type(key, value, kept), (key, value)


def _is_of_its_type(key: str, value: Any, kept: object) -> bool:
    """Whether a value that was taken at a key is of the type that stands there."""
    if key == "threads":
        return value is None or type(value) is int
    if key == "counters.best_score":
        return value is None or isinstance(value, int | float)
    if key == "counters.best_metrics":
        return all(number is None or isinstance(number, int | float) for number in value.values())
    if key.startswith("callbacks"):
        return isinstance(value, dict)
    if key == "precision" or key.endswith("per_step"):
        return all(isinstance(number, int | float) for number in (value.values() if key == "precision" else value))
    return isinstance(value, float | int if isinstance(kept, float) else type(kept)) and abs(value) < 2**1024


def test_a_count_of_a_callback_is_refused_or_a_count(tmp_path: Path) -> None:
    for value in JSON_VALUES:
        try:
            Log(tmp_path).load_state_dict({"bytes": value})
        except CheckpointError as error:
            one_printable_line(error)
        else:
            assert type(value) is int
            assert 0 <= value < 2**63


def test_a_state_without_a_key_is_refused(stopped: Path, tmp_path: Path) -> None:
    out = shutil.copytree(stopped, tmp_path / "run")
    tensors, kept = checkpoint.load(out / "last.safetensors")
    for key in ("recipe", "counters", "precision", "callbacks", "counters.epoch", "counters.loss"):
        record = json.loads(json.dumps(kept))
        *sections, last = key.split(".")
        del (record[sections[0]] if sections else record)[last]
        forge(out / "last.safetensors", tensors, record)
        assert not resumed(out), key


@pytest.mark.slow
def test_a_state_with_other_numbers_goes_on_or_is_refused(stopped: Path, tmp_path: Path) -> None:
    tensors, record = checkpoint.load(stopped / "last.safetensors")
    keys = [key for key in keys_of(record) if key.startswith(("counters.", "callbacks.Log.", "skip"))]
    for key, number in itertools.product(keys, (0, 1, 3, 2**62)):
        out = shutil.copytree(stopped, tmp_path / f"{key}{number}")
        value: object = [float(number)] if key.endswith("per_step") else number
        forge(out / "last.safetensors", tensors, with_value(record, key, value))
        with naming(key, number):
            resumed(out)


def test_no_counters_lead_a_run_to_another_place(stopped: Path, tmp_path: Path) -> None:
    step = checkpoint.load(stopped / "last.safetensors")[1]["counters"]["step"]
    for place in ({"step": step + 1}, {"epoch": 9, "step": 90 + step % 10}, {"batch": 99, "step": step + 99}):
        out = shutil.copytree(stopped, tmp_path / "-".join(place))
        tensors, record = checkpoint.load(out / "last.safetensors")
        record["counters"] |= place
        forge(out / "last.safetensors", tensors, record)
        assert not resumed(out)


CHANGES: dict[str, Callable[[Tensor], Tensor | None]] = {
    "missing": lambda tensor: None,
    "of no entries": lambda tensor: tensor.new_zeros(0),
    "a scalar": lambda tensor: tensor.new_zeros(()),
    "one dimension more": lambda tensor: tensor.unsqueeze(0).clone(),
    "one entry": lambda tensor: tensor.new_zeros((1,) * (tensor.ndim + 1)),
    "int64": lambda tensor: tensor.new_zeros(
        tensor.shape, dtype=torch.int64 if tensor.is_floating_point() else torch.float32
    ),
    "bool": lambda tensor: tensor.new_zeros(tensor.shape, dtype=torch.bool),
    "complex": lambda tensor: tensor.new_zeros(tensor.shape, dtype=torch.complex64),
    "uint8": lambda tensor: tensor.new_zeros(tensor.shape, dtype=torch.uint8),
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


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "prefix",
    ["model.", pytest.param("optimizer.", marks=pytest.mark.slow), pytest.param("callbacks.", marks=pytest.mark.slow)],
)
def test_tensors_of_another_shape_or_type_are_refused(prefix: str, change: str, averaged: Path, tmp_path: Path) -> None:
    out = shutil.copytree(averaged, tmp_path / "run")
    tensors, kept = checkpoint.load(out / "last.safetensors")
    mine = [name for name in tensors if name.startswith(prefix)]
    assert mine
    for name in mine:
        changed = CHANGES[change](tensors[name])
        if changed is not None and (changed.shape, changed.dtype) == (tensors[name].shape, tensors[name].dtype):
            continue
        others = {other: tensor for other, tensor in tensors.items() if other != name}
        forge(out / "last.safetensors", others | ({} if changed is None else {name: changed}), kept)
        # A parameter that never had a gradient has no momentum.
        if prefix == "optimizer." and changed is None:
            continue
        with pytest.raises(CheckpointError) as refused, within(60):
            train(out, resume=True, **AVERAGED)
        one_printable_line(refused.value)


NO_RECORDS = (
    *("", "null", "3", "[]", '"x"', "{", "NaN", '{"a":NaN}', '{"a":Infinity}', '{"a":-Infinity}', '{"a":1e999}'),
    *('{"a":"\\ud800"}', '{"\\ud800":1}', '{"digest":{}}', '{"digest":"\\u001b[31m"}', '{"a":1,"a":2}'),
    *('{"a":' + "1" * 5000 + "}", '{"a":' + "9" * 30 + "}", "[" * 5000, '{"a":' * 5000),
    *('{"a":' + "[" * 900 + "]" * 900 + "}", '{"a":"' + "x" * 2**20 + '"}'),
)


def test_a_record_that_is_no_plain_json_is_refused(tmp_path: Path) -> None:
    path, tensors = tmp_path / "x.safetensors", {"w": torch.ones(2)}
    for text in NO_RECORDS:
        forged = text
        try:
            record = json.loads(text)
            if isinstance(record, dict) and record:
                forged = text[:-1] + f',"digest":"{digest_of(tensors, record)}"}}'
        except (ValueError, RecursionError):
            pass
        for content in (text, forged):
            path.write_bytes(safetensors.torch.save(tensors, {"hdlif": content}))
            try:
                with naming(text[:24]), within(10):
                    _, record = checkpoint.load(path)
            except CheckpointError as error:
                one_printable_line(error)
            else:
                assert record == {"a": 2}


def test_what_is_no_checkpoint_or_teacher_is_refused_soon(tmp_path: Path) -> None:
    for number, (name, make) in enumerate(NO_FILES.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = folder / "model.safetensors"
        make(path)
        for load in (checkpoint.load, load_trained):
            with naming(name, load), pytest.raises((CheckpointError, InputError)) as refused, within(10):
                load(path)
            one_printable_line(refused.value)
        for suffix in (".pth", ".safetensors"):
            make(folder / f"teacher{suffix}")
            with naming(name, suffix), pytest.raises(CheckpointError) as no_teacher, within(20):
                load_teacher(folder / f"teacher{suffix}", torch.nn.Linear(2, 2))
            one_printable_line(no_teacher.value)


def test_a_path_that_is_none_is_refused() -> None:
    for name in ("a\0b", "a\ud800", "x" * 300, "\x1b[31m"):
        for load in (checkpoint.load, lambda path: load_teacher(path, torch.nn.Linear(2, 2))):
            with pytest.raises(CheckpointError) as refused:
                load(Path(name))
            one_printable_line(refused.value)


def test_what_is_no_file_of_a_run_ends_its_resuming_soon(stopped: Path, tmp_path: Path) -> None:
    names = ("last.safetensors", "previous.safetensors", "best.safetensors", "metrics.jsonl")
    for name, (kind, make) in itertools.product(names, NO_FILES.items()):
        out = shutil.copytree(stopped, tmp_path / name / kind)
        (out / name).unlink(missing_ok=True)
        make(out / name)
        try:
            with naming(name, kind), within(60):
                train(out, resume=True, rule=At(0, crash, StochasticStep()))
        except (CheckpointError, TrainingError) as error:
            one_printable_line(error)
        except CrashError:
            assert name == "previous.safetensors", kind


def header(text: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text


HEADERS = (
    header(b"{}", 2**63),
    header(b"{}", 2**64 - 1),
    header(b"[" * 5000),
    header(b'{"a":' * 5000),
    header(b'{"w":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}'),
    header(b'{"w":{"dtype":"F32","shape":[-1],"data_offsets":[0,0]}}'),
    header(b'{"w":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}') + bytes(4),
    header(b'{"w":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}') + bytes(1),
    header(b'{"w":{"dtype":"F8_E8M0","shape":[1],"data_offsets":[0,1]}}') + bytes(1),
    header(b'{"w":{"dtype":"F32","shape":[' + b"1," * 3000 + b'1],"data_offsets":[0,4]}}') + bytes(4),
    header(b'{"__metadata__":{"hdlif":3}}'),
    header(b'{"__metadata__":{"' + b"\\u001b" * 50 + b'":"x","y":"' + b"z" * 9000 + b'"}}'),
    header(b'{"\\u001b[31m":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"__metadata__":{"hdlif":"{}"}}')
    + bytes(4),
)


def test_a_file_with_a_hostile_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for content in HEADERS:
        path.write_bytes(content)
        with naming(content[:80]), pytest.raises(CheckpointError) as refused, within(10):
            checkpoint.load(path)
        one_printable_line(refused.value)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("hostile_trained") / "run"
    fast = ["training.epochs=1", "data.batch_size=128", "model.width=4", "model.blocks=[1]", "data.train=256"]
    train_recipe("digits_hdlif", overrides=fast, out=out, memory_repeats=0)
    return out / "model.safetensors"


@settings(max_examples=25)
@given(data=st.data())
def test_a_network_whose_recipe_has_any_value_is_read_or_refused(
    data: st.DataObject, trained: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tensors, record = checkpoint.load(trained)
    key = data.draw(st.sampled_from([*recipe_fields(record), "recipe", "recipe.model", "recipe.data"]))
    value = data.draw(st.sampled_from(JSON_VALUES))
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    forge(path, tensors, with_value(record, key, value))
    try:
        with within(30):
            load_trained(path)
    except CheckpointError as error:
        one_printable_line(error)


LINES = (
    *("{", "3", "[]", "{}", "NaN", "\udc80", '"\\ud800"', "[" * 5000, "1" * 5000),
    '{"event":"train"}',
    '{"event":3,"step":1,"seconds":1}',
    '{"event":"train","step":"1","seconds":1}',
    '{"event":"train","step":1,"seconds":null}',
    '{"event":"train","step":1,"seconds":1,"loss":"x"}',
    '{"event":"x","step":1,"seconds":1,"accuracy_per_step":3}',
)


def test_a_damaged_line_of_metrics_is_refused_before_any_is_cut(stopped: Path, tmp_path: Path) -> None:
    out = shutil.copytree(stopped, tmp_path / "run")
    tensors, record = checkpoint.load(out / "last.safetensors")
    written = (out / "metrics.jsonl").read_bytes()
    for line in LINES:
        content = line.encode("utf-8", "surrogateescape") + b"\n" + written
        (out / "metrics.jsonl").write_bytes(content + b"written later\n")
        forge(out / "last.safetensors", tensors, with_value(record, "callbacks.Log.bytes", len(content)))
        assert not resumed(out), line[:80]
