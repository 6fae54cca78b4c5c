"""Any bytes as a checkpoint: a network, a state to resume from, or a `CheckpointError` of one line and all files kept.

The bytes are a safetensors file, or the JSON of a record (they begin with `{`), which gets the digest of its content.
"""

import json
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import driver
import safetensors.torch
import torch
from json_trees import change, edited

from hdlif.recipe import Recipe, builders, load_recipe
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.recipe.runs.folders import begun, check_free, finished
from hdlif.training import Averaging, Log, RunFiles, checkpoint
from hdlif.training.average import Average
from hdlif.training.callback import load_callback_states
from hdlif.training.optimization import sgd
from hdlif.training.state_record import counters_of
from hostile import VALUES

RECIPE = load_recipe(
    "digits_hdlif", ["model.width=4", "model.blocks=[1]", "training.epochs=2", "training.ema_decay=0.9"]
)
RECORD = RECIPE.model_dump(mode="json")
FOLDER = Path(tempfile.mkdtemp(prefix="fuzz_checkpoint_"))


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return builders.build_model(RECIPE)


def optimizer_of(model: torch.nn.Module) -> torch.optim.SGD:
    return sgd(model, learning_rate=0.1, momentum=0.9, weight_decay=0.0)


MODEL = network()
OPTIMIZER = optimizer_of(MODEL)


AVERAGED = {
    f"callbacks.Averaging.{name}": value
    for name, value in Average(MODEL, 0.9).state_dict().items()
    if isinstance(value, torch.Tensor)
}
STATE = {**checkpoint.training_tensors(MODEL, OPTIMIZER), **AVERAGED}
COUNTERS = {
    **{"epoch": 1, "batch": 2, "step": 21, "window": 1, "loss": 2.5, "correct": 9, "answers": 16, "train_seconds": 1.5},
    **{"best_epoch": 1, "best_score": 0.5, "best_loss": 1.5, "score_epoch": 1},
    **{"best_metrics": {"accuracy": 0.5}, "best_per_step": [0.25, 0.5]},
}
COUNTS = {
    "callbacks": {"Averaging": {"updates": 21}, "Log": {"bytes": 0}},
    "precision": {},
    "skipped_updates": 0,
}
STATE_RECORD = {"recipe": RECORD, "counters": COUNTERS, **COUNTS}


def target(data: bytes) -> None:
    if data.startswith(b"{"):
        of_a_record(data)
    else:
        of_a_file(data)
        if (signed := with_its_digest(data)) is not None:
            of_a_file(signed)


def of_a_record(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    with driver.may_refuse():
        checkpoint._record_of(text, Path("fuzzed"))
    try:
        record = json.loads(text)
        stored = STATE if "counters" in record else MODEL.state_dict()
        digest = checkpoint._digest(stored, record)
    except (ValueError, RecursionError):
        return
    of_a_file(safetensors.torch.save(dict(stored), {"hdlif": json.dumps({**record, "digest": digest})}))


def with_its_digest(data: bytes) -> bytes | None:
    """The file with a record that has the digest of its content; None where it is no checkpoint otherwise."""
    try:
        tensors = safetensors.torch.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        record = json.loads(header["__metadata__"]["hdlif"])
        record.pop("digest", None)
        digest = checkpoint._digest(tensors, record)
        return safetensors.torch.save(tensors, {"hdlif": json.dumps({**record, "digest": digest})})
    except Exception:
        return None


def of_a_file(content: bytes) -> None:
    out = FOLDER / "run"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    (out / "model.safetensors").write_bytes(content)
    with driver.may_refuse():
        load_trained(out)
    (out / "last.safetensors").write_bytes(content)
    (out / "summary.json").write_bytes(content[8:])
    (out / "recipe.yaml").write_bytes(content[8:])
    assert finished(out, RECIPE) is None
    assert not begun(out, RECIPE)
    with driver.may_refuse():
        check_free(out)
        raise AssertionError("a folder with a run is free")
    with driver.may_refuse():
        resume(out)
    kept = [path for path in (out / "last.safetensors", out / "damaged.safetensors") if path.exists()]
    assert [path.read_bytes() for path in kept] == [content]


def resume(out: Path) -> None:
    """As a training takes a state up, without its data."""
    found = RunFiles(out).begin(RECORD, resume=True)
    assert found is not None
    counters_of(found.record, found.path)
    model = network()
    checkpoint.restore_training(model, optimizer_of(model), found.tensors, found.path)
    averaging, log = Averaging(0.9), Log(out)
    load_callback_states([averaging, log], found.tensors, found.record["callbacks"])
    Average(model, 0.9).load_state_dict(averaging._saved or {})
    log._open()
    log.teardown()


JSON_VALUES = [value for value in VALUES if not isinstance(value, bytes | set | complex)]


def mutate(data: bytes, draw: random.Random) -> bytes:
    """Change one value of the record or of the header."""
    if not data.startswith(b"{"):
        chosen = draw.randrange(2)
        return edited(data, lambda header, record, _: change((header, record)[chosen], draw, JSON_VALUES))
    try:
        record = json.loads(data)
    except (ValueError, RecursionError):
        return data
    change(record, draw, JSON_VALUES)
    return json.dumps(record).encode("utf-8", "surrogatepass")


def seeds() -> Iterator[bytes]:
    path = FOLDER / "seed.safetensors"
    checkpoint.save_model(path, MODEL, {"recipe": RECORD, "epoch": 1, "accuracy": 0.5})
    yield path.read_bytes()
    checkpoint.save(path, tensors=STATE, record=STATE_RECORD)
    yield path.read_bytes()
    yield json.dumps(STATE_RECORD).encode()
    yield json.dumps({"recipe": RECORD, "epoch": 1, "accuracy": 0.5}).encode()
    assert Recipe.model_validate(RECORD) == RECIPE


if __name__ == "__main__":
    driver.main(target, "checkpoint", seeds=seeds(), mutate=mutate)
