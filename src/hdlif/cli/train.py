"""Implement `hdlif train`, which trains a network from a recipe and writes a run folder."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import click

from hdlif import run_folder
from hdlif.cli.names import NETWORK, RECIPE
from hdlif.cli.options import (
    DataRoot,
    DataSet,
    Place,
    Settings,
    Threads,
    argument,
    called_from_python,
    option,
    subcommand,
)
from hdlif.cli.output import saying_how_to_go_on, show
from hdlif.errors import InputError, RecipeError, say_nothing
from hdlif.report.tables import mean_line, measured, networks_table

if TYPE_CHECKING:
    from hdlif.recipe import Recipe
    from hdlif.recipe.runs.summary import TrainResult
    from hdlif.report.choices import Chosen


@dataclass(frozen=True, repr=False)
class Run:
    """A finished training run, which can also be used as the path of its run folder.

    See `train` for an example.

    Attributes:
        folder: the folder with model.safetensors, summary.json and the other files.
        result: the result of the training.
    """

    folder: Path
    result: "TrainResult"

    @property
    def summary(self) -> Mapping[str, Any]:
        """Return the content of summary.json."""
        return self.result.as_dict()

    @property
    def accuracy(self) -> float | None:
        """Return the test accuracy in 0..1, or None for tasks other than classification."""
        return self.result.accuracy

    @property
    def metrics(self) -> Mapping[str, float | None]:
        """Return the test metrics by name, with None for undefined metrics."""
        return self.result.measured

    @property
    def accuracy_per_step(self) -> tuple[float, ...]:
        """Return the test accuracy after each time step."""
        return self.result.accuracy_per_step

    @property
    def best_epoch(self) -> int | None:
        """Return the number of the epoch with the best validation result; the saved network comes from this epoch."""
        return self.result.best_epoch

    def __fspath__(self) -> str:
        return fspath(self.folder)

    def __repr__(self) -> str:
        figures = ", ".join(f"{name} {'—' if one is None else f'{one:.4g}'}" for name, one in self.metrics.items())
        return f"Run({fspath(self.folder)!r}: {figures})"


class NotFirstProcessError(InputError):
    """Raised in every process of a training run except the first, the only process that has the result."""


@called_from_python
def train(
    recipe: Annotated["str | Path | Recipe | None", argument(type=RECIPE, required=False)] = None,
    *,
    overrides: Settings = (),
    data: DataSet = None,
    data_root: DataRoot = None,
    out: Place | None = None,
    resume: bool = False,
    overwrite: bool = False,
    stream: bool = False,
    twin: Literal["ordinary", "low-bit"] | None = None,
    start: Annotated[Place | None, option("--from", type=NETWORK, metavar="NAME|PATH")] = None,
    budget: Annotated[str | None, option(metavar="NAME=N,...")] = None,
    devices: int | None = None,
    nodes: int | None = None,
    workers: Annotated[int | None, option(type=click.IntRange(0))] = None,
    threads: Threads = None,
    memory_repeats: Annotated[int, option(type=click.IntRange(0), default=3)] = 0,
    epochs: int | None = None,
    progress: bool = False,
    say: Callable[[str], None] = say_nothing,
) -> Run:
    """Train RECIPE, which is a YAML file or a name from `hdlif recipes ls`, and evaluate the result.

    Without RECIPE, `hdlif` chooses a network, a learning rule and an optimiser based on the size of your data (--data
    PATH). `hdlif` prints the choices and writes them to recipe.yaml. Use --set to override any of the choices.

    The run folder contains model.safetensors from the best epoch, last.safetensors for --resume, metrics.jsonl,
    summary.json, and TensorBoard events. After Ctrl-C, --resume continues from the last checkpoint. To use a folder
    that contains a run, pass --resume or --overwrite.

    With --seeds, the run folder contains one run per seed (seed_42, seed_43, ...), and seeds.json with means and
    standard deviations. When run again, `hdlif train` skips finished seeds and resumes an interrupted seed.

    \f
    `epochs` and `overrides` do not apply to a `Recipe` object. `epochs` takes precedence over an override of
    training.epochs. If no recipe and no data are given, `train` uses digits_hdlif. `data_root` is the folder of data
    sets that are not part of a package. `progress` shows a progress bar, and `say` is called with each line to print.

    >>> run = train("digits_hdlif", epochs=1, out="run", overrides=["model.width=4"])
    >>> run.folder, run.metrics["accuracy"] > 0.2
    (PosixPath('run'), True)

    Args:
        overrides: Replace one value of the recipe; repeatable.
        data: Shipped data set, or your own data (images, time series, audio, tables, event-camera data, shards,
            package.module:Name: docs/reference/data.md), in place of the recipe's.
        out: Run folder.  [default: runs/NAME]
        resume: Continue exactly from the run folder's last checkpoint.
        overwrite: Replace the run in the run folder.
        stream: Train on endless sequences: each sample continues with the state of the previous one, with an update
            every training.stream steps.  [default: the largest divisor of time_steps up to 16]
        twin: Train the ordinary network that it would replace: the same layers with ReLU in one time step, with the
            recipe's data, epochs and optimiser, and float weights or the recipe's low-bit weights.
        start: Start from the weights of a trained network (`hdlif models ls`, a checkpoint or a run folder), with a
            learning rate divided by 3; without RECIPE also from its recipe. If the classes differ, the last layer is
            new.
        budget: Choose neurons, bits and channels per layer so that the network stays within upper limits: nops, sops,
            energy_uj (all operations), mb (model file), flash_kb and ram_kb (C export), ms (runtime), each a number or
            a percentage of the recipe's cost, such as "nops=70%,mb=2.5" (docs/how_to/smaller_and_cheaper.md).
        devices: Processes on this machine, each with an equal share of data.batch_size.  [default: torchrun's, or
            1]
        nodes: Machines (docs/how_to/experiments.md).  [default: torchrun's, or 1]
        workers: Processes that read and augment, per device.  [default: depends on the data set]
        threads: Threads for training; auto measures which number is fastest.  [default: PyTorch's own number]
        memory_repeats: New processes that measure peak memory, for the median; 0 skips this.
    Raises:
        NotFirstProcessError: torchrun has started this process, and another process has the result.
        HdlifError: the recipe, the data or the folder cannot be used; see `hdlif.errors`.
    """
    from hdlif.cli.training_run import TrainingOptions, train_recipe
    from hdlif.recipe.runs.processes import first_by_torchrun, processes
    from hdlif.recipe.runs.recipe_data import load_recipe_to_train

    changes = [*overrides, *([] if epochs is None else [f"training.epochs={epochs}"])]
    if recipe is data is start is None and not resume:
        recipe = "digits_hdlif"
    if changes and recipe is not None and not isinstance(recipe, (str, Path)):
        raise InputError(
            "epochs and overrides apply only to a recipe given by name or path; set these values in the Recipe itself"
        )
    if not first_by_torchrun():
        # Until the processes are connected, each would print the same.
        say = say_nothing
    root, folder = (None if one is None else Path(one) for one in (data_root, out))
    devices, nodes = processes(devices, nodes)
    options = TrainingOptions(
        data_root=root,
        resume=resume,
        overwrite=overwrite,
        devices=devices,
        nodes=nodes,
        workers=workers,
        threads=threads,
        progress=progress,
        memory_repeats=memory_repeats,
        say=say,
    )
    loaded, found = load_recipe_to_train(
        recipe,
        overrides=changes,
        data=None if data is None else fspath(data),
        out=folder,
        data_root=root,
        resume=resume and nodes == 1,
        stream=stream,
        twin=twin,
        start=None if start is None else fspath(start),
        ranks=devices * nodes,
        say=say,
    )
    folder = folder or Path("runs") / loaded.name
    if budget is not None or (resume and (folder / run_folder.BUDGET).exists()):
        from hdlif.cli.budget_training import train_within_budget

        return Run(folder, train_within_budget(loaded, budget, folder, options, found=found))
    result = train_recipe(loaded, folder, options, found=found)
    if result is None:
        raise NotFirstProcessError("only the first process of a training run has the result; train with `hdlif train`")
    return Run(folder, result)


def as_text(result: "TrainResult", out: Path) -> str:
    """Format the result of a training run as text, with figures and an explanation.

    Args:
        out: the run folder.
    """
    from hdlif.recipe import builders
    from hdlif.report.comparison import in_bytes
    from hdlif.report.runs import run_name

    name = run_name(out, result.name)
    samples, count = builders.sample_name_of([result.recipe]), result.test_samples
    tested = f"the test {samples.many}" if count is None else f"{count:,} test {samples.many}"
    if result.accuracy is None:
        said = [f"{measured(result)} on {tested}"]
    else:
        said = [f"{measured(result, digits=1)} of {tested} right"]
    said += [in_bytes(result.stored_mb)] if result.stored_mb is not None else []
    if result.train_seconds is not None:
        memory = "" if result.peak_bytes is None else f" and {in_bytes(result.peak_bytes / 1e6)} of memory"
        said += [f"trained in {result.train_seconds:.3g} s{memory}"]
    if result.best_epoch is not None:
        held_out = result.validation_score is not None or result.validation_accuracy is not None
        chosen = "the best on validation" if held_out else "the last"
        said += [f"kept from epoch {result.best_epoch}, {chosen}"]
    baseline = [] if result.mean_rmse is None else [mean_line(result.mean_rmse)]
    row = networks_table([replace(result, name=name)])
    profile = shlex.join(["hdlif", "profile", out.as_posix(), "--counting", "honest"])
    note = f"Energy counts every operation for one {samples.one}. More figures, also by layer: {profile}"
    return "\n".join([f"{name}: {', '.join(said)}", *baseline, "", row, "", note])


def _call(train: Callable[..., Run], given: dict[str, Any]) -> Any:
    seeds, dry_run = given.pop("seeds"), given.pop("dry_run")
    if dry_run:
        return _dry_run(**given)
    from hdlif.recipe.runs.recipe_data import NOTHING_TO_TRAIN

    if seeds is None and given["recipe"] is given["data"] is given["start"] is None and not given["resume"]:
        raise RecipeError(NOTHING_TO_TRAIN)
    from hdlif.training.threads import warning_of_others

    if given["threads"] is None and (warning := warning_of_others()) is not None:
        given["say"](warning)
    if seeds is None:
        with saying_how_to_go_on("--resume"), suppress(NotFirstProcessError):
            return train(**given)
        return None
    if given.pop("budget") is not None:
        raise RecipeError(
            "--budget and --seeds cannot be combined; train each seed separately: --set seed=N --out FOLDER"
        )
    from hdlif.cli.seeds import train_seeds

    with saying_how_to_go_on():
        return train_seeds(given.pop("recipe"), seeds=seeds, **given)


def _dry_run(
    *,
    recipe: str | Path | None,
    budget: str | None,
    overrides: Sequence[str],
    data: Place | None,
    data_root: Place | None,
    stream: bool,
    twin: Literal["ordinary", "low-bit"] | None,
    start: Place | None,
    say: Callable[[str], None],
    **others: Any,
) -> "Chosen":
    """Choose layer options for a budget, based on the untrained network."""
    if budget is None:
        raise RecipeError("--dry-run requires --budget, such as --budget nops=70%")
    from hdlif.cli.budget_training import choose_untrained
    from hdlif.cli.training_run import TrainingOptions
    from hdlif.recipe.runs.recipe_data import load_recipe_to_train

    root = None if data_root is None else Path(data_root)
    named, weights = (None if one is None else fspath(one) for one in (data, start))
    loaded, found = load_recipe_to_train(
        recipe, overrides=overrides, data=named, data_root=root, stream=stream, twin=twin, start=weights, say=say
    )
    return choose_untrained(loaded, budget, TrainingOptions(data_root=root), found=found)


def _print(result: Any, as_json: bool, given: dict[str, Any]) -> None:
    if isinstance(result, Run):
        show(result.result.as_dict(), as_json, lambda: as_text(result.result, result.folder))
    elif given["dry_run"]:
        show(result.as_dict(), as_json, lambda: str(result))
    elif result is not None:
        show(result.as_dict(), as_json, lambda: result.text(given["out"]))


COMMAND = subcommand(
    train,
    ("hdlif train digits_hdlif_w1p5_s4", "bundled digits; the run is in runs/digits_hdlif_w1p5_s4"),
    (
        "hdlif train digits_hdlif_w1p5_s4 --set training.epochs=2 --out runs/short",
        "one value of the recipe replaced, in another folder",
    ),
    ("hdlif train digits_hdlif_w1p5_s4 --resume", "continue after Ctrl-C"),
    ("hdlif train --data photos/", "your own images, one folder per class; hdlif chooses the settings from the data"),
    call=_call,
    shown=_print,
    parameters=[
        option(
            type=click.IntRange(1), help="Number of seeds to train with, counting up from the recipe's seed."
        ).parameter("seeds", None),
        option(
            help="Print the options of each layer, their costs and the choice for --budget in the untrained network."
        ).parameter("dry_run", False),
    ],
)
