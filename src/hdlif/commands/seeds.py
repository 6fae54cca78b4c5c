"""`hdlif train RECIPE --seeds N`: the same training N times, and the mean of what comes out."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hdlif.commands.tables import measured
from hdlif.commands.train import train
from hdlif.measure.spread import in_percent, mean_and_std, seeds_from
from hdlif.report.runs import run_name
from hdlif.runs.files import write_json
from hdlif.runs.folders import begun, check_free, finished
from hdlif.runs.processes import check_alone
from hdlif.runs.recipe_data import load_with_data
from hdlif.training import RunFiles

MEASURED = ("accuracy", "validation_accuracy", "sops", "energy_mj", "train_seconds")


def train_seeds(
    recipe: str | Path,
    *,
    seeds: int,
    overrides: Sequence[str] = (),
    data: str | None = None,
    out: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
    **options: Any,
) -> dict[str, Any]:
    """Train a recipe with `seeds` seeds, from its own one on, and write OUT/seeds.json after each.

    Run folders are OUT/seed_S. A finished one of the same recipe is skipped and a stopped one resumed, so that
    more seeds add to what is there.

    Args:
        data: as in `train`.
        out: runs/NAME by default. A run of another recipe in one of its folders is refused, but with `overwrite`, which
            trains all seeds again.
        say: gets a line for every seed.
        options: of `train`, but for several processes.
    Raises:
        RecipeError: several processes are asked for, or torchrun has started this one; or the seeds are too large.
        ExistingRunError: a folder holds a run of another recipe.
        CheckpointError: the same, where `resume` asks to go on with it.
    Returns:
        the content of OUT/seeds.json: for each figure its values, mean, and standard deviation (of the sample; null
        for one seed). The mean of what a network without a deployed form does not have is null too.
    """
    check_alone("--seeds", options.get("devices"), options.get("nodes"))
    first, _ = load_with_data(recipe, overrides, data=data, data_root=options.get("data_root"))
    out = out or Path("runs") / first.name
    summaries: list[dict[str, Any]] = []
    result: dict[str, Any] = {}
    overwrite = bool(options.pop("overwrite", False))
    for seed in seeds_from(first.seed, seeds):
        chosen = first.model_copy(update={"seed": seed})
        folder = out / f"seed_{seed}"
        summary = None if overwrite else finished(folder, chosen)
        if summary is None:
            say(f"seed {seed}: training")
            resume: bool | None = None
            if overwrite:
                resume = bool(options.get("resume"))
            elif options.get("resume") and RunFiles(folder).exist():
                # Asked for, a training of another recipe is refused, by what differs.
                resume = True
            elif not begun(folder, chosen):
                check_free(folder)
            summary = train(
                chosen,
                out=folder,
                say=_silent if summaries else say,
                **options | {"resume": resume, "overwrite": overwrite},
            )
        say(f"seed {seed}: {measured(summary)}")
        summaries.append(summary)
        result = {
            "name": first.name,
            "n": len(summaries),
            "seeds": [run["seed"] for run in summaries],
            **{key: _spread([run[key] for run in summaries]) for key in MEASURED},
            **_metrics(summaries),
            "versions": summaries[-1]["versions"],
            "hardware": summaries[-1]["hardware"],
        }
        write_json(out / "seeds.json", result)
    return result


def _silent(line: str) -> None:
    """Takes what the first training has said already."""


def as_text(result: dict[str, Any], out: Path | None = None) -> str:
    """The test accuracy in per cent: mean ± standard deviation (n); `out` is the folder, runs/NAME by default."""
    name = result["name"] if out is None else run_name(out, result["name"])
    if "metrics" in result:
        spreads = ((name, one["mean"], one["std"]) for name, one in result["metrics"].items())
        said = ", ".join(f"{name} {mean:.4g}" + ("" if std is None else f" ± {std:.2g}") for name, mean, std in spreads)
        return f"{name}: {said} ({result['n']})"
    accuracy = result["accuracy"]
    return f"{name}: {in_percent(accuracy['mean'], accuracy['std'])} % ({result['n']})"


def _metrics(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Those of tasks that are no classification."""
    names = summaries[0].get("metrics", {})
    return {"metrics": {name: _spread([run["metrics"][name] for run in summaries]) for name in names}} if names else {}


def _spread(values: list[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    mean, std = mean_and_std(known) if known and len(known) == len(values) else (None, None)
    return {"mean": mean, "std": std, "values": values}
