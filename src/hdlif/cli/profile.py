"""Implement `hdlif profile`, which counts parameters, operations and energy per layer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import unwrap
from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from hdlif.cli.names import RECIPE
from hdlif.cli.options import (
    DataKeys,
    DataRoot,
    DataSet,
    Place,
    TrainedLevel,
    argument,
    called_from_python,
    option,
    subcommand,
)
from hdlif.cli.output import show
from hdlif.errors import HdlifError, RecipeError
from hdlif.report.tables import aligned, figure

if TYPE_CHECKING:
    from torch import nn

    from hdlif.report.accounting.activity import Activity
    from hdlif.report.accounting.learning import LearningCost
    from hdlif.report.accounting.operations import Counting, Profile
    from hdlif.report.accounting.outline import Outline
    from hdlif.report.training_profile import TrainingProfile


@dataclass(frozen=True)
class Profiled:
    """The parameters, operations and energy of a network per layer and image.

    See `profile` for an example.

    Attributes:
        counts: counts with `layers` and totals; they cover only the modules if the network has no deployed form.
        counting: "paper" or "honest".
        trained: whether the network is trained; training changes firing rates, and thus SOPs and energy.
        images: number of test images over which the counts are averaged.
        notes: remarks on the figures.
        learning: the cost of learning at the level `learn`; None without it.
    """

    counts: "Profile | Outline"
    counting: "Counting"
    trained: bool
    images: int
    notes: tuple[str, ...]
    learning: "LearningCost | None" = None

    @property
    def params_mb(self) -> float:
        """Return the size of the parameters in MB, in the paper's convention."""
        return self.counts.params_mb

    @property
    def stored_mb(self) -> float | None:
        """Return the file size in MB, or None if the network has no deployed form."""
        return getattr(self.counts, "stored_mb", None)

    @property
    def sops(self) -> float | None:
        return getattr(self.counts, "sops", None)

    @property
    def nops(self) -> float | None:
        return self.counts.nops

    @property
    def energy_mj(self) -> float | None:
        return getattr(self.counts, "energy_mj", None)

    def as_dict(self) -> dict[str, Any]:
        """Return the result as a dict in the format of `hdlif profile --json`."""
        stated = {"counting": self.counting, "notes": list(self.notes)}
        learning = {} if self.learning is None else {"learning": self.learning.as_dict()}
        return {**self.counts.as_dict(), **stated, "trained": self.trained, "images": self.images, **learning}


@called_from_python
def profile(
    network: Annotated[Place, argument(metavar="TARGET", type=RECIPE)],
    *,
    counting: Literal["paper", "honest"] = "paper",
    learn: TrainedLevel | None = None,
    data: DataSet = None,
    data_root: DataRoot = None,
    overrides: DataKeys = (),
) -> Profiled:
    """Count the parameters, SOPs, NOPs and energy of each layer in a recipe, a checkpoint or a model file.

    With "paper", only the body's synaptic operations count, and 1-bit weights take 2 bits, as in the paper's tables.
    With "honest", every operation of the deployed network counts.

    With --training, `hdlif profile` trains a recipe on random data and prints the time, saved bytes and implementation
    of each layer. With --training, --set can replace any value of the recipe.

    \f
    `network` is TARGET, `overrides` contains "data.KEY=VALUE" entries, and `data_root` is as in `train`. Counts are per
    image, averaged over the first test images. If a network has no deployed form, figures that require the graph are
    None, and a note identifies the layer responsible.

    >>> counts = profile("digits_hdlif").counts
    >>> [layer.kind for layer in counts.layers][:3], counts.sops > 0
    (['conv2d', 'affine', 'HDLIF'], True)

    Args:
        counting:
        learn: Also print the memory and energy of learning on a device, at this level of `hdlif adapt`.
        data: Data set, or your own data, for the counts; required for a model file.
        network: A recipe, run folder, checkpoint or model file. With `learn`, the name of a trained network means the
            network, not its recipe.
    """
    import torch

    from hdlif.graph.artefact.io import load
    from hdlif.recipe import builders, load_recipe
    from hdlif.recipe.runs.checkpoints import load_trained
    from hdlif.recipe.runs.files import existing, names_artefact
    from hdlif.recipe.runs.recipe_data import data_keys, is_recipe, load_with_data, names_path
    from hdlif.recipe.runs.tested_data import sets_for
    from hdlif.report.accounting import activity, outline
    from hdlif.report.counts import NO_GRAPH, without_graph
    from hdlif.report.trained_network import PROFILED_IMAGES, first_images
    from hdlif.zoo import network_file, network_names

    target, path, given = fspath(network), Path(network), None if data is None else fspath(data)
    root, keys = None if data_root is None else Path(data_root), data_keys(overrides)
    if learn and target in network_names():
        path = network_file(target)
        given = given or (load_recipe(target).data.kind if is_recipe(target) else None)
    if names_artefact(path):
        graph = load(existing(path))
        images = first_images(sets_for(graph, given, root, path, keys=keys).test, PROFILED_IMAGES)
        return _profiled(activity(graph, images), counting, learn, trained=True)
    if untrained := is_recipe(target):
        own = given if names_path(given) else None
        recipe, _ = load_with_data(target, overrides, data=own, data_root=root)
        given, keys = None if own else given, {}
        torch.manual_seed(recipe.seed)
        module: nn.Module = builders.build_model(recipe)
    else:
        trained = load_trained(path)
        recipe, module = trained.recipe, trained.network
    images = first_images(sets_for(recipe, given, root, path, keys=keys).test, PROFILED_IMAGES)
    try:
        seen = activity(module, images, time_steps=recipe.time_steps)
    except NO_GRAPH as error:
        if learn:
            raise
        counted, notes = outline(module, images, time_steps=recipe.time_steps), (without_graph(error),)
        return Profiled(counted, counting, not untrained, sum(x.shape[1] for x in images), notes)
    return _profiled(seen, counting, learn, trained=not untrained)


