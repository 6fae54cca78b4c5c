"""`import hdlif`: nothing is imported until it is asked for, and the commands are functions with typed results."""

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hdlif
from hdlif.errors import ArgumentError, ExistingRunError, InputError

OVERRIDES = ("model.width=4", "data.train=256", "model.blocks=[1]")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> hdlif.Run:
    return hdlif.train("digits_hdlif", epochs=1, overrides=OVERRIDES, out=tmp_path_factory.mktemp("verbs") / "run")


def test_importing_the_package_imports_nothing_else() -> None:
    code = (
        "import sys, hdlif; dir(hdlif); print([m for m in sys.modules if m.startswith(('hdlif.', 'torch', 'numpy'))])"
    )
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert seen.strip() == "[]"


def test_the_runtime_comes_without_pytorch() -> None:
    code = "import sys, hdlif; hdlif.Session, hdlif.runtime.Session; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_every_name_is_there_and_is_said_to_type_checkers() -> None:
    stub = ast.parse(Path(hdlif.__file__).with_suffix(".pyi").read_text("utf-8"))
    imported = {alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert imported == {*hdlif.__all__} - {"__version__"}
    assert all(getattr(hdlif, name) is not None for name in hdlif.__all__)
    assert {*hdlif.__all__} <= {*dir(hdlif)}
    with pytest.raises(AttributeError, match="module 'hdlif' has no attribute 'trian'"):
        hdlif.trian  # noqa: B018


def test_a_run_is_what_its_folder_holds(run: hdlif.Run) -> None:
    summary = json.loads((run.folder / "summary.json").read_text())
    assert run.summary == summary
    assert (run.accuracy, run.best_epoch) == (summary["accuracy"], summary["best_epoch"])
    assert len(run.accuracy_per_step) == 4
    assert summary["recipe"]["training"]["epochs"] == 1


def test_what_follows_takes_the_run(run: hdlif.Run, tmp_path: Path) -> None:
    tested = hdlif.evaluate(run)
    assert tested.accuracy == run.accuracy
    assert np.sum(tested.confusion) == tested.n == 360
    path = hdlif.export(run, tmp_path / "net.hdlif.safetensors")
    assert hdlif.evaluate(path, data="digits").accuracy == pytest.approx(run.accuracy, abs=1 / 360 + 1e-9)
    counted = hdlif.profile(run, counting="honest")
    assert (counted.counting, counted.trained) == ("honest", True)
    assert counted.stored_mb == pytest.approx(1e-6 * path.stat().st_size, abs=1e-4)  # but for the names of the classes
    assert counted.as_dict()["sops"] == counted.sops
    logits = hdlif.Session(path).run(np.zeros((1, 2, 1, 8, 8), np.float32))
    assert logits.shape == (4, 2, 10)


def test_every_target_is_written_and_checked(run: hdlif.Run, tmp_path: Path) -> None:
    assert hdlif.export(run, tmp_path / "net.hdlif.safetensors", check=True).exists()
    source = hdlif.export(tmp_path / "net.hdlif.safetensors", tmp_path / "net.c", to="c", ram=10**5)
    assert "net_step" in source.read_text()
    with pytest.raises(ArgumentError, match="export: ram is for to = 'c' alone"):
        hdlif.export(run, tmp_path / "net.onnx", to="onnx", ram=10**5)
    with pytest.raises(InputError, match="RAM"):
        hdlif.export(run, tmp_path / "small.c", to="c", ram=10)
    assert not (tmp_path / "small.c").exists()


def test_a_run_goes_on(run: hdlif.Run) -> None:
    again = hdlif.train("digits_hdlif", epochs=1, overrides=OVERRIDES, out=run.folder, resume=True)
    assert again == run


def test_a_recipe_s_own_counts_need_no_training() -> None:
    counted = hdlif.profile("digits_hdlif")
    assert not counted.trained
    assert counted.params_mb > 0


def test_a_run_is_shown_in_one_line(run: hdlif.Run) -> None:
    assert repr(run) == f"Run({str(run.folder)!r}: accuracy {run.accuracy:.4g})"


def test_what_is_to_be_done_is_said_in_words_of_python(run: hdlif.Run, tmp_path: Path) -> None:
    with pytest.raises(ExistingRunError) as caught:
        hdlif.train("digits_hdlif", epochs=2, out=run.folder)
    assert "go on with it (resume=True), replace it (overwrite=True), or choose another" in str(caught.value)
    assert "--" not in str(caught.value)
    with pytest.raises(InputError, match="resume=True goes on with a run and overwrite=True replaces it"):
        hdlif.train("digits_hdlif", out=run.folder, resume=True, overwrite=True)


def test_an_argument_that_a_verb_does_not_take_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r'hdlif.train has no argument epoch; .*\(did you mean "epochs"\?\)'):
        hdlif.train(epoch=2, out=tmp_path / "x")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match='did you mean "data"'):
        hdlif.evaluate("x", date="digits")  # type: ignore[call-arg]
    assert "epochs" in inspect.signature(hdlif.train).parameters


def test_what_does_not_fit_is_refused(run: hdlif.Run, tmp_path: Path) -> None:
    from hdlif.recipe import load_recipe

    with pytest.raises(InputError, match="set them in the Recipe that is given"):
        hdlif.train(load_recipe("digits_hdlif"), epochs=1, out=tmp_path)
    with pytest.raises(InputError, match="to = 'tflite' is unknown; choose one of artefact, c, nir, onnx"):
        hdlif.export(run, tmp_path / "x", to="tflite")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="counting = 'none' is unknown; choose one of paper, honest"):
        hdlif.profile(run, counting="none")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"give a list, such as \['seed=1'\]"):
        hdlif.train("digits_hdlif", overrides="seed=1", out=tmp_path / "x")
    with pytest.raises(InputError, match="threads = 0; give a number of at least 1"):
        hdlif.train("digits_hdlif", threads=0, out=tmp_path / "x")
    for path in (tmp_path / "nothing", Path("runs/nothing/model.safetensors"), Path("nothing.safetensors")):
        for verb in (hdlif.evaluate, hdlif.profile):
            with pytest.raises(InputError, match="there is no such file or folder; check the path"):
                verb(path)
