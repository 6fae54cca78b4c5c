"""`hdlif profile`: parameters, operations and energy, layer by layer, of a recipe, a checkpoint or an artefact."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from hdlif.accounting import outline
from hdlif.accounting import profile as count
from hdlif.commands.eval import sets_for, sets_named
from hdlif.commands.train import PROFILED_IMAGES, first_images
from hdlif.data import ImageSets
from hdlif.errors import RecipeError
from hdlif.graph.artefact import Graph
from hdlif.graph.artefact.io import load
from hdlif.recipe import builders
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.recipe.runs.files import existing, names_artefact
from hdlif.recipe.runs.recipe_data import data_keys, load_with_data, names_path
from hdlif.report.accounting.operations import Counting, Profile
from hdlif.report.accounting.outline import Outline
from hdlif.report.counts import NO_GRAPH, without_graph

if TYPE_CHECKING:
    from hdlif.report.training_profile import TrainingProfile


@dataclass(frozen=True)
class Profiled:
    """What a network takes, layer by layer, per image.

    An example is at `profile`.

    Attributes:
        counts: with `layers` and totals; of a network without a deployed form, what its modules show.
        counting: "paper" or "honest".
        trained: whether the network is; firing rates, hence SOPs and energy, change by training.
        images: test images over which is averaged.
        notes: what a reader of the figures has to know.
    """

    counts: Profile | Outline
    counting: Counting
    trained: bool
    images: int
    notes: tuple[str, ...]

    @property
    def params_mb(self) -> float:
        """As published."""
        return self.counts.params_mb

    @property
    def stored_mb(self) -> float | None:
        """The file; None where there is no deployed form, as of the other two."""
        return self.counts.stored_mb if isinstance(self.counts, Profile) else None

    @property
    def sops(self) -> float | None:
        return self.counts.sops if isinstance(self.counts, Profile) else None

    @property
    def nops(self) -> float | None:
        return self.counts.nops

    @property
    def energy_mj(self) -> float | None:
        return self.counts.energy_mj if isinstance(self.counts, Profile) else None

    def as_dict(self) -> dict[str, Any]:
        """What `hdlif profile --json` prints."""
        stated = {"counting": self.counting, "notes": list(self.notes)}
        return {**self.counts.as_dict(), **stated, "trained": self.trained, "images": self.images}


def profile(
    target: str,
    *,
    counting: Counting = "paper",
    data: str | None = None,
    data_root: Path | None = None,
    overrides: Sequence[str] = (),
) -> Profiled:
    """Counts per image, averaged over the first test images; those of a recipe are of an untrained network.

    Of a network without a deployed form they are what its modules show; what needs the graph is None, and a note says
    which layer is the reason.

    Args:
        target: a recipe (file or shipped name), a checkpoint or run folder, or an artefact.
        counting: "paper" or "honest"; see `hdlif.accounting.operations`.
        data: the name of a data set, or data of the user's own; an artefact does not state which it is for.
        overrides: "data.KEY=VALUE" each, as `evaluate_path` takes them; of a recipe, as its training does.
    """
    network, sets, time_steps = _resolve(target, data, data_root, overrides)
    images = first_images(sets.test, PROFILED_IMAGES)
    counts: Profile | Outline
    try:
        counts = count(network, images, counting=counting, time_steps=time_steps)
        notes = counts.notes
    except NO_GRAPH as error:
        if isinstance(network, Graph):
            raise
        counts, notes = outline(network, images, time_steps=time_steps), (without_graph(error),)
    return Profiled(counts, counting, not is_recipe(target), min(PROFILED_IMAGES, len(sets.test)), notes)


def profile_training(
    target: str,
    *,
    data: str | None = None,
    data_root: Path | None = None,
    overrides: Sequence[str] = (),
) -> "TrainingProfile":
    """Where the time of an update of a recipe's training goes, on random data; see `measure.training_profile`.

    Args:
        target: a recipe (file or shipped name).
        overrides: "A.B=VALUE" each.
        data, data_root: as those of `profile`; of the data, what a network is made for is read.
    Raises:
        RecipeError: the target is none.
    """
    # What trains takes a second to import, and counts need none of it.
    from hdlif.report.allocator import keep_freed_memory
    from hdlif.report.training_profile import training_profile

    if not is_recipe(target):
        raise RecipeError(f"{target}: what is trained is a recipe; give its file, or the name of one that ships")
    own = data if names_path(data) else None
    recipe, _ = load_with_data(target, overrides, data=own, data_root=data_root)
    keep_freed_memory()
    return training_profile(recipe)


def is_recipe(target: str) -> bool:
    """Whether a target is a recipe: a YAML file, or a name where no file or folder is."""
    if target.endswith((".yaml", ".yml")):
        return True
    return not Path(target).exists() and Path(target).name == target and not target.endswith(".safetensors")


def _resolve(
    target: str, data: str | None, data_root: Path | None, overrides: Sequence[str]
) -> tuple[nn.Module | Graph, ImageSets, int | None]:
    path, keys = Path(target), data_keys(overrides)
    network: nn.Module
    if names_artefact(path):
        graph = load(existing(path))
        sets = sets_named(
            data,
            data_root,
            path,
            record=graph.input,
            time_steps=graph.time_steps,
            labels=graph.labels,
            task=graph.task,
            keys=keys,
        )
        return graph, sets, None
    if is_recipe(target):
        own = data if names_path(data) else None
        recipe, _ = load_with_data(target, overrides, data=own, data_root=data_root)
        data, keys = None if own else data, {}
        torch.manual_seed(recipe.seed)
        network = builders.build_model(recipe)
    else:
        trained = load_trained(path)
        recipe, network = trained.recipe, trained.network
    return network, sets_for(recipe, data, data_root, path, keys=keys), recipe.time_steps