def _profiled(seen: "Activity", counting: "Counting", learn: TrainedLevel | None, *, trained: bool) -> Profiled:
    """Compute the costs of inference and, if a level is given, the costs of learning."""
    from hdlif.report.accounting import learning_cost, priced

    counts, learning = priced(seen, counting), learning_cost(seen, learn) if learn else None
    return Profiled(counts, counting, trained, seen.images, counts.notes, learning)


@called_from_python
def profile_training(
    recipe: Place,
    *,
    data: Place | None = None,
    data_root: Place | None = None,
    overrides: Sequence[str] = (),
) -> "TrainingProfile":
    """Time a training update of a recipe layer by layer, as in `hdlif profile --training`.

    >>> profile = profile_training("digits_hdlif_w1p5_s4", overrides=["neuron.path=fused", "data.batch_size=4"])
    >>> sorted({layer.path for layer in profile.layers})[:2]
    ['PyTorch', 'PyTorch: its input does not come from quantised neurons']

    Args:
        recipe: the name of a shipped recipe, or a file.
        data, data_root: as in `train`; the data only determine the network's shape.
        overrides: "A.B=VALUE" each.
    Raises:
        RecipeError: `recipe` is not a recipe.
    """
    from hdlif.recipe.runs.recipe_data import is_recipe, load_with_data, names_path
    from hdlif.report.allocator import keep_freed_memory
    from hdlif.report.training_profile import training_profile

    target, given = fspath(recipe), None if data is None else fspath(data)
    if not is_recipe(target):
        raise RecipeError(f"{target}: is not a recipe; give a recipe file, or the name of a shipped recipe")
    own = given if names_path(given) else None
    loaded, _ = load_with_data(target, overrides, data=own, data_root=None if data_root is None else Path(data_root))
    keep_freed_memory()
    return training_profile(loaded)


def layers_table(profile: Mapping[str, Any]) -> str:
    """Format a table with one row per layer and a total, followed by notes."""
    header = ["layer", "kind", "shape", "params (MB)", "file (MB)", "SOPs", "NOPs", "energy (nJ)", "density"]
    rows = [
        [
            layer["name"],
            layer["kind"],
            "x".join(map(str, layer["shape"])),
            *_counted(layer),
            "" if layer["density"] is None else f"{layer['density']:.1%}",
        ]
        for layer in profile["layers"]
    ]
    packed = f"published count, packed: {figure(profile['packed_mb'], '.6f')} MB"
    table = aligned(header, [*rows, ["total", "", "", *_counted(profile), ""]])
    learning = ["", learning_table(profile["learning"])] if "learning" in profile else []
    return "\n".join([table, "", packed, *(f"note: {note}" for note in profile["notes"]), *learning])


