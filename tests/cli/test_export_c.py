"""`hdlif export --to c`: what it writes and prints, and what it refuses."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from deployed_graphs import Builder, residual_network
from hdlif import verbs
from hdlif.artefact import INPUT, InputRecord, save
from hdlif.c_code.devices import installed
from hdlif.c_code.project import FILES
from hdlif.cli.export import export_file as export
from hdlif.errors import DataError, InputError, MachineError
from hdlif.runtime import reference
from series_files import write_csv

needs_a_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler is installed")


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    path = tmp_path / "net.hdlif.safetensors"
    save(residual_network(), path)
    return path


def hdlif(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hdlif", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@needs_a_compiler
def test_a_network_is_written_checked_and_described(artefact: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "net.c"
    done = hdlif("export", artefact, "--to", "c", "--out", out, "--check", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["c"], found["header"]) == (str(out), str(out.with_suffix(".h")))
    assert found["checked"]["outputs"] == 5 * 4 * 3
    assert found["checked"]["code_bytes"] > 0
    assert [one["device"] for one in found["devices"]] == list(installed())
    assert "net_state" in out.with_suffix(".h").read_text()
    assert sorted(path.name for path in out.parent.iterdir()) == ["net.c", "net.h"]
    host = next(one for one in found["devices"] if one["device"] == "host")
    assert 0 < host["frame_bytes"] < 4096
    text = hdlif("export", artefact, "--to", "c", "--out", out).stdout
    assert f"tables: {found['data_bytes']:,} bytes of ROM" in text
    assert f"{found['state_bytes']:,} bytes of RAM; work space: {found['work_bytes']:,}" in text


@pytest.mark.parametrize("kind", ["rom", "ram"])
def test_a_device_that_is_too_small_is_refused_before_anything_is_written(
    kind: str, artefact: Path, tmp_path: Path
) -> None:
    source = export(artefact, out=tmp_path / "net.c", to="c").source
    needed = source.data_bytes if kind == "rom" else source.ram_bytes
    export(artefact, out=tmp_path / "net.c", **{kind: needed}, to="c")
    with pytest.raises(InputError, match=f"{needed:,} bytes of {kind.upper()}, and the device has {needed - 1:,}"):
        export(artefact, out=tmp_path / "other" / "net.c", **{kind: needed - 1}, to="c")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("net.h", "give a name that ends in .c, such as network.c"),
        ("net", "give a name that ends in .c, such as network.c"),
        ("My-Net.c", "My-Net.c: .*begins with a letter, and is no word of C; give another one, such as my_net.c$"),
        ("math.c", "math.c: its header would be math.h, which C has itself"),
    ],
)
def test_a_file_name_that_gives_no_names_is_refused(name: str, words: str, artefact: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        export(artefact, out=tmp_path / name, to="c")
    assert not (tmp_path / name).exists()


@needs_a_compiler
@pytest.mark.parametrize("name", ["c", "x", "add", "layer", "window"])
def test_a_file_may_bear_a_name_that_its_code_has_inside(name: str, artefact: Path, tmp_path: Path) -> None:
    found = export(artefact, out=tmp_path / f"{name}.c", check=True, to="c")
    assert found.checked is not None
    assert found.checked.outputs > 0


@pytest.mark.parametrize("name", ["main.c", "port.c", "samples.c", "startup.c"])
def test_firmware_has_these_names_already(name: str, artefact: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="files of the firmware bear the names main, port, samples, startup"):
        export(artefact, out=tmp_path / "new" / name, firmware=True, to="c")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("option", [("--rom", 9), ("--ram", 9), ("--firmware",)])
def test_options_of_c_are_refused_for_other_targets(option: tuple[object, ...], artefact: Path, tmp_path: Path) -> None:
    done = hdlif("export", artefact, "--to", "onnx", "--out", tmp_path / "net.onnx", *option)
    assert done.returncode == 2
    assert f"{option[0]}: for --to c alone" in done.stderr


@needs_a_compiler
def test_a_build_with_other_outputs_is_refused_and_nothing_is_written(
    artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = reference.run
    monkeypatch.setattr(reference, "run", lambda *given: true(*given) + 1)
    with pytest.raises(MachineError, match="for output 0 of step 0, and the oracle"):
        export(artefact, out=tmp_path / "made" / "net.c", check=True, to="c")
    assert not (tmp_path / "made").exists()


def test_without_a_compiler_the_check_says_so(artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="no C compiler is installed"):
        export(artefact, out=tmp_path / "net.c", check=True, to="c")


def test_an_artefact_is_written_without_pytorch(artefact: Path, tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from hdlif.__main__ import program\n"
        f"sys.argv = ['hdlif', 'export', {str(artefact)!r}, '--to', 'c', '--out', {str(tmp_path / 'net.c')!r}]\n"
        "program()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "net.c").exists()


@pytest.fixture(scope="module")
def digits_artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits' network, hardly trained."""
    folder = tmp_path_factory.mktemp("digits")
    torch.set_num_threads(1)
    run = verbs.train("digits_hdlif_w1p5_s4_parallel", epochs=1, out=folder / "run", overrides=("model.width=4",))
    verbs.export(run, folder / "digits.hdlif.safetensors")
    return folder / "digits.hdlif.safetensors"


