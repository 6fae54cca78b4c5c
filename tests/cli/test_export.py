"""`hdlif export`: options by target, what `--check` finds and leaves unwritten, and what C it writes and refuses."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import hdlif as package
from command_line import hdlif
from deployed_graphs import Builder, detector, residual_network, u_net
from hdlif.cli.export import export_file as export
from hdlif.deploy.c.building import FILES
from hdlif.deploy.c.devices import installed
from hdlif.errors import DataError, HdlifError, InputError, MachineError
from hdlif.graph.artefact import INPUT, InputRecord, dumps, load, save
from hdlif.report.export_check import check_read_back
from hdlif.report.live import live_page
from hdlif.runtime import reference
from hdlif.training.tasks import classify
from series_files import write_csv


@pytest.mark.slow
@pytest.mark.peers
@pytest.mark.parametrize("options", [(), ("--form", "step"), ("--batch", "3"), ("--weights", "int4")])
def test_onnx_is_checked_in_the_engines_that_are_installed(
    options: tuple[str, ...], small: Path, tmp_path: Path
) -> None:
    for name in ("onnx", "onnxruntime", "openvino"):
        pytest.importorskip(name, reason="pip install 'hdlif[engines]'")
    out = tmp_path / "net.onnx"
    done = hdlif("export", small, "--to", "onnx", "--out", out, *options, "--check", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["checked"]
    assert [one["by"] for one in found] == ["onnxruntime", "openvino"]
    assert all(one["agreement"] >= 0.9 and one["largest_difference"] < 1 for one in found)
    assert out.exists()


def test_nir_is_read_back_before_it_is_written(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nir", reason="pip install 'hdlif[nir]'")
    out = tmp_path / "net.nir"
    written = export(small, out=out, extension=True, check=True, to="nir")
    assert written.text().splitlines()[1].startswith("checked: read back: ")
    assert written.text().endswith("outputs equal the reference's bit for bit")
    out.unlink()
    monkeypatch.setattr("hdlif.deploy.interop.nir_import.read_artefact", lambda path: dumps(residual_network(seed=1)))
    with pytest.raises(MachineError, match="the network read back differs from the original"):
        export(small, out=out, extension=True, check=True, to="nir")
    assert not out.exists()


def test_a_check_compares_all_outputs_and_says_what_agrees() -> None:
    for graph, of, shape in ((detector(), "boxes", (180,)), (u_net(), "pixels", (3, 8, 6))):
        *_, last = (node for node in graph.nodes if node.op == "affine")
        moved = replace(last, tensors={**last.tensors, "shift": last.tensors["shift"] + np.float32(1e-3)})
        other = replace(graph, nodes=tuple(moved if node is last else node for node in graph.nodes))
        (found,) = check_read_back(graph, other, "read back")
        assert found.outputs == 3 * 16 * math.prod(shape)
        assert found.largest_difference == pytest.approx(1e-3, rel=0.01)
        assert 0.99 < found.agreement <= 1
        assert str(found).endswith(f" of the {of} of 16 random inputs")
        assert found.as_dict()["agreement_of"] == of


def test_a_page_is_written_of_networks_that_take_images(tmp_path: Path) -> None:
    path, out = tmp_path / "cells.hdlif.safetensors", tmp_path / "cells.html"
    save(detector(), path)
    done = hdlif("export", path, "--to", "page", "--out", out, "--check")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{out}: {out.stat().st_size:,} bytes, {len(detector().nodes)} nodes\nchecked: ")
    assert out.read_text() == live_page(path.read_bytes(), path.name)
    for name, options, words in (
        ("cells.pdf", (), "must end in .html"),
        ("other.html", ("--batch", 2), "--batch applies only to --to onnx"),
    ):
        done = hdlif("export", path, "--to", "page", "--out", tmp_path / name, *options)
        assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    assert sorted(one.name for one in tmp_path.iterdir()) == ["cells.hdlif.safetensors", "cells.html"]


needs_a_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler is installed")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.hdlif.safetensors"
    save(residual_network(), path)
    return path


@needs_a_compiler
def test_a_network_is_written_checked_and_described(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "net.c"
    said = list[str]()
    written = export(small, out=out, check=True, to="c", say=said.append)
    assert ["net.c" in line for line in said] == [True]
    found, text = written.as_dict(), written.text()
    assert (found["c"], found["header"]) == (str(out), str(out.with_suffix(".h")))
    assert found["checked"]["outputs"] == 5 * 4 * 3
    assert found["checked"]["code_bytes"] > 0
    assert [one["device"] for one in found["devices"]] == list(installed())
    assert "net_state" in out.with_suffix(".h").read_text()
    assert sorted(path.name for path in out.parent.iterdir()) == ["net.c", "net.h"]
    host = next(one for one in found["devices"] if one["device"] == "host")
    assert 0 < host["frame_bytes"] < 4096
    assert f"tables: {found['data_bytes']:,} bytes of ROM" in text
    assert f"{found['state_bytes']:,} bytes of RAM; workspace: {found['work_bytes']:,}" in text


def test_a_device_that_is_too_small_is_refused_before_anything_is_written(small: Path, tmp_path: Path) -> None:
    source = export(small, out=tmp_path / "net.c", to="c").source
    for kind, needed in (("rom", source.data_bytes), ("ram", source.ram_bytes)):
        export(small, out=tmp_path / "net.c", **{kind: needed}, to="c")
        with pytest.raises(InputError, match=f"{needed:,} bytes of {kind.upper()}, but the device has {needed - 1:,}"):
            export(small, out=tmp_path / "other" / "net.c", **{kind: needed - 1}, to="c")
    for name, options in (
        *((name, {}) for name in ("net.h", "net", "My-Net.c", "math.c")),
        *((name, {"firmware": True}) for name in ("main.c", "port.c", "samples.c", "startup.c")),
    ):
        with pytest.raises(InputError, match="name"):
            export(small, out=tmp_path / "other" / name, to="c", **options)
    assert not (tmp_path / "other").exists()


@needs_a_compiler
def test_a_build_with_other_outputs_is_refused_and_nothing_is_written(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true, made = reference.run, tmp_path / "made"
    with monkeypatch.context() as patched:
        patched.setattr(reference, "run", lambda *given: true(*given) + 1)
        with pytest.raises(MachineError, match="for output 0 of step 0, but the reference gives"):
            export(small, out=made / "net.c", check=True, to="c")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="no C compiler is installed"):
        export(small, out=made / "net.c", check=True, to="c")
    assert not made.exists()


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler is installed")
def test_a_network_that_learns_is_checked_and_described(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hdlif.deploy.c.devices.installed", lambda: ("host",))
    out = tmp_path / "net.c"
    written = export(small, out=out, to="c", learn="affine", momentum=0.5, check=True)
    learning = written.source.learning
    found = written.as_dict()
    assert (found["learn"], found["learned_bytes"], found["checked"]["updates"]) == ("affine", learning.learned.size, 4)
    assert [one["device"] for one in found["devices"]] == ["host"]
    assert f"{learning.gradients.size:,} for sums" in written.text()
    assert "net_learn_step(" in out.with_suffix(".h").read_text()
    for options, message in (
        ({"learn": "all", "to": "onnx"}, "--learn applies only to --to c"),
        ({"momentum": 0.5}, "--momentum applies only to --learn"),
        ({"learn": "all", "arithmetic": "fixed"}, "fixed point trains only the classifier"),
        ({"learn": "all", "momentum": 1.0}, "momentum = 1"),
        ({"learn": "all", "ram": 4096}, "a lower level of --learn"),
    ):
        with pytest.raises(HdlifError, match=message):
            export(small, out=tmp_path / "other.c", **{"to": "c", **options})
    assert not (tmp_path / "other.c").exists()


def test_a_check_finds_learning_that_differs(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hdlif.deploy.c.checking.learned_from", lambda source, frames: iter([b"other"]))
    with pytest.raises(MachineError, match="trained values differ from the reference"):
        export(small, out=tmp_path / "net.c", to="c", learn="classifier", check=True)


def test_fixed_point_says_what_it_changes(artefact: Path, tmp_path: Path) -> None:
    out = tmp_path / "digits.c"
    whole = export(artefact, out=out, to="c")
    found = export(artefact, out=out, arithmetic="fixed", data="digits", to="c")
    assert found.source.state_bytes == 4 + (whole.source.state_bytes - 4) // 2
    assert found.rounded is not None
    assert found.rounded.samples == 360
    assert found.rounded.agreement > 0.98
    assert 0 < found.rounded.mean_error < 0.02 * found.rounded.largest_output
    assert found.as_dict()["rounded"]["agreement"] == found.rounded.agreement
    assert f"{found.rounded.agreement:.2%}" in found.text()
    assert "typedef int16_t digits_number;" in out.with_suffix(".h").read_text()


@pytest.fixture
def on_rows(tmp_path: Path) -> tuple[Path, Path]:
    """A network that takes rows, and a table of them."""
    artefact, table = tmp_path / "net.hdlif.safetensors", tmp_path / "table.csv"
    b, record = Builder((2, 1, 1), 4, 0), InputRecord((2, 1, 1), (5.0, 3.0), (3.0, 2.0), "table", "none")
    save(replace(b.graph(b.hd_lif(b.linear(b.add("flatten", INPUT), 6))), input=record), artefact)
    return artefact, write_csv(table, [[f"class {n % 3}", n / 9, n % 7] for n in range(100)], ["sort", "a", "b"])


def test_a_model_file_gets_a_confidence_in_c_on_the_data_that_are_named(
    on_rows: tuple[Path, Path], tmp_path: Path
) -> None:
    (artefact, table), out = on_rows, tmp_path / "net.c"
    options = {"to": "c", "confidence": "auto", "data": table}
    written = export(artefact, out, overrides=["data.label=sort"], **options)
    assert written.early is not None
    assert written.as_dict()["early"] == written.early.as_dict()
    assert str(written.early) in written.text()
    with pytest.raises(InputError, match=r"net.* have no validation part to choose a confidence on; give --confidence"):
        export(artefact, out, overrides=["data.label=sort", "data.split={validation: 0}"], **options)


def test_a_probability_of_1_which_fixed_point_never_reaches_is_not_chosen(
    on_rows: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (artefact, table), out = on_rows, tmp_path / "net.c"
    monkeypatch.setattr(classify, "CONFIDENCES", (1.0,))
    with pytest.raises(InputError, match="each confidence loses more than"):
        export(artefact, out, to="c", confidence="auto", data=table, overrides=["data.label=sort"])


def test_data_of_ones_own_are_described_by_the_option_that_the_error_names(
    on_rows: tuple[Path, Path], tmp_path: Path
) -> None:
    (artefact, table), out = on_rows, tmp_path / "net.c"
    command = ["export", artefact, "--to", "c", "--out", out, "--data", table]
    refused = hdlif(*command, "--arithmetic", "fixed")
    assert (refused.returncode, "--set data.label=" in refused.stderr) == (2, True), refused.stderr
    done = hdlif(*command, "--arithmetic", "fixed", "--set", "data.label=sort", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["rounded"]
    overrides = ["data.label=sort"]
    assert package.export(artefact, out, to="c", arithmetic="fixed", data=table, overrides=overrides) == out
    assert found["samples"] > 0
    for more, words in (
        (["--set", "data.label=sort"], "data are used only by --arithmetic fixed, --firmware and"),
        (["--to", "nir", "--set", "data.label=sort"], "--set applies only to --to artefact and --to c"),
    ):
        refused = hdlif(*command[:-2], *more)
        assert (refused.returncode, words in refused.stderr) == (2, True), refused.stderr


def test_a_model_file_in_fixed_point_needs_data_and_a_run_has_its_own(
    artefact: Path, run_folder: Path, tmp_path: Path
) -> None:
    for error, options in (
        (DataError, {"arithmetic": "fixed"}),
        (InputError, {"data": "digits"}),
        (InputError, {"arithmetic": "fixd"}),
    ):
        with pytest.raises(error):
            package.export(artefact, tmp_path / "digits.c", to="c", **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
    export(run_folder, out=tmp_path / "digits.c", arithmetic="fixed", firmware=True, to="c")
    assert {path.name for path in tmp_path.iterdir()} == {"digits.c", "digits.h", "samples.h", *FILES}
    assert "#define COUNT_OF_SAMPLES 4" in (tmp_path / "samples.h").read_text()


def test_the_threshold_of_boxes_is_changed_in_a_file_that_exists(tmp_path: Path) -> None:
    out, again = (tmp_path / f"{name}.hdlif.safetensors" for name in ("out", "again"))
    save(detector(), tmp_path / "net.hdlif.safetensors")
    given = ("export", tmp_path / "net.hdlif.safetensors", "--threshold")
    assert hdlif(*given, "0.6", "--out", out).returncode == 0
    assert load(out).task == replace(detector().task, threshold=0.6)
    export(out, again, threshold=detector().task.threshold)
    assert dumps(load(again)) == dumps(detector())
    for value in ("0", "1.5"):
        assert hdlif(*given, value, "--out", again).returncode == 2
    save(residual_network(), out)
    with pytest.raises(HdlifError, match="but the task is classify; remove it"):
        export(out, again, threshold=0.5)
