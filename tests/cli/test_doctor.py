"""`hdlif doctor`: what each check finds sound, wrong or missing, and that a child's crash or hang is an answer too."""

import json
import os
import shutil
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cases import every
from command_line import hdlif
from hdlif._native import instruction_sets
from hdlif.cli import doctor
from hdlif.cli.doctor import (
    Check,
    extra_checks,
    gradient_checks,
    guard_check,
    kernel_checks,
)
from hdlif.errors import pip_install
from hdlif.graph.ops import OPS
from hdlif.report import child_process, convolutions, small_graphs, training_kernels
from hdlif.report.child_process import Heard, hear
from hdlif.report.convolutions import Shape, error
from hdlif.report.small_graphs import ENCODINGS, differing, native
from hdlif.runtime import reference

SHAPE = Shape(3, 5, (3, 3), (2, 2), (1, 1), 1, 9, 7)
CRASH = "os.kill(os.getpid(), signal.SIGSEGV)"
HANG = "time.sleep(600)"
WITHOUT = "import nothing_of_this_name"


def said(source: str, *found: dict[str, Any], **limits: float) -> Heard:
    """What a process says that imports what a measuring one needs, prints lines, and runs `source`."""
    lines = "".join(f"print({json.dumps(line)!r}, flush=True)\n" for line in found)
    return hear([sys.executable, "-c", f"import json, os, signal, sys, time\n{lines}{source}"], **limits)


def gradient(layout: str, of: float) -> dict[str, Any]:
    return {"shape": "a shape", "layout": layout, "error": of}


BOTH = [gradient("contiguous", 1e-7), gradient("channels last", 1e-7)]


def statuses(*checks: Check) -> dict[str, str]:
    return {check.name: check.status for check in checks}


def test_the_small_networks_hold_every_op_and_encoding_and_have_lively_logits() -> None:
    graphs = dict(small_graphs.small_graphs())
    nodes = [node for graph in graphs.values() for node in graph.nodes]
    assert {node.op for node in nodes} == set(OPS)
    for op in ("conv2d", "linear"):
        assert {node.attributes["encoding"] for node in nodes if node.op == op} == set(ENCODINGS)
    for name, graph in graphs.items():
        x = np.random.default_rng(1).normal(size=(2, 2, *graph.input.shape)).astype(np.float32)
        assert np.ptp(reference.run(graph, x, 2), axis=0).min() > 0, name


KERNELS = {
    "runtime": (small_graphs.measure, len(list(small_graphs.small_graphs()))),
    "training kernels": (training_kernels.measure_neurons, len(training_kernels.NEURONS)),
    "training convolutions": (training_kernels.measure_convolutions, len(training_kernels.LAYERS) + 1),
}


def test_kernels_are_measured_on_every_instruction_set_and_sound() -> None:
    for name, (measure, count) in KERNELS.items():
        found = list(measure())
        assert len(found) == 1 + len(instruction_sets()) * count
        assert statuses(*kernel_checks(name, Heard(found))) == {f"{name}, {one}": "ok" for one in instruction_sets()}


def assert_fault(kernels: str, of: str, name: str, difference: float | None) -> None:
    assert difference is not None
    line = {"instructions": "scalar", of: name, "difference": difference}
    (check,) = kernel_checks(kernels, Heard([{"instruction_sets": ["scalar"]}, line]))
    assert (check.status, name in check.detail) == ("fault", True)


def test_a_wrong_bit_of_the_runtime_is_a_fault() -> None:
    (name, graph), *_ = small_graphs.small_graphs()

    def one_bit_off(graph: Any, x: np.ndarray) -> np.ndarray:
        y = native("scalar")(graph, x)
        y[-1, -1, -1] = np.nextafter(y[-1, -1, -1], np.inf)
        return y

    assert differing(graph, native("scalar")) is None
    assert_fault("runtime", "network", name, differing(graph, one_bit_off))


@every(part=["values", "gradients"], by=[1.0, float("nan")])
def test_a_wrong_kernel_of_training_is_a_fault(part: str, by: float) -> None:
    def wrong(*arguments: Any) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        values, gradients = training_kernels.run_kernels(*arguments)
        planted = (values if part == "values" else gradients)[0]
        planted.view(-1)[7] += by
        return values, gradients

    assert_fault(
        "training kernels", "neuron", "hdlif", training_kernels.neuron_difference("hdlif", "scalar", measured=wrong)
    )


