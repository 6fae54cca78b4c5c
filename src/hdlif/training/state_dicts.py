"""Read state-dict files from other programs."""

import os
import pickle
from collections.abc import Collection
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from hdlif.errors import CheckpointError
from hdlif.whole_files import open_regular

_WRAPPERS = ("state_dict", "model", "model_state_dict")
"""Keys under which other programs store a network's tensors in checkpoints."""
_DAMAGED = (SafetensorError, RuntimeError, AttributeError, TypeError, ValueError, LookupError, EOFError)


def read_state_dict(path: Path, of: str, fix: str) -> dict[str, Tensor]:
    """Return the named tensors in a safetensors or PyTorch file, without running code from the file.

    Args:
        of: name of the owner of the tensors, for an error.
        fix: the fix, for an error.
    Raises:
        CheckpointError: the file is missing, damaged, or contains something else.
    """
    try:
        os.close(open_regular(path, os.O_RDONLY))
        if path.suffix == ".safetensors":
            tensors: dict[str, Any] = dict(safetensors.torch.load_file(path))
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
        for key in _WRAPPERS:
            if isinstance(tensors.get(key), dict):
                tensors = tensors[key]
        # Data-parallel training adds this prefix.
        return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error}); {fix}") from error
    except _DAMAGED as error:
        raise _other(path, of, fix, error) from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path}: contains objects other than tensors, which are not loaded; {fix}") from error


def load_state_dict(
    path: Path, network: nn.Module, of: str, fix: str, *, resized: Collection[str] = frozenset()
) -> None:
    """Fill `network` from a state-dict file, or raise `CheckpointError` if the file does not fit.

    Args:
        resized: names of tensors that keep their values if the file's tensors have another shape.
    """
    tensors, own = read_state_dict(path, of, fix), network.state_dict()
    try:
        kept = {name for name in tensors.keys() & resized & own.keys() if tensors[name].shape != own[name].shape}
        network.load_state_dict(tensors | {name: own[name] for name in kept})
    except _DAMAGED as error:
        raise _other(path, of, fix, error) from error


def _other(path: Path, of: str, fix: str, error: Exception) -> CheckpointError:
    reason = " ".join(str(error).split())[:160]
    return CheckpointError(f"{path}: is not a state dict of {of} ({reason}); {fix}")
