"""Implement `hdlif doctor`, which checks that this machine trains and runs networks correctly.

Each check that may crash or hang runs in a separate process with a time limit. The status "absent" means that a package
is not installed. A warning is a problem that has a workaround, and a fault is a problem without a workaround.
"""

import os
import platform
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, entry_points, requires, version
from typing import Any, Literal

from hdlif.cli.options import subcommand
from hdlif.cli.output import show
from hdlif.errors import MissingExtraError, pip_install
from hdlif.inputs.python_processes import module_command
from hdlif.report.child_process import Heard, hear
from hdlif.report.provenance import installed_versions, processor_fields

Status = Literal["ok", "absent", "warning", "fault"]

TOLERANCE = 1e-4
"""Largest relative error of a float32 gradient; a copy of `convolutions.TOLERANCE`, whose module needs PyTorch."""
KERNELS = {
    "runtime": ("network", "the plain implementation's outputs, bit for bit, on all {} small networks"),
    "training kernels": ("neuron", "PyTorch's values and gradients, for all {} neurons"),
    "training convolutions": ("layer", "PyTorch's sums and gradients, for all {} layers"),
}
"""Key of the measured item, and detail to print if all results are correct, for each check of compiled kernels."""
EXTRAS = {
    "train": "training and most other subcommands",
    "events": "recordings of event cameras",
    "export": "ONNX files",
    "serve": "hdlif serve",
    "sweep": "hdlif sweep",
    "engines": "the engines that hdlif bench compares",
    "nir": "NIR files",
    "data": "tables and time series in Parquet files",
    "arrow": "data sets saved by the package datasets",
    "ray": "hdlif serve on a Ray cluster",
}
PACKAGES = ("hdlif", "numpy", "safetensors", "pillow", "torch", "torchvision")


@dataclass(frozen=True)
class Check:
    """The result of one check, whose `detail` includes the fix if one is known."""

    name: str
    status: Status
    detail: str


def doctor() -> dict[str, Any]:
    """Check that hdlif trains and runs networks correctly on this machine.

    `hdlif doctor` checks gradients, the compiled runtime and installed extras. `hdlif doctor` also works without
    PyTorch. The exit code is 1 if any problem has no workaround.

    \f
    Return a dict with "checks", "faults", "versions" and "hardware".
    """
    runtime = hear(module_command("hdlif.report.small_graphs"))
    chunks = hear(module_command("hdlif.report.training_kernels", "neurons"))
    code_convs = hear(module_command("hdlif.report.training_kernels", "convolutions"))
    guarded = hear(module_command("hdlif.report.convolutions", "guarded"))
    # oneDNN prints its instruction set in verbose mode; one shape keeps the output short.
    unguarded = hear(module_command("hdlif.report.convolutions", "unguarded"), environment={"ONEDNN_VERBOSE": "1"})
    checks = [
        *kernel_checks("runtime", runtime),
        *kernel_checks("training kernels", chunks),
        *kernel_checks("training convolutions", code_convs),
        *gradient_checks(guarded),
        guard_check(unguarded),
        *extra_checks(),
        *part_checks(),
    ]
    return {
        "checks": [asdict(check) for check in checks],
        "faults": sum(check.status == "fault" for check in checks),
        "versions": versions(),
        "hardware": hardware(runtime, guarded, unguarded),
    }


def as_text(result: Mapping[str, Any]) -> str:
    """Format the versions, the hardware and the checks, with one line per check."""
    machine = result["hardware"]
    chosen = [f"{name} {value}" for name, value in machine["chosen"].items()]
    memory = machine["memory_bytes"]
    sets = " ".join(machine["instruction_sets"]) or "unknown"
    lines = [
        ", ".join(f"{name} {seen}" for name, seen in result["versions"].items()),
        f"{machine['cpu']}, {machine['cores']} cores" + (f", {memory / 1e9:.1f} GB" if memory else ""),
        f"instruction sets: {sets}; chosen: {', '.join(chosen) or 'none'}",
        f"GPUs: {', '.join(machine['gpus']) or 'none'}",
        "",
    ]
    marks = {"ok": "ok", "absent": "absent", "warning": "warning", "fault": "FAULT"}
    lines += [f"{marks[check['status']]:8}{check['name']}: {check['detail']}" for check in result["checks"]]
    return "\n".join(lines)


