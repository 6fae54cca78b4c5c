"""Checkpoints: safetensors files with one metadata key, "hdlif", which contains a record as canonical JSON.

With a single metadata key, files are reproducible; safetensors writes several keys in random order. Each file is
flushed to disk under a temporary name and then renamed, so no incomplete file ever has a checkpoint's name. The
"digest" in the record reveals whether bytes have changed on disk. It is not a signature, because anyone who changes a
file can also write a matching digest. Everything read from a checkpoint is therefore treated as untrusted.
"""

import errno
import hashlib
import json
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from hdlif import run_folder
from hdlif.errors import CheckpointError, TrainingError, brief, cut
from hdlif.inputs.plain_yaml import MOST_DEPTH, not_plain, recipe_fields
from hdlif.whole_files import open_regular, whole_file

METADATA_KEY = "hdlif"
MOST_NAMED = 12
"""Largest number of differences listed in an error."""
MOST_RECORD = 2**20
"""Length of the longest record that is read, in characters."""
_MODEL, _OPTIMIZER, _MOMENTUM = "model.", "optimizer.", "momentum_buffer"


def save(path: Path, *, tensors: Mapping[str, Tensor], record: Mapping[str, Any], previous: Path | None = None) -> None:
    """Write a checkpoint atomically.

    Args:
        record: JSON-serialisable, without NaN and infinity.
        previous: new name for the earlier file at `path`. Between the two renamings, no file is at `path`.
    Raises:
        TrainingError: the file cannot be written (a full disk); an earlier file at `path` is kept.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = _canonical({**record, "digest": _digest(stored, record)})
    content = safetensors.torch.save(stored, {METADATA_KEY: text})
    try:
        with whole_file(path, previous=previous) as temporary, temporary.open("wb") as file:
            file.write(content)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full" if full else f"cannot be written ({error.strerror})"
        kept = "the checkpoint written before is kept" if path.exists() else "no earlier checkpoint is there"
        raise TrainingError(
            f"{path}: {reason}, {len(content)} bytes are needed; {kept}; free some space and resume"
        ) from error


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors (on the CPU) and the record of a checkpoint.

    Raises:
        CheckpointError: the file is missing, damaged, or not a checkpoint of hdlif.
    """
    fix = "the file is damaged or of another kind; give a checkpoint written by hdlif"
    try:
        os.close(open_regular(path, os.O_RDONLY))
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # Clone the tensor, because it is a view of the mapped file, which may be replaced.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (no mapping)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: there is no such file; give the path of a checkpoint") from error
    # torch raises for unknown types and invalid shapes, pyo3 (under safetensors) for invalid names.
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError, KeyError, MemoryError) as error:
        reason = cut((str(error).splitlines() or [type(error).__name__])[0], 200)
        raise CheckpointError(f"{path}: is not a whole safetensors file ({reason}); {fix}") from error
    if list(metadata) != [METADATA_KEY]:
        raise CheckpointError(
            f"{path}: the metadata keys are {brief(sorted(metadata))}; a checkpoint has exactly one, "
            f"{METADATA_KEY!r}; give a checkpoint written by hdlif"
        )
    record = _record_of(metadata[METADATA_KEY], path)
    if "digest" not in record:
        raise CheckpointError(
            f"{path}: its record has no digest; the file is damaged or of an earlier version; restore a copy or train "
            "again"
        )
    if record.pop("digest") != _digest(tensors, record):
        raise CheckpointError(
            f"{path}: its digest does not match its content; the file is damaged; restore a copy or train again"
        )
    return tensors, record


def _record_of(text: str, path: Path) -> dict[str, Any]:
    """Parse a record, and reject JSON that hdlif does not write, such as NaN or deep nesting."""

    def no_number(constant: str) -> None:
        raise ValueError(f"{constant} is not a JSON number")

    try:
        if len(text) > MOST_RECORD:
            raise ValueError(f"it has {len(text):,} characters, but at most {MOST_RECORD:,} are accepted")
        record = json.loads(text, parse_constant=no_number)
        if (fault := not_plain(record, MOST_DEPTH + 4)) is not None:
            raise ValueError(fault)
        _canonical(record)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: its record is not JSON ({error}); the file is damaged; train again") from error
    if not isinstance(record, dict):
        raise CheckpointError(f"{path}: its record is not a JSON object; the file is damaged; train again")
    return record