def learning_table(cost: Mapping[str, Any]) -> str:
    """Format the memory that learning requires, and the energy of learning compared with inference."""
    memory = [
        [f"trained: {cost['weights']:,} numbers ({cost['level']})", f"{cost['learned_bytes']:,}"],
        ["sums of gradients", f"{cost['gradient_bytes']:,}"],
        ["velocities, with momentum", f"{cost['momentum_bytes']:,}"],
        ["total", f"{sum(cost[f'{key}_bytes'] for key in ('learned', 'gradient', 'momentum')):,}"],
    ]
    energy = [
        [name, figure(cost[f"{key}_mj"], ",.1f", 1e6), f"{cost[f'{key}_mj'] / cost['step_mj']:.2f}"]
        for name, key in (("time step", "step"), ("time step that learns", "learning_step"), ("update", "update"))
    ]
    return f"{aligned(['learning', 'bytes'], memory)}\n\n{aligned(['all operations', 'energy (nJ)', 'ratio'], energy)}"


def _counted(row: Mapping[str, Any]) -> list[str]:
    """Format the sizes, operations and energy in one row, for a layer or the total."""
    sizes = [figure(row[key], ".6f") for key in ("params_mb", "stored_mb")]
    operations = [figure(row[key], ",.0f") for key in ("sops", "nops")]
    return [*sizes, *operations, figure(row["energy_mj"], ",.1f", 1e6)]


def training_table(profile: Mapping[str, Any]) -> str:
    """Format a table with rows for each layer, for work outside layers, and for the total."""
    header = ["layer", "kind", "forward, ms", "backward, ms", "saved for backward, MB", "computed by"]
    rows = [
        [
            layer["name"],
            layer["kind"],
            f"{layer['forward_ms']:.2f}",
            f"{layer['backward_ms']:.2f}",
            f"{layer['saved_bytes'] / 1e6:.2f}",
            layer["path"],
        ]
        for layer in profile["layers"]
    ]
    forward, backward = (sum(layer[f"{way}_ms"] for layer in profile["layers"]) for way in ("forward", "backward"))
    rows.append(["all layers", "", f"{forward:.2f}", f"{backward:.2f}", "", ""])
    rest = {
        "quantising weights": "weights_ms",
        "optimiser": "optimizer_ms",
        "between layers": "other_ms",
        "Python": "python_ms",
    }
    least, most = profile["update_ms_range"]
    return "\n".join(
        [
            aligned(header, rows, left=(0, 1, 5)),
            "",
            *(f"{what}: {profile[key]:.2f} ms" for what, key in rest.items()),
            f"an update: {profile['update_ms']:.2f} ms ({least:.2f} to {most:.2f}); {profile['rule']}, "
            f"{profile['time_steps']} time steps, batch of {profile['batch_size']}, {profile['threads']} threads",
        ]
    )


def _profile(profile: Callable[..., Profiled], given: dict[str, Any]) -> "Profiled | TrainingProfile":
    if given.pop("training"):
        if given.pop("learn"):
            raise HdlifError("--training and --learn cannot be combined; give one of them")
        del given["counting"]
        given["recipe"] = given.pop("network")
        timed: TrainingProfile = unwrap(profile_training)(**given)
        return timed
    return profile(**given)


_UNTRAINED = """\
untrained network: training changes firing rates, and thus SOPs and energy;
for the counts of a trained network, give its run folder or model file
"""


def _print(result: "Profiled | TrainingProfile", as_json: bool, _: object) -> None:
    figures = result.as_dict()
    if not isinstance(result, Profiled):
        return show(figures, as_json, lambda: training_table(figures))
    note = "" if result.trained else _UNTRAINED
    return show(figures, as_json, lambda: f"{note}{layers_table(figures)}")


COMMAND = subcommand(
    profile,
    ("hdlif profile digits_hdlif_w1p5_s4", "parameters and operations of a recipe, before any training"),
    (
        "hdlif profile runs/digits_hdlif_w1p5_s4 --counting honest",
        "of a trained network, with the energy of every operation",
    ),
    ("hdlif profile digits.hdlif.safetensors --data digits", "of a deployed one, on the test set"),
    call=_profile,
    shown=_print,
    parameters=[
        option(help="Time an update of a recipe's training, layer by layer, on the CPU.").parameter("training", False)
    ],
)