def kernel_checks(what: str, heard: Heard) -> list[Check]:
    """Check that compiled kernels agree with the reference for each instruction set."""
    # The runtime has no optional dependencies.
    if heard.missing is not None and what != "runtime":
        return [Check(what, "absent", _skipped(heard.missing))]
    of, right = KERNELS[what]
    fix = "reinstall hdlif on this machine, so that pip compiles it here; if this does not help, report it"
    first, *measured = heard.lines or [{}]
    checks = []
    for name in first.get("instruction_sets", []):
        seen = [line for line in measured if line["instructions"] == name]
        wrong = [f"{line[of]} (by up to {line['difference']:.2g})" for line in seen if line["difference"] is not None]
        if wrong:
            checks.append(Check(f"{what}, {name}", "fault", f"differs from the reference: {', '.join(wrong)}; {fix}"))
        elif seen:
            checks.append(Check(f"{what}, {name}", "ok", right.format(len(seen))))
    if heard.end is not None or not checks:
        last = f"after {measured[-1][of]} on {measured[-1]['instructions']}" if measured else "at its start"
        checks.append(Check(what, "fault", f"the process {heard.end or 'ended'} {last}; {fix}"))
    return checks


def gradient_checks(heard: Heard) -> list[Check]:
    """Check the gradients of convolutions in both memory layouts used in training."""
    names = {"contiguous": "gradients, contiguous", "channels last": "gradients, channels last"}
    if heard.missing is not None:
        return [Check(name, "absent", _skipped(heard.missing)) for name in names.values()]
    fix = "train on another machine or with another version of PyTorch, and report it (docs/reference/installing.md)"
    measured = [line for line in heard.lines if "error" in line]
    shapes = next((line["shapes"] for line in heard.lines if "shapes" in line), 0)
    checks = []
    for layout, name in names.items():
        seen = [line for line in measured if line["layout"] == layout]
        # `not <` counts NaN as wrong.
        wrong = [f"{line['shape']} (by {line['error']:.2g})" for line in seen if not line["error"] < TOLERANCE]
        largest = max((line["error"] for line in seen), default=0.0)
        if wrong:
            checks.append(Check(name, "fault", f"wrong, relative to the largest entry: {'; '.join(wrong)}; {fix}"))
        elif heard.out_of_time or (seen and len(seen) == shapes):
            left = f"; the other {shapes - len(seen)} were skipped for lack of time" if heard.out_of_time else ""
            status: Status = "warning" if left else "ok"
            detail = (
                f"{len(seen)} of the {shapes} shipped shapes are correct, within {largest:.1g} of the largest entry"
            )
            checks.append(Check(name, status, detail + left))
    if heard.end is not None:
        last = f"after {measured[-1]['shape']}, {measured[-1]['layout']}" if measured else "at its start"
        checks.append(Check("gradients", "fault", f"their process {heard.end} {last}; {fix}"))
    return checks


def guard_check(heard: Heard) -> Check:
    """Check whether this machine has the oneDNN bug that training works around."""
    name = "oneDNN, strided 1×1 convolutions in channels last"
    if heard.missing is not None:
        return Check(name, "absent", _skipped(heard.missing))
    guarded = (
        "training.channels_last keeps such layers contiguous; your own code should too (docs/reference/installing.md)"
    )
    if not heard.lines:
        return Check(name, "fault", f"the process {heard.end or 'ended'} at its start; reinstall PyTorch")
    errors = [line["error"] for line in heard.lines if "error" in line]
    wrong = [error for error in errors if not error < TOLERANCE]
    if wrong:
        return Check(name, "warning", f"the weight gradient is wrong by {wrong[0]:.2g} of its largest entry; {guarded}")
    if heard.end is not None or len(errors) < heard.lines[0]["shapes"]:
        return Check(name, "warning", f"the process of the weight gradient {heard.end or 'took too long'}; {guarded}")
    return Check(name, "ok", f"correct on the {len(errors)} shapes whose weight gradient oneDNN 3.12 may get wrong")


