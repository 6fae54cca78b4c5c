"""`hdlif doctor` finds planted faults, and outlives processes that crash, hang or lack PyTorch."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hdlif._native import instruction_sets
from hdlif.cli import doctor
from hdlif.cli.doctor import (
    chunk_checks,
    code_conv_checks,
    extra_checks,
    gradient_checks,
    guard_check,
    runtime_checks,
)
from hdlif.graph.ops import OPS
from hdlif.report import child_process, chunks, code_convs, convolutions, small_graphs
from hdlif.report.child_process import Heard, hear
from hdlif.report.convolutions import Shape, error
from hdlif.report.small_graphs import ENCODINGS, differing, native
from hdlif.runtime import reference

STATUSES = {"ok", "warning", "fault"}
SHAPE = Shape(3, 5, (3, 3), (2, 2), (1, 1), 1, 9, 7)


def said(source: str, **limits: float) -> Heard:
    """What a process says that imports what a measuring one needs, and runs `source`."""
    return hear([sys.executable, "-c", f"import json, os, signal, sys, time\n{source}"], **limits)


def lines(*found: dict[str, Any]) -> str:
    return "".join(f"print({json.dumps(line)!r}, flush=True)\n" for line in found)


def gradient(layout: str, of: float, shape: str = "a shape") -> dict[str, Any]:
    return {"shape": shape, "layout": layout, "error": of}


def both(of: float) -> Sequence[dict[str, Any]]:
    return [gradient("contiguous", of), gradient("channels last", of)]


def statuses(checks: Sequence[doctor.Check]) -> dict[str, str]:
    return {check.name: check.status for check in checks}


def test_the_small_networks_hold_every_op_and_encoding() -> None:
    graphs = dict(small_graphs.small_graphs())
    nodes = [node for graph in graphs.values() for node in graph.nodes]
    assert {node.op for node in nodes} == set(OPS)
    for op in ("conv2d", "linear"):
        assert {node.attributes["encoding"] for node in nodes if node.op == op} == set(ENCODINGS)


def test_the_small_networks_have_lively_logits() -> None:
    for name, graph in small_graphs.small_graphs():
        x = np.random.default_rng(1).normal(size=(2, 2, *graph.input.shape)).astype(np.float32)
        assert np.ptp(reference.run(graph, x, 2), axis=0).min() > 0, name


def test_every_instruction_set_is_measured_and_sound() -> None:
    checks = runtime_checks(Heard(list(small_graphs.measure())))
    assert statuses(checks) == {f"runtime, {name}": "ok" for name in instruction_sets()}


def test_a_wrong_bit_of_the_runtime_is_a_fault() -> None:
    (name, graph), *_ = small_graphs.small_graphs()

    def one_bit_off(graph: Any, x: np.ndarray) -> np.ndarray:
        y = native("scalar")(graph, x)
        y[-1, -1, -1] = np.nextafter(y[-1, -1, -1], np.inf)
        return y

    assert differing(graph, native("scalar")) is None
    difference = differing(graph, one_bit_off)
    assert difference is not None
    line = {"instructions": "scalar", "network": name, "difference": difference}
    (check,) = runtime_checks(Heard([{"instruction_sets": ["scalar"]}, line]))
    assert check.status == "fault"
    assert name in check.detail


def test_the_kernels_of_training_are_measured_on_every_instruction_set() -> None:
    found = list(chunks.measure())
    assert len(found) == 1 + len(instruction_sets()) * len(chunks.NEURONS)
    checks = chunk_checks(Heard(found))
    assert statuses(checks) == {f"training kernels, {name}": "ok" for name in instruction_sets()}


@pytest.mark.parametrize(("of", "by"), [("values", 1e-6), ("gradients", 1.0), ("values", float("nan"))])
def test_a_wrong_kernel_of_training_is_a_fault(of: str, by: float) -> None:
    def wrong(*arguments: Any) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        values, gradients = chunks.run_kernels(*arguments)
        planted = (values if of == "values" else gradients)[0]
        planted.view(-1)[7] += by
        return values, gradients

    difference = chunks.differing("hdlif", "scalar", measured=wrong)
    assert difference is not None
    line = {"instructions": "scalar", "neuron": "hdlif", "difference": difference}
    (check,) = chunk_checks(Heard([{"instruction_sets": ["scalar"]}, line]))
    assert check.status == "fault"
    assert "hdlif" in check.detail


def test_convolutions_are_measured_on_every_instruction_set() -> None:
    found = list(code_convs.measure())
    assert len(found) == 1 + len(instruction_sets()) * (len(code_convs.LAYERS) + 1)
    checks = code_conv_checks(Heard(found))
    assert statuses(checks) == {f"training convolutions, {name}": "ok" for name in instruction_sets()}


@pytest.mark.parametrize("of", ["sums", "gradients"])
def test_a_wrong_convolution_of_codes_is_a_fault(of: str) -> None:
    def wrong(x: torch.Tensor, *given: Any) -> torch.Tensor:
        y = code_convs.convolve(x, *given)
        if of == "sums":
            return y * (1 + 1e-6)
        # The same sums, and a thousandth too much of a gradient.
        return y + 1e-3 * (y - y.detach())

    difference = code_convs.differing("3x3", "scalar", measured=wrong)
    assert code_convs.differing_in_float("scalar") is None
    assert code_convs.differing_in_float("scalar", measured=lambda *a, **o: 1.001 * code_convs.convolution(*a, **o))
    assert difference is not None
    line = {"instructions": "scalar", "layer": "3x3", "difference": difference}
    (check,) = code_conv_checks(Heard([{"instruction_sets": ["scalar"]}, line]))
    assert check.status == "fault"
    assert "3x3" in check.detail


def test_convolutions_are_not_looked_at_without_pytorch() -> None:
    (check,) = code_conv_checks(said("import nothing_of_this_name"))
    assert check.status == "warning"


def test_kernels_of_training_that_die_are_a_fault_and_without_pytorch_they_are_not_looked_at() -> None:
    heard = said(lines({"instruction_sets": ["scalar"]}) + "os.kill(os.getpid(), signal.SIGILL)")
    assert "SIGILL at its start" in chunk_checks(heard)[-1].detail
    (check,) = chunk_checks(said("import nothing_of_this_name"))
    assert check.status == "warning"
    assert "nothing_of_this_name is not installed" in check.detail


def test_a_runtime_that_dies_is_a_fault() -> None:
    measured = {"instructions": "scalar", "network": "seca", "difference": None}
    heard = said(lines({"instruction_sets": ["scalar"]}, measured) + "os.kill(os.getpid(), signal.SIGILL)")
    assert runtime_checks(heard)[-1].status == "fault"
    assert "SIGILL after seca on scalar" in runtime_checks(heard)[-1].detail
    assert statuses(runtime_checks(said("raise ImportError('no extension')"))) == {"runtime": "fault"}
    assert "no extension" in runtime_checks(said("raise ImportError('no extension')"))[0].detail


@pytest.mark.parametrize("layout", convolutions.LAYOUTS)
@pytest.mark.parametrize("value", [2.0, float("nan")])
def test_a_wrong_gradient_is_a_fault(layout: str, value: float) -> None:
    def wrong(*arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
        of_weight, of_input = convolutions.gradients(*arguments)
        of_weight[1, 2, 0, 1] = value
        return of_weight, of_input

    right = error(SHAPE, convolutions.LAYOUTS[layout])
    assert right < convolutions.TOLERANCE
    planted = error(SHAPE, convolutions.LAYOUTS[layout], measured=wrong)
    assert planted > convolutions.TOLERANCE
    found = [{"shapes": 1}, *(gradient(each, planted if each == layout else right) for each in convolutions.LAYOUTS)]
    assert statuses(gradient_checks(Heard(found))) == {
        f"gradients, {each}": "fault" if each == layout else "ok" for each in convolutions.LAYOUTS
    }


def test_both_tolerances_are_one() -> None:
    assert doctor.TOLERANCE == convolutions.TOLERANCE


@pytest.mark.slow
def test_the_shapes_that_ship_are_those_of_each_network() -> None:
    found = convolutions.shipped_convolutions()
    assert len(found) == len(set(found)) > 50
    assert [shape.work for shape in found] == sorted(shape.work for shape in found)
    # ImageNet's stem, a shortcut of CIFAR's ResNet-18, and the stem on digits.
    for shape in (
        Shape(3, 64, (7, 7), (2, 2), (3, 3), 1, 224, 224),
        Shape(64, 128, (1, 1), (2, 2), (0, 0), 1, 32, 32),
        Shape(1, 16, (3, 3), (1, 1), (1, 1), 1, 8, 8),
    ):
        assert shape in found
    few = [shape for shape in found if shape.kernel == (1, 1) and shape.in_channels < 16]
    assert not any(shape.stride != (1, 1) for shape in few)


def test_a_crash_is_a_fault_where_training_goes_and_a_warning_where_it_does_not() -> None:
    crash = "os.kill(os.getpid(), signal.SIGSEGV)"
    heard = said(lines({"shapes": 2}, *both(1e-7)) + crash)
    assert len(heard.lines) == 3
    (check,) = gradient_checks(heard)
    assert check.status == "fault"
    assert "SIGSEGV after a shape, channels last" in check.detail
    check = guard_check(said(lines({"shapes": 1}) + crash))
    assert check.status == "warning"
    assert "SIGSEGV" in check.detail
    assert guard_check(said(crash)).status == "fault"


def test_a_hang_is_a_fault_where_training_goes_and_a_warning_where_it_does_not() -> None:
    hang = "time.sleep(600)"
    heard = said(lines({"shapes": 2}, *both(1e-7)) + hang, stuck=0.5)
    assert statuses(gradient_checks(heard)) == {"gradients": "fault"}
    assert "is stuck" in gradient_checks(heard)[0].detail
    assert guard_check(said(lines({"shapes": 1}) + hang, stuck=0.5)).status == "warning"
    assert statuses(gradient_checks(said(hang, start=0.5))) == {"gradients": "fault"}


def test_a_slow_machine_leaves_shapes_out_with_a_warning() -> None:
    slowly = (
        'while True:\n    print(\'{"shape": "s", "layout": "contiguous", "error": 0.0}\', flush=True); time.sleep(0.2)'
    )
    heard = said(lines({"shapes": 500}) + slowly, seconds=1.0)
    assert heard.end is None
    found = gradient_checks(heard)
    assert statuses(found) == {"gradients, contiguous": "warning", "gradients, channels last": "warning"}
    assert "left out for want of time" in found[0].detail


def test_wrong_unguarded_gradients_are_a_warning() -> None:
    assert guard_check(Heard([{"shapes": 1}, {"error": 0.6}])).status == "warning"
    assert guard_check(Heard([{"shapes": 1}, {"error": float("inf")}])).status == "warning"
    assert guard_check(Heard([{"shapes": 1}, {"error": 1e-7}])).status == "ok"


def test_a_missing_extra_is_a_warning_with_its_mend() -> None:
    def installed(name: str) -> str:
        if name in ("onnx", "torch"):
            raise PackageNotFoundError(name)
        return "1.0"

    found = {check.name: check for check in extra_checks(installed)}
    assert list(found) == [f"extra {name}" for name in doctor.EXTRAS]
    assert {name for name, check in found.items() if check.status == "warning"} == {
        "extra train", "extra export", "extra engines",
    }  # fmt: skip
    assert "onnx not installed" in found["extra export"].detail
    assert "pip install 'hdlif[export]'" in found["extra export"].detail


def checked(result: dict[str, Any]) -> dict[str, Any]:
    """The result, once it has the fields that other programs read."""
    assert set(result) == {"checks", "faults", "versions", "hardware"}
    for check in result["checks"]:
        assert set(check) == {"name", "status", "detail"}
        assert check["status"] in STATUSES
        assert check["detail"]
        assert "\n" not in check["detail"]
    assert result["faults"] == sum(check["status"] == "fault" for check in result["checks"])
    assert {"python", "hdlif", "numpy"} <= set(result["versions"])
    machine = result["hardware"]
    assert set(machine) == {"cpu", "cores", "memory_bytes", "instruction_sets", "chosen", "gpus"}
    assert machine["cores"] >= 1
    assert machine["chosen"]["runtime"] == instruction_sets()[-1]
    return result


@pytest.fixture
def without_torch(tmp_path: Path) -> dict[str, str]:
    """An environment in which PyTorch is not installed, to this process's children too."""
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n")
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_it_works_without_torch(without_torch: dict[str, str], form: list[str]) -> None:
    command = [sys.executable, "-m", "hdlif", "doctor", *form]
    done = subprocess.run(command, env=without_torch, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    if form:
        result = checked(json.loads(done.stdout))
        unseen = [check for check in result["checks"] if "not looked at, for torch is not installed" in check["detail"]]
        assert len(unseen) == 5
        assert {check["status"] for check in unseen} == {"warning"}
        assert "PyTorch" not in result["hardware"]["chosen"]
    else:
        assert "ok      runtime, scalar: " in done.stdout
        assert "warning gradients, contiguous: not looked at" in done.stdout


def test_a_fault_ends_with_exit_code_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from hdlif import cli

    found = doctor.Check("runtime, scalar", "fault", "unlike its oracle")
    monkeypatch.setattr(doctor, "hear", lambda *command, **limits: Heard([{"shapes": 0}]))
    monkeypatch.setattr(doctor, "runtime_checks", lambda heard: [found])
    monkeypatch.setattr(sys, "argv", ["hdlif", "doctor"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert "FAULT   runtime, scalar: unlike its oracle" in capsys.readouterr().out


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.parametrize(
    "switches", [{}, {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}], ids=["as it is", "AVX2"]
)
def test_this_machine_is_sound(switches: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hdlif", "doctor", "--json"],
        env={**os.environ, **switches},
        capture_output=True,
        text=True,
        check=False,
    )
    result = checked(json.loads(done.stdout))
    assert [check for check in result["checks"] if check["status"] == "fault"] == []
    assert done.returncode == 0
    assert result["hardware"]["chosen"]["PyTorch"]
    if switches:
        assert result["hardware"]["chosen"]["oneDNN"] == "Intel AVX2"


def test_a_line_that_is_cut_off_is_no_measurement() -> None:
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
