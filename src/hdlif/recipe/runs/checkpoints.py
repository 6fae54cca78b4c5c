"""Load trained networks and their recipes."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import nn

from hdlif import run_folder
from hdlif.deploy import lower
from hdlif.errors import CheckpointError, RecipeError
from hdlif.graph.artefact import Graph
from hdlif.recipe import Recipe, builders
from hdlif.recipe.runs.files import existing
from hdlif.recipe.runs.own_parts import saying_what_is_gone
from hdlif.training import checkpoint


@dataclass(frozen=True)
class Trained:
    """A trained network in eval mode, with its recipe."""

    path: Path
    recipe: Recipe
    network: nn.Module

    def graph(self) -> Graph:
        """Return the deployed graph of the network."""
        return lower(self.network, **self.record())

    def record(self) -> dict[str, Any]:
        """Return the network's input, labels, time steps and task, for `lower`."""
        return builders.graph_record(_of_network(self.recipe))


def _of_network(recipe: Recipe) -> Recipe:
    """Return the recipe without those keys of the `data` section that affect only training."""
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"augment": (), "mixup": None})})


def load_trained(path: Path) -> Trained:
    """Load the trained network from a checkpoint or a run folder. Raises `CheckpointError`."""
    path = existing(path)
    if path.is_dir():
        stopped, path = path / run_folder.LAST, path / run_folder.MODEL
        if stopped.exists() and not path.exists():
            fix = f"resume it ({run_folder.resuming(path.parent)}), or give {stopped}, its latest checkpoint"
            raise CheckpointError(f"{path.parent}: its training is not finished; {fix}")
    if not path.exists():
        raise CheckpointError(f"{path}: there is no trained network; train one with `hdlif train`, or resume it")
    loaded = checkpoint.load(path)
    try:
        recipe = Recipe.model_validate(loaded[1]["recipe"])
    except (KeyError, ValidationError) as error:
        raise CheckpointError(f"{path}: contains no recipe of this version of hdlif; train it again") from error
    try:
        with saying_what_is_gone(path.parent):
            network = builders.build_trained(_of_network(recipe), partial(checkpoint.load_model, path, loaded=loaded))
    except RecipeError as error:
        said, parts = str(error), ""
        if ":" in said and "there is no module" in said:
            parts = "restore that module, or "
        elif "which is not installed: pip install" in said:
            parts = "install it, or "
        raise CheckpointError(
            f"{path}: contains a recipe that cannot be built ({said}); {parts}train it again"
        ) from error
    return Trained(path, recipe, network)
