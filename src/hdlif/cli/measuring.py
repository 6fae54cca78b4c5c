"""Verbs that measure: accuracy, cost, speed, gradients; and the page that shows it."""

from pathlib import Path
from typing import Any

import click

from hdlif.cli.completion import DATA, KEY, RECIPE
from hdlif.cli.examples import examples
from hdlif.cli.options import FILE, data_root_option, data_set_option, json_option
from hdlif.cli.output import say, show, to_stderr


@examples(
    ("hdlif eval runs/digits_hdlif_w1p5_s4", "a run on the test set of its own data"),
    (
        "hdlif eval digits.hdlif.safetensors --data digits --confusion",
        "a deployed network, and which class it takes for which",
    ),
    ("hdlif eval runs/photos --data photos/ --part all", "data that are not divided"),
)
@click.command("eval", short_help="Accuracy after each time step, of a run or a file.")
@click.argument("path", type=FILE)
@click.option(
    "--data",
    type=DATA,
    metavar="NAME|PATH",
    help="Data set, or data of your own; a checkpoint's own by default. Events are binned as the network's were.",
)
@data_root_option
@data_set_option
@click.option(
    "--part",
    type=click.Choice(["all", "train", "validation", "test"]),
    default="test",
    show_default=True,
    help="What is tested on; all divides nothing: for data that the network has never seen.",
)
@click.option("--confusion", is_flag=True, help="Which class is taken for which, and the accuracy of each.")
@click.option(
    "--early", is_flag=True, help="Accuracy and steps where it is answered as soon as a class is sure enough."
)
@json_option
def evaluate(path: Path, as_json: bool, confusion: bool, early: bool, **options: Any) -> None:
    """Accuracy after each time step of PATH, a checkpoint, a run folder, or an artefact, on a test set.

    Data of your own are divided as for a training where they have no parts; what is to be known for that, and to read
    them, --set says, as of a training: `--set data.label=activity --set data.group=person`.
    """
    from hdlif.commands import tables
    from hdlif.commands.eval import evaluate_path

    result = evaluate_path(path, progress=not as_json, say=say, **options).as_dict(confusion=confusion, early=early)
    if confusion and "confusion" not in result:
        say(f"{path}: the task has no classes; --confusion is ignored")
    if early and "early" not in result:
        say(f"{path}: no class is chosen over several steps; --early is ignored")
    show(result, as_json, lambda: tables.evaluation_text(result))


@examples(
    ("hdlif profile digits_hdlif_w1p5_s4", "parameters and operations of a recipe, before any training"),
    ("hdlif profile runs/digits_hdlif_w1p5_s4 --counting honest", "of a trained network, with every operation priced"),
    ("hdlif profile digits.hdlif.safetensors --data digits", "of a deployed one, on the test set"),
)
@click.command(short_help="Count parameters, operations and energy by layer.")
@click.argument("target", type=RECIPE)
@click.option("--counting", type=click.Choice(["paper", "honest"]), default="paper", show_default=True)
@click.option(
    "--data",
    type=DATA,
    metavar="NAME|PATH",
    help="Data set, or data of your own, that is counted on; needed for an artefact.",
)
@data_root_option
@data_set_option
@click.option("--training", is_flag=True, help="Time an update of a recipe's training, layer by layer, on the CPU.")
@json_option
def profile(target: str, training: bool, as_json: bool, **options: Any) -> None:
    """Parameters, SOPs, NOPs and energy per layer of TARGET: a recipe (untrained), a checkpoint or an artefact.

    "paper" counts as the paper's tables do (synaptic operations of the body alone, 2 bits a 1-bit weight);
    "honest" prices every operation of the deployed network.

    With --training: milliseconds forward and backward, bytes saved, and what computes each layer of a recipe, on
    random data; --set changes any of the recipe's values then.
    """
    from hdlif.commands import tables
    from hdlif.commands.profile import profile as command
    from hdlif.commands.profile import profile_training

    counting = options.pop("counting")
    if training:
        timed = profile_training(target, **options).as_dict()
        show(timed, as_json, lambda: tables.training_table(timed))
        return
    result = command(target, counting=counting, **options).as_dict()
    note = "" if result["trained"] else "untrained network: firing rates, hence SOPs and energy, will change\n"
    show(result, as_json, lambda: f"{note}{tables.layers_table(result)}")


