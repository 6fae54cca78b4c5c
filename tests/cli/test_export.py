"""`hdlif export`: options by target, and what `--check` prints and leaves unwritten."""

import json
from pathlib import Path

import pytest

from command_line import hdlif
from deployed_graphs import residual_network
from hdlif.cli.export import export_file as export
from hdlif.errors import MachineError
from hdlif.graph.artefact import dumps, save
from hdlif.report import exported


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    path = tmp_path / "net.hdlif.safetensors"
    save(residual_network(), path)
    return path


@pytest.mark.slow
@pytest.mark.peers
@pytest.mark.parametrize("options", [(), ("--form", "step"), ("--batch", "3"), ("--weights", "int4")])
def test_onnx_is_checked_in_the_engines_that_are_installed(
    options: tuple[str, ...], artefact: Path, tmp_path: Path
) -> None:
    for package in ("onnx", "onnxruntime", "openvino"):
        pytest.importorskip(package, reason="pip install 'hdlif[engines]'")
    out = tmp_path / "net.onnx"
    done = hdlif("export", artefact, "--to", "onnx", "--out", out, *options, "--check", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["checked"]
    assert [one["by"] for one in found] == ["onnxruntime", "openvino"]
    assert all(one["agreement"] >= 0.9 and one["largest_difference"] < 1 for one in found)
    assert out.exists()


def test_nir_is_read_back_before_it_is_written(artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nir", reason="pip install 'hdlif[nir]'")
    out = tmp_path / "net.nir"
    written = export(artefact, out=out, extension=True, check=True, to="nir")
    assert written.text().splitlines()[1].startswith("checked: read back: ")
    assert written.text().endswith("outputs equal the reference's bit for bit")
    out.unlink()
    monkeypatch.setattr("hdlif.deploy.interop.nir.read_artefact", lambda path: dumps(residual_network(seed=1)))
    with pytest.raises(MachineError, match="the network that was read back is another one"):
        export(artefact, out=out, extension=True, check=True, to="nir")
    assert not out.exists()


def test_a_check_that_fails_leaves_nothing(artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nir", reason="pip install 'hdlif[nir]'")
    true = exported.reference.run
    calls = []

    def other(*given: object) -> object:
        calls.append(given)
        return -true(*given) if len(calls) % 2 else true(*given)

    monkeypatch.setattr(exported.reference, "run", other)
    with pytest.raises(MachineError, match="another answer than the reference to 100%"):
        export(artefact, out=tmp_path / "net.nir", extension=True, check=True, to="nir")
    assert not (tmp_path / "net.nir").exists()
