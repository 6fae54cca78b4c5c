"""Export a graph as one C99 file and a header."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hdlif.deploy.c import Checked, FixedPoint, Source, check_here, translate
from hdlif.deploy.c.building import check_name
from hdlif.deploy.c.building import firmware as firmware_files
from hdlif.deploy.c.checking import learned_from
from hdlif.deploy.c.devices import Ran, run_on_devices
from hdlif.deploy.c.source import check_identifier
from hdlif.errors import InputError, say_nothing
from hdlif.graph.artefact import Graph
from hdlif.graph.learning import Level
from hdlif.recipe.runs.files import writing
from hdlif.runtime import reference
from hdlif.whole_files import whole_file

if TYPE_CHECKING:
    from hdlif.data import DataSets
    from hdlif.report.evaluation import EarlyExit
    from hdlif.report.fixed_point import Rounded


SAMPLES = 4
"""The number of samples in the firmware."""


@dataclass(frozen=True)
class ExportedC:
    """A C file and its header, as written by `hdlif export`.

    Attributes:
        rounded: the effect of fixed point.
        checked, ran: results of a build on this machine and of emulated devices, if requested.
        early: the effect of the network's confidence, if chosen on data.
    """

    path: Path
    source: Source
    rounded: Rounded | None = None
    checked: Checked | None = None
    ran: tuple[Ran, ...] = ()
    early: EarlyExit | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the result as a dict in the format of `hdlif export --to c --json`."""
        found: dict[str, Any] = {"c": str(self.path), "header": str(self.path.with_suffix(".h"))}
        for key in ("data_bytes", "state_bytes", "work_bytes", "answer_bytes", "additions"):
            found[key] = getattr(self.source, key)
        if (learning := self.source.learning) is not None:
            found["learned_bytes"], found["gradient_bytes"] = learning.learned.size, learning.gradients.size
            found |= {"learn_work_bytes": learning.work.size, "learn": learning.trained.level}
        found["arithmetic"] = self.source.arithmetic
        if self.early is not None:
            found["early"] = self.early.as_dict()
        if self.rounded is not None:
            found["rounded"] = self.rounded.as_dict()
        if self.checked is not None:
            found |= {"checked": self.checked.as_dict(), "devices": [one.as_dict() for one in self.ran]}
        return found

    def text(self) -> str:
        """Format the result of the C export as text."""
        source, rounded, checked = self.source, self.rounded, self.checked
        lines = [
            f"{self.path} and {self.path.with_suffix('.h').name}",
            f"tables: {source.data_bytes:,} bytes of ROM, without the code",
            f"state: {source.state_bytes:,} bytes of RAM; workspace: {source.work_bytes:,}, without the stack",
            f"a step: at most {source.additions:,} additions of a weight times an input",
        ]
        if (learning := source.learning) is not None:
            lines.append(
                f"learning ({learning.trained.level}): {learning.learned.size:,} bytes of RAM for trained values, "
                f"{learning.gradients.size:,} for sums of gradients, {learning.work.size:,} of workspace"
            )
        if self.early is not None:
            lines.append(str(self.early))
        if source.answer_bytes:
            lines.append(f"all steps in one call: {source.answer_bytes:,} bytes of RAM instead of these")
        if rounded is not None:
            parts = "" if rounded.agreement_of == "samples" else f"the {rounded.agreement_of} of "
            lines.append(
                f"fixed point: the same prediction as in float32 on {rounded.agreement:.2%} of "
                f"{parts}{rounded.samples} test samples; outputs, of up to {rounded.largest_output:.3g}, differ by "
                f"{rounded.mean_error:.2g} on average, {rounded.largest_error:.2g} at most"
            )
        if checked is not None:
            lines.append(
                f"checked: {checked.outputs} outputs {_updates(checked)}equal the reference's bit for bit; code of "
                f"{checked.code_bytes:,} bytes by {checked.compiler}"
            )
        return "\n".join((*lines, *map(_device_text, self.ran)))


def _memory(source: Source) -> str:
    return "state and workspace" if source.learning is None else "state, workspace and learning"


