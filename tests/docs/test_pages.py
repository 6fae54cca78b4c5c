"""Pages that can be followed from their first to their last line, and that show what is printed."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from cases import naming
from deployed_graphs import coded_network, random_input, residual_network
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
    "tutorials/your_own_boxes_and_masks#Boxes": {"data": "triangle", "run": "new.answer.png"},
    "tutorials/your_own_boxes_and_masks#Masks": {"data": "objects", "run": "objects; new.answer.png"},
    "tutorials/your_own_sensor_data": {"data": "kept together  8, each a group of", "eval": "% of "},
    "tutorials/microcontroller": {"export": "firmware/digits.c and digits.h"},
    "tutorials/learns_its_wearer": {"adapt": "of 225 samples", "export": "equal the reference's bit for bit"},
    "tutorials/your_own_neuron": {"neurons": "states, 0 at first: potential, memory", "report": "both.html"},
    "how_to/datasets#Your own data sets": {
        "data": "handwriting:Digits: data sets of train/test, split here (validation 0.15",
    },
    "how_to/images#Event-camera data": {
        "data": "sensor         16x16 (height, width), from data.sensor",
        "run": ": right (",
    },
    "how_to/images#Values or several labels": {
        "data": 'files in labels.csv, groups in "person", split here',
        "run": ": loop (",
    },
    "how_to/series#Audio": {"data": "time_steps=31", "run": "sounds/bell/"},
    "how_to/series#Sensor data": {
        "data": "groups         ann, bob, cem, dora, eve, finn",
        "run": "activity.html\n",
    },
    "how_to/series#Tables of rows": {"data": "features       3: height, width, petal", "run": "flowers.csv:2: "},
    "how_to/your_own_parts": {"neurons": "parameter rise = 0.1, fixed", "recipes": "", "train": "speckled"},
}
"""Text in the last output of a subcommand, on pages or sections that are followed, before their exercises."""
SHORT = {
    "how_to/images#Event-camera data": "training.epochs=4 model.width=4",
    "how_to/series#Audio": "training.epochs=1",
    "how_to/series#Tables of rows": "training.epochs=1",
    "how_to/your_own_parts": "training.epochs=1 model.width=4 model.blocks=[1] data.train=64",
}
"""What makes the trainings of a page short."""
LONG = {
    "how_to/datasets#Your own data sets": "training.epochs=1 model.width=4",
    "how_to/images#Values or several labels": "training.epochs=6",
    "how_to/series#Sensor data": "training.epochs=1 data.stride=64",
    "tutorials/microcontroller": "training.epochs=2",
    "tutorials/learns_its_wearer": "training.epochs=2",
    "tutorials/your_own_boxes_and_masks#Boxes": "training.epochs=4",
    "tutorials/your_own_boxes_and_masks#Masks": "training.epochs=3",
    "tutorials/your_own_neuron": "training.epochs=1",
}
"""The same, of pages that are followed in the slow tier; the tutorials whose answers must be right train as written."""
TUTORIALS = [name for name in SHOWN if name.startswith("tutorials/")]
MOST_BYTES = 100_000
"""Of a figure."""


def follow(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, overrides: str | None = None) -> None:
    training = None if overrides is None else [part for one in overrides.split() for part in ("--set", one)]
    # `make` builds firmware for an emulated processor.
    tools = all(map(shutil.which, ("make", "arm-none-eabi-gcc", "qemu-system-arm")))
    text, heading, exercises = page(name).partition("\n## Exercises\n")
    names: dict[str, object] = {}
    said = followed(text, folder, monkeypatch, training=training, without=[] if tools else ["make"], names=names)
    for verb, words in SHOWN[name].items():
        assert words in said[verb]
    followed(heading + exercises, folder, monkeypatch, training=training, names=names)


@pytest.mark.parametrize("name", SHORT)
def test_every_step_of_a_page_works(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(name, tmp_path, monkeypatch, SHORT[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*LONG, *TUTORIALS}))
def test_every_step_of_a_longer_page_works(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(name, tmp_path, monkeypatch, LONG.get(name))


def test_every_tutorial_is_followed() -> None:
    names = {path.stem for path in (ROOT / "docs/tutorials").glob("*.md")} - {"index"}
    assert names == {name.removeprefix("tutorials/").partition("#")[0] for name in TUTORIALS} | FROM_OTHERS


def test_every_tutorial_has_two_figures_that_are_small_and_described() -> None:
    for path in sorted({*(ROOT / "docs/tutorials").glob("*.md")} - {ROOT / "docs/tutorials/index.md"}):
        with naming(path.stem):
            figures = re.findall(r"^!\[(.*)\]\((.*)\)$", path.read_text("utf-8"), re.MULTILINE)
            assert len(figures) >= 2
            assert all(len(described.split()) > 5 for described, _ in figures)
            assert all((path.parent / image).stat().st_size < MOST_BYTES for _, image in figures)


def test_every_key_of_a_data_set_has_a_row_in_its_page() -> None:
    targets = {"targets", "file", "label", "group", "values", "labels"}
    of_others = {*arguments("folder"), *arguments("events"), *SOUND_KEYS}
    for name, keys in {
        "images": arguments("folder"),
        "images#Values or several labels": targets & arguments("folder"),
        "images#Event-camera data": arguments("events") - targets,
        "series#Sensor data": arguments("series") - {*SOUND_KEYS},
        "series#Audio": {*SOUND_KEYS, "group", "split"},
        "series#Tables of rows": arguments("table"),
        "datasets": arguments("shards", "arrow") - of_others,
    }.items():
        assert keys - keys_in_rows(page(f"how_to/{name}")) <= {"path", "resample"}, name
    datasets, recordings = page("how_to/datasets"), page("how_to/images#Event-camera data")
    assert all(f"`{key}`" in datasets for key in arguments("shards") - {"path"})
    assert all(f"`{suffix}`" in recordings for suffix in READERS)


def test_the_package_of_the_page_on_own_parts_offers_them_to_every_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = page("how_to/your_own_parts")
    groups = tomllib.loads(blocks(text, "toml")[0])["project"]["entry-points"]
    augmentations = blocks(page("how_to/your_own_parts#An augmentation"), "python")[0]
    install(tmp_path, monkeypatch, groups=groups, my_augmentations=augmentations, my_neurons=WAVE)
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


DEVICE = r"""
#include <stdio.h>
#include <stdlib.h>
#include "tracker.h"