def _canonical(record: Mapping[str, Any]) -> str:
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _digest(tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of the record as canonical JSON and of each tensor's name, dtype, shape and bytes."""
    digest = hashlib.sha256(_canonical(record).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_model(path: Path, model: nn.Module, record: Mapping[str, Any]) -> None:
    """Write the model's parameters and buffers under their own names. Raises the same errors as `save`."""
    save(path, tensors=model.state_dict(), record=record)


def load_model(
    path: Path,
    model: nn.Module,
    *,
    loaded: tuple[Mapping[str, Tensor], dict[str, Any]] | None = None,
    keep: Collection[str] = (),
) -> dict[str, Any]:
    """Fill `model` from a file written by `save_model` or from a training state, and return the record.

    A training state contains the current weights (not their average) and the running statistics of batch norm. A model
    on torch's "meta" device uses the loaded tensors without copying them.

    Args:
        loaded: the result of `load` for `path`.
        keep: names of tensors of `model` that keep their values.
    Raises:
        CheckpointError: as for `load`, or a tensor is missing, unexpected or of another shape.
    """
    tensors, record = load(path) if loaded is None else loaded
    tensors = _under(_MODEL, tensors) if "counters" in record else tensors
    _fill(model, {**tensors, **{name: model.state_dict()[name] for name in keep}}, path)
    return record


def check_recipe(path: Path, record: Mapping[str, Any], recipe: Mapping[str, Any]) -> None:
    """Raise `CheckpointError`, which lists the differing fields, if the checkpoint at `path` has another recipe."""
    kept = record.get("recipe")
    if not isinstance(kept, dict):
        raise CheckpointError(f"{path}: contains no recipe; the file is damaged; train again without resuming")
    if differences := _stated_differences(kept, recipe):
        seen = "; ".join(
            f"with {cut(key)} = {brief(then)}, but the recipe has {brief(now)}"
            for key, then, now in differences[:MOST_NAMED]
        )
        seen += f"; and {len(differences) - MOST_NAMED} more" if len(differences) > MOST_NAMED else ""
        raise CheckpointError(
            f"{path}: was written {seen}; resume with the recipe it was started with{_as_command(path.parent)}, or "
            "train again without resuming"
        )


def _stated_differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return the differences between two recipes; if other fields differ, omit those that hdlif found in the data."""
    differences = recipe_differences(one, other)
    return [each for each in differences if not f"{each[0]}.".startswith("data.found.")] or differences


def _as_command(folder: Path) -> str:
    """Return the command that resumes a run with its folder's recipe, or "" if the folder has no recipe."""
    return f" ({run_folder.resuming(folder)})" if (folder / run_folder.RECIPE).exists() else ""


def recipe_differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return (key, value in `one`, value in `other`) for each differing field; a missing field has the value None."""
    # Compare as JSON, the stored form of recipes, in which tuples are lists.
    first, second = (recipe_fields(json.loads(json.dumps(recipe))) for recipe in (one, other))
    return [
        (key, first.get(key), second.get(key))
        for key in sorted(first.keys() | second.keys())
        if first.get(key) != second.get(key)
    ]


def training_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the training state: each parameter under the key model.NAME, and the optimiser's state for it.

    The key of its momentum is optimizer.NAME, and the key of any other state is optimizer:KEY.NAME.

    Raises:
        TrainingError: an optimiser state is neither a tensor of the parameter's shape nor a single number.
    """
    tensors = {_MODEL + name: tensor for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        # A parameter that never had a gradient has no momentum, which differs from zero momentum.
        for key, value in optimizer.state.get(parameter, {}).items():
            if value is not None:
                tensors[_kept_under(_checked_key(optimizer, key, value, parameter)) + name] = value
    return tensors


def restore_training(
    model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], path: Path
) -> None:
    """Restore a training state from tensors in the format of `training_tensors`, which were read from `path`.

    Raises:
        CheckpointError: the tensors belong to another model.
    """
    parameters = dict(model.named_parameters())
    kept: dict[str, dict[str, Tensor]] = {}
    for name in tensors:
        prefix, _, of = name.partition(".")
        if prefix == "optimizer" or prefix.startswith("optimizer:"):
            kept.setdefault(prefix.partition(":")[2] or _MOMENTUM, {})[of] = tensors[name]
    owners = {name for values in kept.values() for name in values}
    for key, values in kept.items():
        prefix = _kept_under(key)
        _refuse(path, "missing", [prefix + name for name in owners - values.keys()])
        numbers = [name for name, value in values.items() if not value.ndim and not _is_count(value)]
        _refuse(path, "not a number from 0 on", [prefix + name for name in numbers if parameters[name].ndim])
        _refuse(path, "unexpected", [prefix + name for name in values.keys() - parameters.keys()])
        shaped = {name: value for name, value in values.items() if value.ndim or key == _MOMENTUM}
        _refuse(path, "of another shape", _misshapen(shaped, parameters))
        _refuse(path, "of another type", _mistyped(shaped, parameters))
    _fill(model, _under(_MODEL, tensors), path)
    optimizer.state.clear()
    for key, values in kept.items():
        for name, value in values.items():
            parameter = parameters[name]
            # Numbers, such as the step count, keep their device.
            optimizer.state[parameter][key] = value.to(parameter) if value.shape == parameter.shape else value.clone()


def _checked_key(optimizer: torch.optim.Optimizer, key: object, value: object, parameter: Tensor) -> str:
    """Return the name of an optimiser state in checkpoints, or raise `TrainingError` if they cannot store it."""
    seen = None
    if not isinstance(key, str) or not key.isidentifier():
        seen = "under a name that is not an identifier"
    elif not isinstance(value, Tensor):
        seen = f"as {brief(value)}, which is not a tensor"
    elif value.shape not in (torch.Size(), parameter.shape):
        seen = f"of shape {list(value.shape)}, but the parameter has {list(parameter.shape)}"
    elif value.shape == parameter.shape and value.dtype != parameter.dtype:
        seen = f"as {value.dtype}, but the parameter is {parameter.dtype}"
    if seen is not None:
        raise TrainingError(
            f"{type(optimizer).__name__} keeps {brief(key)} {seen}, which a checkpoint cannot store; choose another "
            "optimiser"
        )
    return str(key)


def _is_count(value: Tensor) -> bool:
    return value.is_floating_point() and bool(value.isfinite()) and value.item() >= 0


def _kept_under(key: str) -> str:
    return _OPTIMIZER if key == _MOMENTUM else f"optimizer:{key}."


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _fill(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    own = model.state_dict()
    _refuse(path, "missing", own.keys() - tensors.keys())
    _refuse(path, "unexpected", tensors.keys() - own.keys())
    _refuse(path, "of another shape", _misshapen(tensors, own))
    _refuse(path, "of another type", _mistyped(tensors, own))
    if any(tensor.is_meta for tensor in own.values()):
        model.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in tensors.items()}, assign=True)
    else:
        model.load_state_dict(tensors)


def _misshapen(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    return [
        f"{name} {list(tensor.shape)}, but the model has {list(own[name].shape)}"
        for name, tensor in tensors.items()
        if tensor.shape != own[name].shape
    ]


def _mistyped(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    # Another precision is allowed: a network trained in float64 is evaluated in float32.
    return [
        f"{name} {tensor.dtype}, but the model has {own[name].dtype}"
        for name, tensor in tensors.items()
        if tensor.dtype != own[name].dtype and not (tensor.is_floating_point() and own[name].is_floating_point())
    ]


def _refuse(path: Path, fault: str, names: Iterable[str]) -> None:
    if faulty := sorted(names):
        more = f" and {len(faulty) - 3} more" if len(faulty) > 3 else ""
        raise CheckpointError(
            f"{path}: {fault}: {cut(', '.join(faulty[:3]), 300)}{more}; the checkpoint belongs to another model; "
            "build the model of its recipe"
        )