def _updates(checked: Checked) -> str:
    return f"and {checked.updates} updates " if checked.updates else ""


def _device_text(ran: Ran) -> str:
    if not ran.fits:
        return f"{ran.device}: the program does not fit its memory"
    parts = [f"code {ran.code_bytes:,} bytes"]
    if ran.stack_bytes:
        parts += [f"image {ran.image_bytes:,}", f"stack {ran.stack_bytes:,} (measured)"]
    if ran.frame_bytes:
        parts.append(f"largest frame {ran.frame_bytes:,}")
    return f"{ran.device}: outputs as expected; {', '.join(parts)}"


def export_c(
    graph: Graph,
    source: str,
    out: Path,
    *,
    arithmetic: str,
    sets: Callable[[], DataSets] | None,
    rom: int | None,
    ram: int | None,
    firmware: bool,
    check: bool,
    learn: Level | None = None,
    momentum: float = 0.0,
    say: Callable[[str], None] = say_nothing,
) -> ExportedC:
    """Write a graph as NAME.c and NAME.h, with options as in `hdlif.cli.export.export_file`.

    Args:
        source: the file of the graph, for messages.
        sets: loads data for the firmware's samples and for fixed point, which chooses formats on validation samples and
            compares predictions on test samples; None for random samples.
    Raises:
        InputError: `out` does not end in .c, the device is too small, a layer has no fixed-point form, or no compiler
            is installed.
        MachineError: the compiler rejects the source, or the outputs differ; nothing is written.
    """
    if out.suffix != ".c":
        raise InputError(f"{out}: the name of the C file must end in .c, such as network.c")
    check_identifier(out.stem)
    if firmware:
        check_name(out.stem)
    fixed, rounded, x = None, None, reference.random_frames(graph, SAMPLES, steps=graph.time_steps)
    if sets is not None:
        from hdlif.report.fixed_point import rounded_on_data, shown

        loaded = sets()
        x = shown(loaded, SAMPLES)
        if arithmetic == "fixed":
            fixed, rounded = rounded_on_data(graph, loaded)
    found = translate(graph, out.stem, fixed=fixed, learn=learn, momentum=momentum)
    for kind, needed, there in (("ROM", found.data_bytes, rom), ("RAM", found.ram_bytes, ram)):
        if there is not None and needed > there:
            what, more = ("tables", "the code") if kind == "ROM" else (_memory(found), "the stack")
            smaller = " or choose another device"
            if fixed is None:
                way = "--arithmetic fixed" if learn is None else "a lower level of --learn"
                smaller = f", choose another device, or use {way}"
            raise InputError(
                f"{source}: {what} take {needed:,} bytes of {kind}, but the device has {there:,}, which must "
                f"also hold {more}; train a smaller network{smaller}"
            )
    files: Mapping[str, str] = {out.with_suffix(".h").name: found.header, out.name: found.code}
    checked: Checked | None = None
    ran: tuple[Ran, ...] = ()
    if firmware or check:
        project = _project(graph, found, fixed, x)
        files = project if firmware else files
        if check:
            say(f"checking {out.name} against the NumPy reference, which is slow for large networks")
            checked, ran = check_here(graph, found, fixed), tuple(run_on_devices(project, found.data_bytes))
    with writing(out), contextlib.ExitStack() as together:
        for name, text in files.items():
            temporary = together.enter_context(whole_file(out.parent / name))
            temporary.write_text(text, encoding="utf-8")
    return ExportedC(out, found, rounded, checked, ran)


def _project(graph: Graph, source: Source, fixed: FixedPoint | None, x: NDArray[np.float32]) -> Mapping[str, str]:
    """Return the files for a firmware project that runs the network on the frames in `x`."""
    frames: NDArray[Any] = x
    if fixed is None:
        expected: NDArray[Any] = reference.run(graph, x, graph.time_steps)
    else:
        frames = fixed.frame(x)
        expected = fixed.run(frames, graph.time_steps)
    learned = None if source.learning is None else list(learned_from(source, x))[-1]
    return firmware_files(source, frames.swapaxes(0, 1), expected.swapaxes(0, 1), learned)