static uint32_t readings, windows, saved;

void read_sensor(float values[TRACKER_FRAME])
{
    for (int k = 0; k < TRACKER_FRAME; k++)
        values[k] = (float)((readings + 3 * k) % 7);
    readings++;
}

uint32_t pressed_button(void)
{
    if (windows == 4) {
        printf("%u windows, %u saved\n", windows, saved);
        exit(0);
    }
    return windows++ % 2 ? 1 : TRACKER_LABELS;
}

int load(void *bytes, uint32_t size)
{
    (void)bytes;
    return size == 0;
}

void save(const void *bytes, uint32_t size)
{
    saved += size == sizeof(tracker_learned) && ((const tracker_learned *)bytes)->updates == saved + 1;
}

void show(const char *label)
{
    puts(label);
}
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler is installed")
@pytest.mark.parametrize("kind", ["float", "fixed"])
def test_the_program_of_the_page_on_learning_classifies_and_learns(kind: str, tmp_path: Path) -> None:
    graph = coded_network()
    graph = replace(graph, input=replace(graph.input, kind="events", resize="none"), labels=("a", "walking", "c"))
    fixed = fixed_point(graph, random_input(graph, 4, 2), 4) if kind == "fixed" else None
    source = translate(graph, "tracker", fixed=fixed, learn="classifier")
    texts = {"tracker.h": source.header, "tracker.c": source.code, "device.c": DEVICE}
    texts["main.c"] = blocks(page("how_to/adapt"), "c")[0]
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    sources = [str(tmp_path / name) for name in texts if name.endswith(".c")]
    subprocess.run([compiler(), *FLAGS, "-o", str(tmp_path / "run"), *sources, "-lm"], check=True)
    done = subprocess.run([str(tmp_path / "run")], capture_output=True, text=True, check=True)
    *labels, last = done.stdout.splitlines()
    assert len(labels) == 4
    assert set(labels) <= set(graph.labels)
    assert last == "4 windows, 2 saved"


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
def test_the_reproduction_of_the_page_on_machines_runs_and_the_contiguous_layout_is_right() -> None:
    assert "benchmarks/onednn_gradient.py" in page("reference/installing")
    script = ROOT / "benchmarks/onednn_gradient.py"
    threads = os.environ | {"OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, script], env=threads, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = re.findall(r"of \d+x\d+, (\d+) channels, torch\.(\w+): off by (\S+) of", done.stdout)
    contiguous = [float(error) for _, layout, error in found if layout == "contiguous_format"]
    wide = [float(error) for channels, layout, error in found if (channels, layout) == ("16", "channels_last")]
    assert (len(contiguous), len(wide)) == (22, 2)
    assert max(*contiguous, *wide) < 1e-5


@pytest.mark.slow
def test_network_put_together_by_hand_is_as_accurate_as_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default tests run it as it stands, with its own assertion; here with as many epochs as the recipe."""
    monkeypatch.chdir(tmp_path)
    summary = train("digits_hdlif_w1p5_s4_parallel", out=tmp_path / "run", memory_repeats=0)
    epochs = summary.recipe["training"]["epochs"]
    code = next(one for one in blocks(page("how_to/trainer"), "python") if "Ternary()" in one)
    longer, count = re.subn(r"TrainingConfig\(epochs=\d+", f"TrainingConfig(epochs={epochs}", code)
    assert count == 1
    names: dict[str, object] = {}
    exec(longer, names)
    assert float(names["accuracy"]) >= summary.accuracy - 0.01  # type: ignore[arg-type]
    assert float(names["accuracy"]) > 0.97  # type: ignore[arg-type]
