import inspect
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import hdlif
from deployed_graphs import random_input, residual_network
from hdlif.cli.predict import BATCH
from hdlif.cli.predict import predict_files as run
from hdlif.deploy import export
from hdlif.errors import InputError, printable
from hdlif.graph.artefact import InputRecord, save
from hdlif.inputs import MOST_BYTES
from hdlif.inputs.datasets import DIGITS_MEAN, DIGITS_STD
from hdlif.recipe import builders
from hdlif.runtime import Session
from hdlif.runtime.images import read_image
from hdlif.runtime.inputs import read_inputs
from mutations import assert_in_one_line
from small_recipes import recipe
from special_files import special_files, within


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    save(residual_network(), tmp_path / "net.hdlif.safetensors")
    return tmp_path / "net.hdlif.safetensors"


def test_images_and_arrays_give_classes(artefact: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.save(tmp_path / "b.npy", pixels.transpose(2, 0, 1))
    normalised = ((pixels / np.float32(255) - np.float32(0.5)) / np.float32(0.25)).transpose(2, 0, 1)
    np.save(tmp_path / "c.npy", normalised)
    np.save(tmp_path / "d.npy", normalised[None].repeat(4, axis=0))
    inputs = [tmp_path / name for name in ("a.png", "b.npy", "c.npy", "d.npy")]
    results = run(artefact, inputs, layout="sequence", threads=1).as_dict()["inputs"]
    logits = Session(artefact).run(normalised[None, None]).mean(axis=0)[0]
    powers = np.exp(logits - logits.max())
    for path, result in zip(inputs, results, strict=True):
        assert result["input"] == str(path)
        assert result["class"] == logits.argmax()
        assert result["label"] == f"class {logits.argmax()}"
        np.testing.assert_allclose(result["logits"], logits, rtol=1e-6)
        np.testing.assert_allclose(result["probability"], powers.max() / powers.sum(), rtol=1e-5)


def test_an_array_may_hold_an_image_of_any_size(artefact: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    arrays = [
        rng.integers(0, 256, (12, 10, 3), dtype=np.uint8),
        rng.integers(0, 256, (12, 10), dtype=np.uint8),
        rng.integers(0, 256, (12, 10, 1), dtype=np.uint8),
        np.concatenate([rng.integers(0, 256, (9, 7, 3), dtype=np.uint8), np.full((9, 7, 1), 255, np.uint8)], axis=2),
    ]
    for i, array in enumerate(arrays):
        np.save(tmp_path / f"{i}.npy", array)
        Image.fromarray(array.squeeze()).save(tmp_path / f"{i}.png")
    of_arrays = run(artefact, [tmp_path / f"{i}.npy" for i in range(4)]).as_dict()["inputs"]
    of_images = run(artefact, [tmp_path / f"{i}.png" for i in range(4)]).as_dict()["inputs"]
    assert [result["logits"] for result in of_arrays] == [result["logits"] for result in of_images]
    assert len({tuple(result["logits"]) for result in of_arrays}) == 4


def test_a_folder_gives_all_images_below_it_in_order(artefact: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    (folder / "b").mkdir(parents=True)
    pixels = np.random.default_rng(2).integers(0, 256, (3, 9, 7, 3), dtype=np.uint8)
    names = ["a.png", "b/c.PNG", "d.jpg"]
    for name, image in zip(names, pixels, strict=True):
        Image.fromarray(image).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    results = run(artefact, [folder, folder / "a.png"]).as_dict()["inputs"]
    assert [result["input"] for result in results] == [str(folder / name) for name in [*names, "a.png"]]
    assert results[0] == results[3]
    assert results[0]["logits"] != results[1]["logits"]


def test_what_cannot_be_read_is_named_and_the_rest_answered_for(artefact: Path, tmp_path: Path) -> None:
    for number in range(BATCH + 3):
        Image.new("RGB", (7, 9), (number, 0, 0)).save(tmp_path / f"{number:02}.png")
    (tmp_path / "05.png").write_bytes(b"none")
    result = run(artefact, [tmp_path, tmp_path / "nothing.png"], threads=1)
    assert [Path(one.input).name for one in result.inputs] == [
        f"{number:02}.png" for number in range(BATCH + 3) if number != 5
    ]
    unreadable, absent = result.failed
    assert result.as_dict()["failed"] == [unreadable, absent]
    assert unreadable == (
        f"{tmp_path / '05.png'}: cannot be read as an image (it is none of BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP, or "
        "damaged); give an image, or pixels in a .npy file"
    )
    assert absent == f"{tmp_path / 'nothing.png'}: there is no such file; check the path"
    with pytest.raises(InputError, match=r"05.png: .*; 1 more cannot be used$"):
        run(artefact, [tmp_path / "05.png", tmp_path / "nothing.png"])


def test_a_file_that_is_not_there_is_said_not_to_be(tmp_path: Path) -> None:
    for kind in (
        "image",
        "series",
        "table",
        "events",
    ):
        for name in (
            "x.csv",
            "x.npy",
            "x.png",
            "x.wav",
            "x.raw",
        ):
            channels = 1 if kind == "image" else 2
            record = InputRecord((channels, 8, 1), (0.0,) * channels, (1.0,) * channels, kind=kind, resize="none")
            with pytest.raises(InputError, match=f"{name}: there is no such file; check the path$"):
                list(read_inputs(tmp_path / name, record, 8))


def test_refuses_a_folder_without_images(artefact: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no image lies in this folder"):
        run(artefact, [tmp_path / "empty"])


def test_many_inputs_are_run_in_batches_of_equally_many_steps(
    artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = [1] * (BATCH + 1) + [6, 6, 1]
    paths = []
    for i, steps in enumerate(lengths):
        paths.append(tmp_path / f"{i}.npy")
        np.save(paths[-1], random_input(residual_network(), steps, 1, seed=i)[:, 0])
    alone = [run(artefact, [path], layout="sequence").as_dict()["inputs"][0] for path in paths]
    shapes = []
    of_session = Session.run
    monkeypatch.setattr(Session, "run", lambda self, x: (shapes.append(x.shape[:2]), of_session(self, x))[1])
    assert run(artefact, paths, layout="sequence").as_dict()["inputs"] == alone
    assert shapes == [(1, BATCH), (1, 1), (6, 2), (1, 1)]


def test_four_axes_are_a_batch_of_images_unless_the_layout_is_a_sequence(artefact: Path, tmp_path: Path) -> None:
    network = residual_network()
    path = tmp_path / "x.npy"
    for count in (1, 6, 20):
        x = random_input(network, count, 1)
        np.save(path, x[:, 0])
        for layout, shown in ((None, x.swapaxes(0, 1)), ("batch", x.swapaxes(0, 1)), ("sequence", x)):
            answers = hdlif.predict(artefact, path, layout=layout)
            expected = Session(artefact).run(shown).mean(axis=0)
            np.testing.assert_allclose([one["logits"] for one in answers], expected, rtol=1e-6)
    assert [one.input for one in run(artefact, [path]).inputs] == [f"{path}[{number}]" for number in range(20)]
    np.save(path, x.reshape(5, 4, *network.input.shape))
    answers = hdlif.predict(artefact, path)
    expected = Session(artefact).run(x.reshape(5, 4, *network.input.shape).swapaxes(0, 1)).mean(axis=0)
    np.testing.assert_allclose([one["logits"] for one in answers], expected, rtol=1e-6)


def test_as_many_images_as_time_steps_are_refused_without_a_layout(artefact: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((4, 3, 9, 7), np.uint8))
    with pytest.raises(
        InputError,
        match=r"x.npy: \[4, 3, 9, 7\] is a batch of 4 images or one sequence of 4 time steps; choose the layout "
        r'"batch" or "sequence": --layout of hdlif run, layout= of hdlif.predict, \?layout= over HTTP$',
    ):
        run(artefact, [path])
    assert [len(run(artefact, [path], layout=layout).inputs) for layout in ("batch", "sequence")] == [4, 1]
    with pytest.raises(InputError, match=r"layout = 'series'; choose one of batch, sequence$"):
        hdlif.predict(artefact, path, layout="series")
    # Frames of events are no samples of their own.
    events = replace(residual_network(), input=replace(residual_network().input, kind="events", resize="none"))
    save(events, artefact)
    assert [len(run(artefact, [path], layout=layout).inputs) for layout in (None, "batch")] == [1, 4]


def test_refuses_arrays(artefact: Path, tmp_path: Path) -> None:
    for array in (
        np.zeros((3, 9, 8), np.float32),
        np.zeros((3, 9, 7)),
        np.zeros((1, 1, 1, 3, 9, 7), np.float32),
        np.zeros((2, 0, 3, 9, 7), np.float32),
        np.zeros((0, 3, 9, 7), np.float32),
        np.full((3, 9, 7), np.nan, np.float32),
        np.array(1.0, np.float32),
        np.zeros((2, 3, 9, 8), np.uint8),
    ):
        np.save(tmp_path / "x.npy", array)
        with pytest.raises(
            InputError, match=r"x.npy: .*takes \[3, 9, 7\], \[N, 3, 9, 7\] or \[N, T, 3, 9, 7\], uint8 or float32$"
        ):
            run(artefact, [tmp_path / "x.npy"])


def test_refuses_arrays_that_are_no_image(artefact: Path, tmp_path: Path) -> None:
    for shape in (
        (9, 7, 2),
        (9, 0),
        (3, 9, 8),
    ):
        np.save(tmp_path / "x.npy", np.zeros(shape, np.uint8))
        with pytest.raises(InputError, match=r"x.npy: uint8 .*; an image is \[H, W\] or \[H, W, 1, 3 or 4\]"):
            run(artefact, [tmp_path / "x.npy"])


def test_refuses_what_is_no_array(artefact: Path, tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(b"nothing")
    for name, words in (("x.npy", "cannot be read as an array"), ("absent.npy", "there is no such file")):
        with pytest.raises(InputError, match=words):
            run(artefact, [tmp_path / name])


@pytest.mark.parametrize("suffix", [".npy", ".png"])
def test_what_is_no_regular_file_is_refused_at_once(artefact: Path, tmp_path: Path, suffix: str) -> None:
    for kind, path in special_files(tmp_path, suffix).items():
        with within(10), pytest.raises(InputError) as caught:
            run(artefact, [path])
        if kind != "long":
            assert_in_one_line(caught.value)
        assert str(caught.value).startswith(printable(str(path)))


def test_files_beyond_the_stated_size_are_not_read(artefact: Path, tmp_path: Path) -> None:
    for name in ("x.npy", "x.png"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(MOST_BYTES + 1)
        with pytest.raises(InputError, match="larger than 268,435,456 bytes"):
            run(artefact, [tmp_path / name])


def test_folders_of_any_depth_are_searched_and_links_to_folders_are_not(
    artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top, depth = tmp_path / "top", 300
    top.mkdir()
    (top / "self").symlink_to(top)
    os.mkfifo(top / "fifo.png")
    monkeypatch.chdir(top)
    for _ in range(depth):
        Path("d").mkdir()
        os.chdir("d")
    Image.new("RGB", (7, 9)).save("x.png")
    # A search that calls itself would need as many frames.
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 200)
    try:
        (result,) = run(artefact, [top]).as_dict()["inputs"]
    finally:
        sys.setrecursionlimit(before)
    assert result["input"] == str(top.joinpath(*["d"] * depth, "x.png"))


def test_byte_and_memory_orders_are_read_alike(artefact: Path, tmp_path: Path) -> None:
    x = random_input(residual_network(), 6, 1)[:, 0]
    forms = {"little": x, "big": x.astype(">f4"), "fortran": np.asfortranarray(x)}
    for name, array in forms.items():
        np.save(tmp_path / f"{name}.npy", array)
    little, big, fortran = (
        run(artefact, [tmp_path / f"{name}.npy"]).as_dict()["inputs"][0]["logits"] for name in forms
    )
    assert little == big == fortran


def test_values_whose_answer_is_not_finite_are_refused(artefact: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.full((3, 9, 7), 3e38, np.float32))
    with pytest.raises(InputError, match=r"x.npy: its values are so large that the network's answer is not finite"):
        run(artefact, [tmp_path / "x.npy"])


def test_an_image_that_would_take_gigabytes_to_resize_is_refused(artefact: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2_000_000, 1), np.uint8))
    with pytest.raises(InputError, match=r"x.npy: it is 2000000x1; at most 80 million pixels and 65535 a side"):
        run(artefact, [tmp_path / "x.npy"])


def test_large_inputs_make_small_batches(artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = random_input(residual_network(), 1, 1)[:, 0]
    np.save(tmp_path / "x.npy", x)
    sizes: list[int] = []
    of_session = Session.run
    monkeypatch.setattr("hdlif.cli.predict.BATCH_VALUES", 3 * x.size)
    monkeypatch.setattr(Session, "run", lambda self, x: (sizes.append(x.shape[1]), of_session(self, x))[1])
    run(artefact, [tmp_path / "x.npy"] * 8)
    assert sizes == [3, 3, 2]


def test_runs_where_torch_cannot_be_imported(artefact: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((3, 9, 7), np.uint8))
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from hdlif.cli.predict import predict_files as run\n"
        f"print(run(Path({str(artefact)!r}), [Path({str(tmp_path / 'x.npy')!r})]).as_dict()['inputs'][0]['label'])\n"
        "assert not [name for name in sys.modules if name.startswith(('torchvision', 'lightning'))]\n"
        # nor what only costs time here
        "assert not {'PIL', 'difflib', 'importlib.metadata'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=_environment())
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("class ")


def _environment() -> dict[str, str]:
    """The child finds the same `hdlif` as this process."""
    return os.environ | {"PYTHONPATH": str(Path(hdlif.__file__).parents[1])}


def test_limits_are_options(artefact: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", random_input(residual_network(), 1, 1)[0, 0])
    command = [sys.executable, "-m", "hdlif", "run", str(artefact), str(tmp_path / "a.npy")]
    granted = ["--max-bytes", "10000000", "--max-operations", "100000000"]
    assert subprocess.run([*command, *granted], capture_output=True, check=True).stdout
    for option in ("--max-bytes", "--max-operations"):
        refused = subprocess.run([*command, option, "10000"], capture_output=True, text=True, check=False)
        assert refused.returncode == 2
        assert f"(hdlif run: {option})" in refused.stderr
        assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(("frames", "steps"), [("rows", 8), ("pixels", 64)])
def test_a_network_trained_on_parts_of_pictures_is_shown_a_picture_part_by_part(
    tmp_path: Path, frames: str, steps: int
) -> None:
    chosen = recipe(f"data.frames={frames}", f"time_steps={steps}")
    torch.manual_seed(0)
    network = builders.build_model(chosen).eval()
    labels = builders.data_kind(chosen).labels
    path = tmp_path / "rows.hdlif.safetensors"
    export(network, path, input=builders.input_record(chosen), labels=labels, time_steps=steps)
    test = builders.build_data(chosen).test
    Image.fromarray(test.pixels[3, 0].numpy()).save(tmp_path / "digit.png")
    np.save(tmp_path / "digit.npy", test.pixels[3, 0].numpy())
    x, _ = test.sequence(torch.tensor([3]))
    expected = Session(path).run(x.contiguous().numpy()).mean(axis=0)[0].tolist()
    for result in run(path, [tmp_path / "digit.png", tmp_path / "digit.npy"]).as_dict()["inputs"]:
        assert result["logits"] == expected
    # A larger picture is made smaller as a whole, and then shown.
    Image.fromarray(test.pixels[3, 0].numpy()).resize((16, 16), Image.Resampling.NEAREST).save(tmp_path / "large.png")
    (large,) = run(path, [tmp_path / "large.png"]).as_dict()["inputs"]
    whole = InputRecord((1, 8, 8), DIGITS_MEAN, DIGITS_STD)
    shown = builders.FRAMES[frames](torch.from_numpy(read_image(tmp_path / "large.png", whole)[0]))
    assert large["logits"] == Session(path).run(shown.contiguous().numpy()).mean(axis=0)[0].tolist()


def test_answers_from_python_are_those_of_the_command(tmp_path: Path) -> None:
    network, images = tmp_path / "net.hdlif.safetensors", tmp_path / "images.npy"
    save(residual_network(), network)
    np.save(images, random_input(residual_network(), 1, 1)[0, 0])
    (answer,) = hdlif.predict(network, images)
    assert [answer] == [one.answer for one in run(network, [images]).inputs]
    with pytest.raises(InputError, match=r"nothing\.npy"):
        hdlif.predict(network, images, tmp_path / "nothing.npy")