def test_fixed_point_says_what_it_changes(digits_artefact: Path, tmp_path: Path) -> None:
    out = tmp_path / "digits.c"
    whole = export(digits_artefact, out=out, to="c")
    found = export(digits_artefact, out=out, arithmetic="fixed", data="digits", to="c")
    assert found.source.state_bytes == 4 + (whole.source.state_bytes - 4) // 2
    assert found.rounded is not None
    assert found.rounded.samples == 360
    assert found.rounded.agreement > 0.98
    assert 0 < found.rounded.mean_error < 0.02 * found.rounded.largest_output
    assert f"{found.rounded.agreement:.2%} of 360 test samples" in found.text()
    assert found.as_dict()["rounded"]["agreement"] == found.rounded.agreement
    assert "typedef int16_t digits_number;" in out.with_suffix(".h").read_text()


def test_a_run_needs_no_data_named_and_shows_its_own_samples(digits_artefact: Path, tmp_path: Path) -> None:
    out = tmp_path / "fw" / "digits.c"
    export(digits_artefact.parent / "run", out=out, arithmetic="fixed", firmware=True, to="c")
    assert {path.name for path in out.parent.iterdir()} == {"digits.c", "digits.h", "samples.h", *FILES}
    assert "#define COUNT_OF_SAMPLES 4" in (out.parent / "samples.h").read_text()


def test_data_of_ones_own_are_described_by_the_option_that_the_error_names(tmp_path: Path) -> None:
    artefact, table, out = tmp_path / "net.hdlif.safetensors", tmp_path / "table.csv", tmp_path / "net.c"
    b, record = Builder((2, 1, 1), 4, 0), InputRecord((2, 1, 1), (5.0, 3.0), (3.0, 2.0), "table", "none")
    save(replace(b.graph(b.hd_lif(b.linear(b.add("flatten", INPUT), 6))), input=record), artefact)
    write_csv(table, [[f"class {n % 3}", n / 9, n % 7] for n in range(100)], ["sort", "a", "b"])
    command = ["export", artefact, "--to", "c", "--out", out, "--data", table]
    refused = hdlif(*command, "--arithmetic", "fixed")
    assert (refused.returncode, "--set data.label=" in refused.stderr) == (2, True), refused.stderr
    done = hdlif(*command, "--arithmetic", "fixed", "--set", "data.label=sort", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["rounded"]
    overrides = ["data.label=sort"]
    assert verbs.export(artefact, out, to="c", arithmetic="fixed", data=table, overrides=overrides) == out
    assert found["samples"] > 0
    for more, words in (
        (["--set", "data.label=sort"], "data are for --arithmetic fixed and for --firmware"),
        (["--to", "nir", "--set", "data.label=sort"], "--set: for --to c alone"),
    ):
        refused = hdlif(*command[:-2], *more)
        assert (refused.returncode, words in refused.stderr) == (2, True), refused.stderr


def test_an_artefact_in_fixed_point_needs_data(digits_artefact: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not say which data set it is for; give --data"):
        export(digits_artefact, out=tmp_path / "digits.c", arithmetic="fixed", to="c")
    with pytest.raises(InputError, match="data are for --arithmetic fixed and for --firmware"):
        export(digits_artefact, out=tmp_path / "digits.c", data="digits", to="c")
    with pytest.raises(InputError, match=r'arithmetic = "fixd" is unknown.*fixed'):
        export(digits_artefact, out=tmp_path / "digits.c", arithmetic="fixd", to="c")
    assert list(tmp_path.iterdir()) == []