def extra_checks(installed: Callable[[str], str] = version) -> list[Check]:
    """Check which extras of hdlif are installed, according to the package metadata."""
    needed = _requirements()
    checks = []
    for extra in EXTRAS:
        missing, found = [], []
        for name in needed.get(extra, []):
            try:
                found.append(f"{name} {installed(name)}")
            except PackageNotFoundError:
                missing.append(name)
        if missing:
            detail = f"{', '.join(missing)} not installed, for {EXTRAS[extra]}: {pip_install(extra)}"
            checks.append(Check(f"extra {extra}", "absent", detail))
        else:
            checks.append(Check(f"extra {extra}", "ok", ", ".join(found)))
    return checks


def part_checks() -> list[Check]:
    """List the recipe components that installed packages provide, and warn about duplicate names."""
    if not any(group.startswith("hdlif.") for group in entry_points().groups):
        return []
    try:
        from hdlif.recipe.builders.external_parts import GROUPS, hidden, offers
        from hdlif.recipe.builders.part import KINDS
    except ModuleNotFoundError as error:
        return [Check("installed parts", "absent", _skipped(error.name))]
    checks = []
    for key, ours in KINDS.items():
        offered = offers(GROUPS[key])
        if not offered:
            continue
        twice = [
            f'"{name}" comes from {" and from ".join(map(str, several))}; uninstall all but one'
            for name, several in offered.items()
            if len(several) > 1 and name not in ours
        ]
        faults = [*hidden(GROUPS[key], ours), *twice]
        named = [f"{name} ({', '.join(map(str, several))})" for name, several in offered.items() if name not in ours]
        checks.append(Check(f"parts {GROUPS[key]}", "warning" if faults else "ok", "; ".join([*named, *faults])))
    return checks


def versions() -> dict[str, str]:
    """Return the versions of the installed packages that affect the results of a run."""
    return {"python": platform.python_version(), **installed_versions(PACKAGES)}


def hardware(runtime: Heard, guarded: Heard, unguarded: Heard) -> dict[str, Any]:
    """Return the processor, memory, GPUs and instruction sets of this machine."""
    fields = processor_fields()
    flags = (fields.get("flags") or fields.get("Features") or "").split()
    sets = [flag for flag in flags if re.match(r"avx|amx|fma$|sse4|sve|asimd", flag)]
    torch = next((line for line in guarded.lines if "gpus" in line), {})
    native: list[str] = next((line["instruction_sets"] for line in runtime.lines if "instruction_sets" in line), [])
    onednn = next((m[1] for line in unguarded.others if (m := re.search(r"info,cpu,isa:(.*)", line))), None)
    chosen = {
        "runtime": native[-1] if native else None,
        "PyTorch": torch.get("instructions"),
        "oneDNN": onednn,
    }
    return {
        "cpu": fields.get("model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "memory_bytes": _memory_bytes(),
        "instruction_sets": sets,
        "chosen": {name: value for name, value in chosen.items() if value is not None},
        "gpus": torch.get("gpus", []),
    }


def _skipped(missing: str | None) -> str:
    return f"skipped: {MissingExtraError.of(missing, 'train')}"


def _requirements() -> dict[str, list[str]]:
    """Return the packages that each extra of hdlif requires."""
    found: dict[str, list[str]] = {}
    for requirement in requires("hdlif") or []:
        name, _, marker = requirement.partition(";")
        extra = re.search(r"extra == ['\"](\w+)['\"]", marker)
        package = re.match(r"[\w.-]+", name.strip())
        if extra and package:
            found.setdefault(extra[1], []).append(package[0])
    return found


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _print(result: dict[str, Any], as_json: bool, _: object) -> None:
    show(result, as_json, lambda: as_text(result))
    if result["faults"]:
        sys.exit(1)


COMMAND = subcommand(
    doctor,
    ("hdlif doctor", "a line for each check"),
    ("hdlif doctor --json", "for a program, or for a bug report"),
    shown=_print,
)
