"""Pages that can be followed from their first to their last line, and that show what is printed."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from deployed_graphs import random_input, residual_network
from distributions import WAVE, install
from hdlif.data.sources.sounds import SOUND_KEYS
from hdlif.deploy.c import fixed_point, translate
from hdlif.deploy.c.building import FLAGS, compiler
from hdlif.inputs.recordings import READERS
from hdlif.recipe import builders
from hdlif.recipe.builders.external_parts import GROUPS
from hdlif.recipe.builders.own_kinds import arguments
from hdlif.recipe.builders.part import KINDS
from hdlif.serve.ray_app import read_arguments
from pages import blocks, followed, keys_in_rows, page
from serving_processes import server
from single_thread import one_thread
from small_recipes import recipe
from trainings import train

__all__ = ["one_thread"]

ROOT = Path(__file__).parents[2]
FROM_OTHERS = {"from_snntorch", "from_spikingjelly"}
"""tests/peers/test_migration_pages.py runs these, where those libraries are installed."""


SHOWN = {
    "tutorials/first_network": {"run": "digit.png: 7 ("},
    "tutorials/your_own_images": {"data": "trained on     3x16x16, RGB", "run": "new.png: triangle ("},
    "tutorials/your_own_boxes": {"data": "triangle", "run": "new.answer.png"},
    "tutorials/your_own_masks": {"data": "objects", "run": "objects; new.answer.png"},
    "tutorials/your_own_sensor_data": {"data": "kept together  8, each a group of", "eval": "% of "},
    "tutorials/microcontroller": {"export": "firmware/digits.c and digits.h"},
    "tutorials/your_own_neuron": {"neurons": "states, 0 at first: potential, memory", "report": "both.html"},
    "how_to/your_own_datasets": {"data": "handwriting:Digits: data sets of train/test, split here (validation 0.15"},
    "how_to/your_own_parts": {"recipes": "", "train": "speckled"},
    "how_to/your_own_recordings": {
        "data": "sensor         16x16 (height, width), from data.sensor",
        "run": ": right (",
    },
    "how_to/your_own_sensor_data": {
        "data": "groups         ann, bob, cem, dora, eve, finn",
        "run": "activity.html\n",
    },
    "how_to/your_own_sounds": {"data": "time_steps=31", "run": "sounds/bell/"},
    "how_to/your_own_tables": {"data": "features       3: height, width, petal", "run": "flowers.csv:2: "},
    "how_to/your_own_targets": {
        "data": 'files in labels.csv, groups in "person", split here',
        "run": ": loop (",
    },
}
"""What a last output of a subcommand has in it, on pages that are followed."""
SHORT = {
    "how_to/your_own_parts": "training.epochs=1 model.width=4 model.blocks=[1] data.train=64",
    "how_to/your_own_recordings": "training.epochs=4 model.width=4",
    "how_to/your_own_sounds": "training.epochs=1",
    "how_to/your_own_tables": "training.epochs=1",
}
"""What makes the trainings of a page short."""
LONG = {
    "how_to/your_own_datasets": "training.epochs=1 model.width=4",
    "how_to/your_own_sensor_data": "training.epochs=1 data.stride=64",
    "how_to/your_own_targets": "training.epochs=6",
    "tutorials/microcontroller": "training.epochs=2",
    "tutorials/your_own_boxes": "training.epochs=4",
    "tutorials/your_own_masks": "training.epochs=3",
    "tutorials/your_own_neuron": "training.epochs=1",
}
"""The same, of pages that are followed in the slow tier; the tutorials whose answers must be right train as written."""
TUTORIALS = [name for name in SHOWN if name.startswith("tutorials/")]


def follow(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, overrides: str | None = None) -> None:
    training = None if overrides is None else [part for one in overrides.split() for part in ("--set", one)]
    # `make` builds firmware for an emulated processor.
    tools = all(map(shutil.which, ("make", "arm-none-eabi-gcc", "qemu-system-arm")))
    said = followed(page(name), folder, monkeypatch, training=training, without=[] if tools else ["make"])
    for verb, words in SHOWN[name].items():
        assert words in said[verb]


@pytest.mark.parametrize("name", SHORT)
def test_every_step_of_a_page_works(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(name, tmp_path, monkeypatch, SHORT[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*LONG, *TUTORIALS}))
def test_every_step_of_a_longer_page_works(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(name, tmp_path, monkeypatch, LONG.get(name))


def test_every_tutorial_is_followed() -> None:
    names = {path.stem for path in (ROOT / "docs/tutorials").glob("*.md")} - {"index"}
    assert names == {name.removeprefix("tutorials/") for name in TUTORIALS} | FROM_OTHERS


def test_every_key_of_a_data_set_has_a_row_in_its_page() -> None:
    elsewhere = keys_in_rows(page("how_to/your_own_targets")) | {"path", "resample"}
    of_others = {*arguments("folder"), *arguments("events"), *SOUND_KEYS}
    for name, keys in {
        "images": arguments("folder"),
        "recordings": arguments("events"),
        "sensor_data": arguments("series") - {*SOUND_KEYS},
        "sounds": {*SOUND_KEYS, "group", "split"},
        "tables": arguments("table"),
        "datasets": arguments("shards", "arrow") - of_others,
        "targets": {"targets", "file", "label", "group", "values", "labels"} & arguments("folder"),
    }.items():
        assert keys - keys_in_rows(page(f"how_to/your_own_{name}")) <= elsewhere, name
    datasets, recordings = page("how_to/your_own_datasets"), page("how_to/your_own_recordings")
    assert all(f"`{key}`" in datasets for key in arguments("shards") - {"path"})
    assert all(f"`{suffix}`" in recordings for suffix in READERS)


def test_the_package_of_the_page_on_own_parts_offers_them_to_every_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = page("how_to/your_own_parts")
    groups = tomllib.loads(blocks(text, "toml")[0])["project"]["entry-points"]
    install(tmp_path, monkeypatch, groups=groups, my_augmentations=blocks(text, "python")[0], my_neurons=WAVE)
    builders.check(recipe("data.augment=[speckle]", "neuron={kind: wave}"))
    assert set(re.findall(r"`(hdlif\.\w+)`", text)) == {GROUPS[key] for key in KINDS}


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler is installed")
@pytest.mark.parametrize("kind", ["float", "fixed"])
def test_the_call_of_the_page_on_c_compiles(kind: str, tmp_path: Path) -> None:
    graph = residual_network()
    fixed = fixed_point(graph, random_input(graph, 4, 2), 4) if kind == "fixed" else None
    (tmp_path / "digits.h").write_text(translate(graph, "digits", fixed=fixed).header)
    (tmp_path / "call.c").write_text(blocks(page("how_to/c"), "c")[0])
    command = [compiler(), *FLAGS, "-c", "-o", str(tmp_path / "call.o"), str(tmp_path / "call.c")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_every_request_of_the_page_on_serving_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = page("how_to/serving")
    exec(blocks(text, "python")[0], {})
    requests = re.findall(r"^    ((?:stream=|curl ).*)$", text, re.MULTILINE)
    assert len(requests) == 14
    with server("pets.hdlif.safetensors", "walk=motion.hdlif.safetensors") as process:
        place = process.address.removeprefix("http://")
        script = "\n".join(f"{request.replace('localhost:8000', place)}\necho" for request in requests)
        done = subprocess.run(["bash", "-e", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line]
    assert sum('"label"' in line for line in lines) == 7
    assert '"t": 5' in lines[-3]
    assert '"unknown_content_type"' in lines[-1]


def test_the_configuration_file_of_ray_is_read() -> None:
    (application,) = yaml.safe_load(blocks(page("how_to/serving"), "yaml")[0])["applications"]
    assert application["import_path"] == "hdlif.serve.ray_app:build"
    found = read_arguments(application["args"])
    assert (sorted(found.paths), found.replicas) == (["pets", "walk"], 4)
    assert (found.settings.latency_budget_ms, found.settings.max_body_bytes) == (1.5, 2**26)


@pytest.mark.alone
@pytest.mark.slow
def test_the_reproduction_of_the_page_on_machines_runs_and_the_contiguous_layout_is_right(tmp_path: Path) -> None:
    text = page("reference/machines").split("PyTorch alone:\n")[1]
    (block,) = re.findall(r"(?:^    [^\n]*\n|^\n)+", text, re.MULTILINE)[:1]
    script = tmp_path / "onednn_gradient.py"
    script.write_text(re.sub("^    ", "", block, flags=re.MULTILINE))
    threads = os.environ | {"OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, script], env=threads, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = re.findall(r"of \d+x\d+, (\d+) channels, torch\.(\w+): off by (\S+) of", done.stdout)
    contiguous = [float(error) for _, layout, error in found if layout == "contiguous_format"]
    wide = [float(error) for channels, layout, error in found if (channels, layout) == ("16", "channels_last")]
    assert (len(contiguous), len(wide)) == (22, 2)
    assert max(*contiguous, *wide) < 1e-5


@pytest.mark.slow
def test_python_of_the_readme_is_as_accurate_as_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default tests run it as it stands, with its own assertion; here with as many epochs as the recipe."""
    monkeypatch.chdir(tmp_path)
    summary = train("digits_hdlif_w1p5_s4_parallel", out=tmp_path / "run", memory_repeats=0)
    epochs = summary.recipe["training"]["epochs"]
    code = blocks((ROOT / "README.md").read_text("utf-8"), "python")[-1]
    longer, count = re.subn(r"TrainingConfig\(epochs=\d+", f"TrainingConfig(epochs={epochs}", code)
    assert count == 1
    names: dict[str, object] = {}
    exec(longer, names)
    assert float(names["accuracy"]) >= summary.accuracy - 0.01  # type: ignore[arg-type]
    assert float(names["accuracy"]) > 0.97  # type: ignore[arg-type]
