"""What `hdlif train` prints of a finished training."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hdlif.commands.tables import measured, networks_table
from hdlif.report.comparison import in_bytes
from hdlif.report.runs import run_name
from hdlif.runs.sample_names import sample_name_in


def as_text(summary: Mapping[str, Any], out: Path) -> str:
    """What a training has come to in a line, its figures as a row, and a line on what these are.

    Args:
        out: its run folder.
    """
    name, recipe = run_name(out, summary["name"]), summary["name"]
    samples = sample_name_in([summary])
    count = summary.get("test_samples")
    tested = f"the test {samples.many}" if count is None else f"{count:,} test {samples.many}"
    if summary["accuracy"] is None:
        said = [f"{measured(summary)} on {tested}"]
    else:
        said = [f"{measured(summary, digits=1)} of {tested} right"]
    said += [in_bytes(summary["stored_mb"])] if summary["stored_mb"] is not None else []
    said += [f"trained in {summary['train_seconds']:.3g} s"]
    row = networks_table([{**summary, "name": name if name == recipe else f"{name} ({recipe})"}])
    profile = shlex.join(["hdlif", "profile", out.as_posix()])
    note = (
        f"MB: as papers count weights, and of the file. Per {samples.one}, SOPs and NOPs are operations of synapses "
        f"and neurons; energy prices SOPs alone, honest all. By layer: {profile}"
    )
    return "\n".join([f"{name}: {', '.join(said)}", "", row, "", note])
