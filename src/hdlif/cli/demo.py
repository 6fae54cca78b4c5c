"""Implement `hdlif demo`, which trains, compares and deploys small networks."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdlif import run_folder
from hdlif.cli.options import DataRoot, subcommand
from hdlif.cli.output import show
from hdlif.errors import DataError, did_you_mean
from hdlif.report.tables import networks_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hdlif.data import Samples
    from hdlif.recipe.runs.summary import TrainResult
    from hdlif.report.runs import Artefact

NETWORKS = ("lif", "hdlif", "hdlif_w1p5_s4", "hdlif_w1p5_s4_parallel")
LIVE_PAGE = "live.html"
DATA_SETS = ("digits", "fashion_mnist")


@dataclass(frozen=True)
class DemoResult:
    """The results of the demo's training runs, and the model file exported from the last run."""

    networks: "tuple[TrainResult, ...]"
    artefact: "Artefact"
    data: str
    seed: int | None
    versions: Mapping[str, Any]
    hardware: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return the content of OUT/summary.json."""
        return {**vars(self), "networks": [network.as_dict() for network in self.networks]}


def demo(
    *,
    data: str = "digits",
    data_root: DataRoot = None,
    out: Path = Path("runs/demo"),
    page: bool = False,
    learn: bool = False,
    progress: bool = False,
    memory_repeats: int = 1,
) -> DemoResult:
    """Train four networks online, write a report that compares them, and deploy the smallest.

    \f
    `demo` replaces any earlier demo in OUT. `memory_repeats` is the number of processes that measure each network's
    peak memory.

    Args:
        data: digits (bundled) or fashion_mnist.
        out:
        page: Also write OUT/live.html, which runs the network in a browser.
        learn: Write this page so that it learns symbols that you draw in it; implies --page.
    Raises:
        ExistingRunError: OUT contains a training run.
        DataError: `data` has no set of recipes, or its files are absent.
    """
    from hdlif.cli.report import report
    from hdlif.cli.training_run import TrainingOptions, measure_peak, train_in_one_process
    from hdlif.recipe import load_recipe
    from hdlif.recipe.builders import build_data
    from hdlif.recipe.runs.files import ARTEFACT_SUFFIX, write_json, write_text
    from hdlif.recipe.runs.folders import begun, check_free, is_demo
    from hdlif.recipe.runs.processes import check_alone
    from hdlif.report.live import live_page
    from hdlif.report.provenance import hardware, versions
    from hdlif.report.runtime_comparison import deploy_and_compare
    from hdlif.training import progress_bar

    root = None if data_root is None else Path(data_root)
    if data not in DATA_SETS:
        raise DataError(f'--data "{data}" has no demo; {did_you_mean(data, DATA_SETS)}')
    check_alone("hdlif demo")
    if not is_demo(out):
        check_free(out)
        for name in NETWORKS:
            # An unfinished demo leaves training runs of these recipes.
            if not begun(out / name, load_recipe(f"{data}_{name}")):
                check_free(out / name)
    trained = {}
    with progress_bar(enabled=progress) as bar:
        for name in NETWORKS:
            options = TrainingOptions(data_root=root, progress=bar, memory_repeats=0, overwrite=True)
            trained[name] = train_in_one_process(load_recipe(f"{data}_{name}"), out / name, options)
        path = out / f"{data}{ARTEFACT_SUFFIX}"
        threads = trained[NETWORKS[-1]].threads_used
        artefact = deploy_and_compare(out / NETWORKS[-1], path, data_root=root, threads=threads)
        whole = {name: measure_peak(one, out / name, memory_repeats, bar) for name, one in trained.items()}
    networks = tuple(replace(one, name=name) for name, one in whole.items())
    result = DemoResult(networks, artefact, data, networks[0].seed, versions(), hardware())
    write_json(out / run_folder.SUMMARY, result.as_dict())
    report([out], out=out / run_folder.REPORT)
    if page or learn:
        known = _few_per_class(build_data(load_recipe(f"{data}_{NETWORKS[-1]}"), root).train) if learn else None
        write_text(out / LIVE_PAGE, live_page(path.read_bytes(), path.name, known=known))
    return result


def _few_per_class(samples: "Samples", count: int = 2) -> "tuple[NDArray[np.uint8], list[int]]":
    """Return the pixels and classes of the first `count` samples of each class."""
    import torch

    chosen = torch.cat(
        [(samples.labels == label).nonzero()[:count, 0] for label in range(int(samples.labels.max()) + 1)]
    )
    pixels, classes = samples.plain().raw(chosen)
    return pixels.numpy(), classes.tolist()


def _text(result: DemoResult, given: Mapping[str, Any]) -> str:
    artefact, out = result.artefact, given["out"]
    lines = [
        networks_table(result.networks),
        "",
        f"{artefact['path']}: {artefact['bytes']:,} bytes, {artefact['latency_ms']:.2f} ms an image",
        f"runtime and PyTorch agree on {artefact['argmax_agreement']:.2%} of {artefact['images']:,} test images; "
        f"largest logit difference {artefact['max_logit_difference']:.1e}",
        str(out / run_folder.REPORT),
    ]
    return "\n".join([*lines, *([str(out / LIVE_PAGE)] if given["page"] or given["learn"] else [])])


COMMAND = subcommand(
    demo,
    ("hdlif demo", "on the bundled digits, into runs/demo"),
    ("hdlif demo --page", "and a page that runs the network in a browser"),
    ("hdlif demo --page --learn", "and the page learns symbols that you draw"),
    ("hdlif demo --data fashion_mnist --data-root data", "on data/FashionMNIST/raw; about 40 minutes on two cores"),
    shown=lambda result, as_json, given: show(result.as_dict(), as_json, lambda: _text(result, given)),
)
