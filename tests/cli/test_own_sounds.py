"""From sounds of one's own through training to `hdlif run` on a clip, to the bit."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hdlif.cli.data import inspect
from hdlif.cli.data_text import as_text
from hdlif.cli.eval import evaluate
from hdlif.cli.export import export_file as export
from hdlif.cli.predict import predict_files as run
from hdlif.errors import DataError, InputError, RecipeError
from hdlif.graph.artefact import load
from hdlif.graph.ops.graph import SoundRecord
from hdlif.recipe import builders
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.runtime import Session
from sound_files import CLASSES, tone, wav_bytes, write_sounds
from trainings import train

FAST = ["model.widths=[4, 4]", "data.batch_size=8", "time_steps=15", "training.epochs=2"]
SOUND = ["data.seconds=0.25", "data.mels=8", "data.group=GROUP_*.wav"]


def trained(data: Path, out: Path, *overrides: str) -> None:
    train("sines_hdlif", data=str(data), overrides=[*FAST, *SOUND, *overrides], out=out, memory_repeats=0)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("own")
    trained(write_sounds(root / "data"), root / "run")
    export(root / "run", out=root / "net.hdlif.safetensors")
    return root / "run"


def test_run_gives_what_training_made_of_a_clip_to_the_bit(run_folder: Path) -> None:
    path, data = run_folder.parent / "net.hdlif.safetensors", run_folder.parent / "data"
    recipe = load_trained(run_folder).recipe
    record = load(path).input
    assert record == builders.input_record(recipe)
    assert record.sound == SoundRecord(8000, 2000, "first", 2000, 8, 256, 128, 20.0, 4000.0)
    by_logits = {tuple(one["logits"]): Path(one["input"]).parent.name for one in run(path, [data]).as_dict()["inputs"]}
    session, seen = Session(path), 0
    for part in builders.build_data(recipe).parts:
        for index in range(len(part)):
            x, label = part.sequence(torch.tensor([index]))
            logits = tuple(session.run(x.contiguous().numpy()).mean(axis=0)[0].tolist())
            assert by_logits[logits] == CLASSES[int(label)]
            seen += 1
    assert seen == 20


def test_run_needs_no_torch(run_folder: Path) -> None:
    path, clip = run_folder.parent / "net.hdlif.safetensors", run_folder.parent / "data" / "low" / "p0_0.wav"
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\nfrom hdlif.cli.predict import predict_files as run\n"
        f"print(run(Path({str(path)!r}), [Path({str(clip)!r})]).as_dict()['inputs'][0]['logits'])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == str(run(path, [clip]).as_dict()["inputs"][0]["logits"])


def test_clips_of_other_rates_and_lengths_are_taken_and_what_is_none_is_refused(
    run_folder: Path, tmp_path: Path
) -> None:
    path = run_folder.parent / "net.hdlif.safetensors"
    (tmp_path / "short.wav").write_bytes(wav_bytes(tone("low", 1, 0.1, 44100), 44100))
    (tmp_path / "long.wav").write_bytes(wav_bytes(tone("low", 1, 1.0)))
    assert len(run(path, [tmp_path]).as_dict()["inputs"]) == 2
    (tmp_path / "cut.wav").write_bytes(wav_bytes(tone("low", 1))[:-10])
    with pytest.raises(InputError, match=r"cut.wav: cannot be read as a sound \(its chunk 'data' claims"):
        run(path, [tmp_path / "cut.wav"])


def test_windows_of_a_long_sound_are_answered_one_by_one(tmp_path: Path) -> None:
    write_sounds(tmp_path / "data", seconds=0.5)
    trained(tmp_path / "data", tmp_path / "run", "data.clips=windows", "data.every=0.125", "training.epochs=1")
    path = tmp_path / "net.hdlif.safetensors"
    export(tmp_path / "run", out=path)
    clip = tmp_path / "data" / "low" / "p0_0.wav"
    assert [one["input"] for one in run(path, [clip]).as_dict()["inputs"]] == [
        f"{clip}@{begin}s" for begin in ("0", "0.125", "0.25")
    ]
    assert evaluate(path, data=str(tmp_path / "data")).n == evaluate(tmp_path / "run").n


def test_inspect_says_and_draws_what_would_be_trained_on(tmp_path: Path) -> None:
    write_sounds(tmp_path / "data")
    result = inspect(str(tmp_path / "data"), overrides=[*SOUND, "data.clips=centre"], out=tmp_path / "sheet.png")
    assert (result["kind"], result["input"]["shape"]) == ("series", [8, 15, 1])
    assert (result["rates"], result["sound"]["mels"]) == ({"8000": 20}, 8)
    text = as_text(result)
    for line in (
        "sounds         8000 Hz, from 20 files of 8000 Hz",
        "clips          0.25 s, from the centre; 0 files are shorter (silence is added), 0 longer",
        "frames         8 mels of 20 to 4000 Hz, 32 ms every 16 ms",
        "trained on     a step sees 8 numbers, that time's alone: time_steps=15",
    ):
        assert line in text.splitlines()
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.mels=0", "of sounds at 8,000 Hz, in samples: mels = 0; it must be an integer in 1..256"),
        ("data.mels=128", "mels = 128 are too many for frames of 256 samples"),
        ("data.seconds=-1", r"seconds = -1.0 is refused|seconds = -1 is refused"),
        ("data.seconds=0.001", "samples = 8; it must be at least hop = 128"),
        ("data.every=1", "every = 1(.0)? is of windows; set clips=windows too"),
        ("data.clips=last", "clips = 'last' is unknown; choose one of centre, first, windows"),
        ("data.window=8", "window = 8 is not of a folder of sounds"),
        ("data.rate=8000", "rate = 8000 is not of a folder of sounds"),
        ("data.resample=10", "resample = 10 is refused; of sounds it should be 1,000 to 384,000"),
        ("data.highest_hz=5000", r"lowest_hz, highest_hz = \(20.0, 5000.0\); they must ascend in 0..4000"),
        ("data.group=p", "group = 'p' is refused; of files by class it is a pattern"),
        ("time_steps=16", "time_steps = 16, and a series has 15"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_training(
    run_folder: Path, tmp_path: Path, override: str, words: str
) -> None:
    with pytest.raises(RecipeError, match=words):
        trained(run_folder.parent / "data", tmp_path / "run", override)
    assert list(tmp_path.iterdir()) == []


def test_readings_and_sounds_are_not_taken_for_one_another(run_folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((20, 15, 8)), y=np.arange(20) % 2)
    for take in (run_folder, run_folder.parent / "net.hdlif.safetensors"):
        with pytest.raises(
            (DataError, RecipeError), match=r"is of readings, and the network takes sounds|is not of arrays"
        ):
            evaluate(take, data=str(tmp_path / "x.npz"))