@every(part=["sums", "gradients"])
def test_a_wrong_convolution_of_codes_is_a_fault(part: str) -> None:
    def wrong(x: torch.Tensor, *given: Any) -> torch.Tensor:
        y = training_kernels.convolve(x, *given)
        # The same sums, and a thousandth too much of a gradient.
        return y * (1 + 1e-6) if part == "sums" else y + 1e-3 * (y - y.detach())

    assert_fault(
        "training convolutions", "layer", "3x3", training_kernels.layer_difference("3x3", "scalar", measured=wrong)
    )
    assert training_kernels.fp32_difference("scalar") is None
    assert training_kernels.fp32_difference(
        "scalar", measured=lambda *a, **o: 1.001 * training_kernels.convolution(*a, **o)
    )


@every(layout=list(convolutions.LAYOUTS), value=[2.0, float("nan")])
def test_a_wrong_gradient_is_a_fault(layout: str, value: float) -> None:
    def wrong(*arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
        of_weight, of_input = convolutions.gradients(*arguments)
        of_weight[1, 2, 0, 1] = value
        return of_weight, of_input

    right = error(SHAPE, convolutions.LAYOUTS[layout])
    planted = error(SHAPE, convolutions.LAYOUTS[layout], measured=wrong)
    assert right < doctor.TOLERANCE == convolutions.TOLERANCE < planted
    found = [{"shapes": 1}, *(gradient(each, planted if each == layout else right) for each in convolutions.LAYOUTS)]
    assert statuses(*gradient_checks(Heard(found))) == {
        f"gradients, {each}": "fault" if each == layout else "ok" for each in convolutions.LAYOUTS
    }


def test_a_process_that_dies_or_hangs_is_a_fault_and_one_without_pytorch_is_absent() -> None:
    sets = {"instruction_sets": ["scalar"]}
    measured = {"instructions": "scalar", "network": "seca", "difference": None}
    for check, status, words in (
        (kernel_checks("runtime", said(CRASH, sets, measured))[-1], "fault", "SIGSEGV after seca on scalar"),
        (kernel_checks("runtime", said("raise ImportError('no extension')"))[-1], "fault", "no extension"),
        (kernel_checks("training kernels", said(WITHOUT))[0], "absent", "nothing_of_this_name is not installed"),
        (kernel_checks("training convolutions", said(WITHOUT))[0], "absent", "nothing_of_this_name is not installed"),
        (gradient_checks(said(CRASH, {"shapes": 2}, *BOTH))[0], "fault", "SIGSEGV after a shape, channels last"),
        (gradient_checks(said(HANG, {"shapes": 2}, *BOTH, stuck=0.5))[0], "fault", "is stuck"),
        (gradient_checks(said(HANG, start=0.5))[0], "fault", ""),
        # What is guarded against is none.
        (guard_check(said(CRASH, {"shapes": 1})), "warning", "SIGSEGV"),
        (guard_check(said(CRASH)), "fault", ""),
        (guard_check(Heard([{"shapes": 1}, {"error": 0.6}])), "warning", ""),
        (guard_check(Heard([{"shapes": 1}, {"error": float("inf")}])), "warning", ""),
        (guard_check(Heard([{"shapes": 1}, {"error": 1e-7}])), "ok", ""),
    ):
        assert (check.status, words in check.detail) == (status, True), check


def test_a_slow_machine_leaves_shapes_out_with_a_warning() -> None:
    lines = f"while True:\n    print({json.dumps(BOTH[0])!r}, flush=True); time.sleep(0.2)"
    heard = said(lines, {"shapes": 500}, seconds=1)
    assert heard.end is None
    found = gradient_checks(heard)
    assert statuses(*found) == {"gradients, contiguous": "warning", "gradients, channels last": "warning"}
    # A line that is cut off is no measurement.
    heard = said('print(\'{"a": 1}\')\nprint(\'{"b": \')\nprint("[1]")')
    assert (heard.lines, heard.others, heard.end) == ([{"a": 1}], ['{"b": ', "[1]"], None)


def test_an_interrupt_ends_the_process_that_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(child_process, "_listen", interrupted)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        said("time.sleep(100)")
    assert time.monotonic() - start < 50


@pytest.mark.slow
def test_the_shapes_that_ship_are_those_of_each_network() -> None:
    found = convolutions.shipped_convolutions()
    assert len(found) == len(set(found)) > 50
    assert [shape.work for shape in found] == sorted(shape.work for shape in found)
    # ImageNet's stem, a shortcut of CIFAR's ResNet-18, and the stem on digits.
    assert Shape(3, 64, (7, 7), (2, 2), (3, 3), 1, 224, 224) in found
    assert Shape(64, 128, (1, 1), (2, 2), (0, 0), 1, 32, 32) in found
    assert Shape(1, 16, (3, 3), (1, 1), (1, 1), 1, 8, 8) in found


def test_a_missing_extra_is_absent_and_named() -> None:
    def installed(name: str) -> str:
        if name in ("onnx", "torch"):
            raise PackageNotFoundError(name)
        return "1.0"

    found = {check.name: check for check in extra_checks(installed)}
    assert list(found) == [f"extra {name}" for name in doctor.EXTRAS]
    missing = {name for name, check in found.items() if check.status == "absent"}
    assert missing == {"extra train", "extra export", "extra engines"}
    assert pip_install("export") in found["extra export"].detail


def checked(text: str) -> dict[str, Any]:
    """The result, once it has the fields that other programs read."""
    result: dict[str, Any] = json.loads(text)
    assert set(result) == {"checks", "faults", "versions", "hardware"}
    assert {frozenset(check) for check in result["checks"]} == {frozenset(("name", "status", "detail"))}
    assert {check["status"] for check in result["checks"]} <= {"ok", "absent", "warning", "fault"}
    assert all(check["detail"].isprintable() for check in result["checks"])
    assert result["faults"] == sum(check["status"] == "fault" for check in result["checks"])
    assert {"python", "hdlif", "numpy"} <= set(result["versions"])
    machine = result["hardware"]
    assert set(machine) == {"cpu", "cores", "memory_bytes", "instruction_sets", "chosen", "gpus"}
    assert machine["chosen"]["runtime"] == instruction_sets()[-1]
    return result


def test_it_works_without_torch(tmp_path: Path) -> None:
    # To the process's children, too, PyTorch is not installed.
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n")
    command = [sys.executable, "-m", "hdlif", "doctor", "--json"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    result = checked(done.stdout)
    unseen = [check["status"] for check in result["checks"] if "torch is not installed" in check["detail"]]
    assert (unseen, "PyTorch" in result["hardware"]["chosen"]) == (["absent"] * 5, False)


def test_a_fault_ends_with_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Check("runtime, scalar", "fault", "unlike its oracle")
    monkeypatch.setattr(doctor, "hear", lambda *command, **limits: Heard([{"shapes": 0}]))
    monkeypatch.setattr(doctor, "kernel_checks", lambda what, heard: [found])
    done = hdlif("doctor")
    assert (done.returncode, "FAULT   runtime, scalar: unlike its oracle" in done.stdout) == (1, True)


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.parametrize(
    "switches", [{}, {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}], ids=["as it is", "AVX2"]
)
def test_this_machine_is_sound(switches: dict[str, str]) -> None:
    command = [sys.executable, "-m", "hdlif", "doctor", "--json"]
    done = subprocess.run(command, env={**os.environ, **switches}, capture_output=True, text=True)
    result = checked(done.stdout)
    assert [check for check in result["checks"] if check["status"] == "fault"] == []
    assert done.returncode == 0
    assert result["hardware"]["chosen"]["PyTorch"]
    if switches:
        assert result["hardware"]["chosen"]["oneDNN"] == "Intel AVX2"


QEMU = shutil.which("qemu-x86_64")
MODEL = "Haswell"
"""The first with AVX2, and FMA, without which PyTorch does not start its vectorised kernels."""


@pytest.mark.slow
@pytest.mark.skipif(QEMU is None or os.uname().machine != "x86_64", reason="needs qemu-x86_64 (qemu-user)")
def test_an_emulated_avx2_machine_is_sound_and_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {QEMU} -cpu {MODEL} {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))

    def heard(command: list[str], **limits: Any) -> Heard:
        # The gradients are of as many shapes as there is time for.
        return hear(command, **limits, **({"seconds": 15} if command[-1] == "guarded" else {}))

    monkeypatch.setattr(doctor, "hear", heard)
    result = doctor.doctor()
    assert result["faults"] == 0
    assert result["hardware"]["chosen"] == {"runtime": "avx2", "PyTorch": "AVX2", "oneDNN": "Intel AVX2"}
    checks = {check["name"]: check for check in result["checks"]}
    assert checks["runtime, avx2"]["status"] == "ok"
    assert "are correct" in checks["gradients, channels last"]["detail"]
    narrow = ["model.width=4", "training.channels_last=true", "training.epochs=1", "data.train=64"]
    settings = [word for setting in narrow for word in ("--set", setting)]
    # What a process starts is run by the real processor, unless it starts this.
    code = f"import sys; sys.executable = {str(python)!r}; from hdlif.cli import main; main()"
    command = [str(python), "-c", code, "train", "digits_hdlif", *settings, "--memory-repeats", "0", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 0 <= json.loads(done.stdout)["accuracy"] <= 1
