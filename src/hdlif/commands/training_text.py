"""What `hdlif train` prints of a finished training."""

import shlex
from dataclasses import replace
from pathlib import Path

from hdlif.commands.tables import measured, networks_table
from hdlif.recipe.runs.sample_names import sample_name_in
from hdlif.recipe.runs.summary import TrainResult
from hdlif.report.comparison import in_bytes
from hdlif.report.runs import run_name


def as_text(result: TrainResult, out: Path) -> str:
    """What a training has come to in a line, its figures as a row, and a line on what these are.

    Args:
        out: its run folder.
    """
    name, recipe = run_name(out, result.name), result.name
    samples, count = sample_name_in([result]), result.test_samples
    tested = f"the test {samples.many}" if count is None else f"{count:,} test {samples.many}"
    if result.accuracy is None:
        said = [f"{measured(result)} on {tested}"]
    else:
        said = [f"{measured(result, digits=1)} of {tested} right"]
    said += [in_bytes(result.stored_mb)] if result.stored_mb is not None else []
    said += [f"trained in {result.train_seconds:.3g} s"] if result.train_seconds is not None else []
    if result.best_epoch is not None:
        held_out = result.validation_score is not None or result.validation_accuracy is not None
        chosen = "the best on validation" if held_out else "the last"
        said += [f"kept from epoch {result.best_epoch}, {chosen}"]
    row = networks_table([replace(result, name=name if name == recipe else f"{name} ({recipe})")])
    profile = shlex.join(["hdlif", "profile", out.as_posix()])
    note = (
        f"MB: as papers count weights, and of the file. Per {samples.one}, SOPs and NOPs are operations of synapses "
        f"and neurons; energy prices SOPs alone, honest all. By layer: {profile}"
    )
    return "\n".join([f"{name}: {', '.join(said)}", "", row, "", note])
