"""The `start` section: a network that is initialised with the weights of a trained network."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from hdlif import run_folder
from hdlif.config import Recipe, StartConfig
from hdlif.errors import CheckpointError, RecipeError, say_nothing
from hdlif.recipe.builders.checks import without_values
from hdlif.recipe.builders.data import data_kind
from hdlif.recipe.builders.model import build_model
from hdlif.zoo import WEIGHTS, network_file

if TYPE_CHECKING:
    from hdlif.nn import Temporal


def read_start(network: str) -> tuple[StartConfig, Recipe]:
    """Return the `start` section for a trained network (a name, checkpoint or run folder) and the network's recipe.

    Raises:
        InputError, CheckpointError: the network does not exist or cannot be read.
    """
    path, _, recipe = _loaded(network)
    stated = os.path.abspath(network) if os.path.lexists(network) else network  # noqa: PTH100 - links stay in it
    return StartConfig(network=stated, sha256=_sha256(path)), recipe


def build_started(recipe: Recipe, *, say: Callable[[str], None] = say_nothing) -> Temporal:
    """Build the recipe's network with the initial weights for training.

    If the recipe has a section `start`, tensors are copied by name from the trained network. If the networks predict
    different classes or values, tensors whose shapes depend on the number of outputs keep their initial values.

    Args:
        say: called with a line that lists the new layers.
    Raises:
        CheckpointError: the trained network is missing, has changed, or has other tensors; the message names them.
    """
    if recipe.start is None:
        return build_model(recipe, pretrained=True)
    from hdlif.training import checkpoint

    path, loaded, trained = _loaded(recipe.start.network)
    if (found := _sha256(path)) != recipe.start.sha256:
        seen = f"{path}: has the SHA-256 {found}, but start.sha256 = {recipe.start.sha256}"
        raise CheckpointError(f"{seen}; restore the original file, or give --from again")
    network = build_model(recipe)
    same = data_kind(trained).labels == data_kind(recipe).labels
    new = set() if same else _of_outputs(recipe, network)
    checkpoint.load_model(path, network, loaded=loaded, keep=new)
    if new:
        layers = sorted({name.rpartition(".")[0] for name in new})
        say(f"the classes differ from {recipe.start.network}, so these layers are new: {', '.join(layers)}")
    return network


def _of_outputs(recipe: Recipe, network: Temporal) -> set[str]:
    """Return the names of the tensors whose shapes depend on the number of outputs."""
    own, other = network.state_dict(), network.state_dict()
    # A network with a fixed number of outputs has no such tensors.
    with suppress(RecipeError), without_values():
        other = build_model(recipe, classes=len(data_kind(recipe).labels) + 1).state_dict()
    return {name for name in own if own[name].shape != other[name].shape}


def _loaded(network: str) -> tuple[Path, tuple[Any, dict[str, Any]], Recipe]:
    from hdlif.training import checkpoint

    path = network_file(network, WEIGHTS)
    path = path / run_folder.MODEL if path.is_dir() else path
    loaded = checkpoint.load(path)
    try:
        return path, loaded, Recipe.model_validate(loaded[1]["recipe"])
    except (KeyError, ValidationError) as error:
        raise CheckpointError(f"{path}: contains no recipe of this version of hdlif; train it again") from error


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