@examples(
    ("hdlif bench digits.hdlif.safetensors --data digits", "beside the engines that are installed"),
    ("hdlif bench digits.hdlif.safetensors --against torch --batch 1 --threads 1", "beside PyTorch, on one thread"),
)
@click.command(short_help="Time a deployed network beside other engines.")
@click.argument("artefact", type=FILE)
@click.option(
    "--against",
    metavar="NAMES",
    help="Peers to time beside it, out of openvino,onnxruntime,torch.  [default: those that are installed]",
)
@click.option(
    "--data",
    type=DATA,
    metavar="NAME|PATH",
    help="Data set, or path of data of your own, to run and to calibrate INT8 on.  [default: noise]",
)
@data_root_option
@data_set_option
@click.option("--batch", type=click.IntRange(1), default=16, show_default=True, help="Images at once for throughput.")
@click.option("--threads", type=click.IntRange(1), help="Threads of each engine.  [default: the machine's cores]")
@click.option("--repeats", type=click.IntRange(1), default=20, show_default=True, help="Rounds of timing.")
@json_option
def bench(artefact: Path, against: str | None, as_json: bool, **options: Any) -> None:
    """Time ARTEFACT beside other engines on the same network: latency, throughput, memory, start, and each stage.

    The engines are timed in turns, in one run, and only where they choose the classes that ARTEFACT chooses.
    """
    from hdlif.commands import tables
    from hdlif.commands.bench import bench as command

    peers = None if against is None else [name for name in against.split(",") if name]
    result = command(artefact, against=peers, say=to_stderr(as_json), **options)
    show(result, as_json, lambda: tables.engines_table(result))


@examples(
    ("hdlif coherence digits_hdlif", "a recipe, untrained"),
    (
        "hdlif coherence runs/digits_hdlif_w1p5_s4 --out runs/digits_hdlif_w1p5_s4",
        "a trained network; its report then shows it",
    ),
)
@click.command(short_help="Compare each rule's gradient with STBP's, layer by layer.")
@click.argument("targets", nargs=-1, required=True, type=RECIPE)
@click.option(
    "--set", "overrides", multiple=True, type=KEY, metavar="A.B=V", help="Replace one value of each recipe; repeatable."
)
@click.option("--batches", type=click.IntRange(1), default=2, show_default=True, help="Training batches to compare on.")
@data_root_option
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Threads of the comparison.  [default: OMP_NUM_THREADS, or what is measured to be best]",
)
@click.option("--out", type=FILE, help="Folder for coherence.json, such as a run folder, whose report then shows it.")
@json_option
def coherence(targets: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Each rule's gradient beside STBP's, layer by layer, in TARGETS: recipes (untrained), or checkpoints.

    A recipe's network is compared with its own neuron, and with LIF or HD-LIF on the same weights beside it.
    Several checkpoints of one training show how coherence goes along it.
    """
    from hdlif.commands.coherence import coherence as command
    from hdlif.commands.coherence_text import as_text

    result = command(targets, progress=not as_json, **options)
    show(result, as_json, lambda: as_text(result["networks"]))


@examples(
    ("hdlif report runs/digits_hdlif_w1p5_s4", "report.html in the run folder"),
    ("hdlif report runs/digits_hdlif_w1p5_s4 runs/short --out compared.html", "two runs side by side"),
)
@click.command(short_help="Write one HTML page about runs.")
@click.argument("runs", type=FILE, nargs=-1, required=True)
@click.option("--out", type=FILE, help="The page to write.  [default: report.html, in the run folder of one run]")
@click.option("--neurons", metavar="LAYER:INDEX,…", help="Neurons to draw.  [default: the liveliest of three layers]")
@click.option("--image", type=click.IntRange(0), help="Number of the test sample that the neurons see.  [default: 0]")
@data_root_option
@json_option
def report(runs: tuple[Path, ...], as_json: bool, **options: Any) -> None:
    """One self-contained HTML page from run folders (or a demo's folder), side by side.

    Tables, curves, what differs between the recipes, confusion, per-layer figures, and single neurons at work.
    """
    from hdlif.commands.report import report as command

    result = command(runs, **options)
    if "left_out" in result:
        say(f"neurons are not drawn: {result['left_out']}")
    show(result, as_json, lambda: str(result["report"]))
