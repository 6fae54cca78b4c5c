"""Maps of classes and of objects: from a folder through training to `hdlif eval`, the report and a sheet."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cases import every, sampled
from hdlif.cli.data import inspect
from hdlif.cli.data_text import as_text
from hdlif.cli.eval import evaluate, evaluation_text
from hdlif.cli.report import report
from hdlif.errors import DataError, RecipeError
from hdlif.recipe import builders, load_recipe
from hdlif.recipe.runs.recipe_data import load_with_data
from label_maps import write_maps
from trainings import train

SMALL = ["data.size=16", "data.batch_size=4", "model.width=4", "model.depth=1", "training.epochs=1"]
OF_CLASSES = ["data.instances=false", "data.classes=[ground, dark, bright]", "task.kind=segment"]


@every(kind=["segment", "instances"])
def test_maps_are_learned_measured_and_reported(kind: str, tmp_path: Path) -> None:
    root = write_maps(tmp_path / kind / "data", instances=kind == "instances")
    out = tmp_path / kind / "run"
    overrides = [*SMALL, *(OF_CLASSES if kind == "segment" else [])]
    result = train("nuclei_hdlif", data=str(root), overrides=overrides, out=out, memory_repeats=0)
    names = {"segment": ["miou", "dice", "pixel_accuracy"], "instances": ["ap50", "iou", "dice"]}[kind]
    assert list(result.measured) == names
    checked = evaluate(out)
    assert checked.metrics == pytest.approx(result.measured)
    assert evaluation_text(checked.as_dict()).startswith(names[0])
    labels = {"segment": ["ground", "dark", "bright"], "instances": ["background", "object"]}[kind]
    confusion = json.loads((out / "confusion.json").read_text())
    assert (confusion["labels"], confusion["of"]) == (labels, "pixels")
    gallery = json.loads((out / "gallery.json").read_text())["images"]
    page = Path(report([out])["report"]).read_text()
    assert "pixels" in page
    assert 1 <= len(gallery) <= 6
    assert [one["score"] for one in gallery] == sorted(one["score"] for one in gallery)
    for one in gallery:
        assert Image.open(io.BytesIO(base64.b64decode(one["truth"]))).size == (128, 128)
        assert one["answer"] in page
    assert "; img-src data:" in page


def checked(settings: list[str]) -> None:
    recipe, found = load_with_data("nuclei_hdlif", settings)
    builders.check(recipe)
    builders.build_data(recipe, found=found)


def test_other_networks_and_tasks_are_refused(tmp_path: Path) -> None:
    root = write_maps(tmp_path / "a")
    resnet = "model={kind: resnet, width: 4, blocks: [1]}"
    for overrides, said in (
        ([resnet, *SMALL[:2]], 'model.resnet gives one answer for an image, and task.kind = "segment" does not learn'),
        (
            [*SMALL, "task.kind=instances"],
            "learns the object at each pixel, .* gives a class at each pixel; --set task.k",
        ),
        ([*SMALL, "model.depth=5"], r"model.unet does not fit images of \[1, 16, 16\]"),
        ([*SMALL, "data.augment=[autoaugment_imagenet]"], "moves pixels and not the targets"),
    ):
        settings = [*OF_CLASSES, *overrides, f"data.path={root}"]
        with pytest.raises((RecipeError, DataError), match=said):
            checked(settings)
    with pytest.raises(RecipeError, match=r"model\.unet gives a map for an image"):
        builders.check(load_recipe("digits_hdlif", ["model={kind: unet, width: 4, depth: 1}"]))


def test_objects_of_new_folders_are_measured_as_those_of_the_training(tmp_path: Path) -> None:
    """`hdlif eval RUN --data` takes another folder, whose images have other sizes."""
    out = tmp_path / "run"
    root = write_maps(tmp_path / "a", instances=True)
    train("nuclei_hdlif", data=str(root), overrides=SMALL, out=out, memory_repeats=0)
    other = write_maps(tmp_path / "b", 5, instances=True, separate=True, sizes=((30, 20),))
    assert evaluate(out, data=str(other), part="all").n == 5
    result = evaluate(out)
    assert result.as_dict(confusion=True)["labels"] == ["background", "object"]
    with pytest.raises(RecipeError, match=r"data.instances = False is refused: the network learned True"):
        evaluate(out, data=str(other), part="all", overrides=["data.instances=false"])


def test_a_sheet_shows_images_with_their_maps(tmp_path: Path) -> None:
    for instances in (False, True):
        root = write_maps(tmp_path / f"{instances}", instances=instances)
        (root / "labels" / "03.png").unlink()
        settings = [f"data.instances={str(instances).lower()}"]
        result = inspect(str(root), overrides=settings, out=tmp_path / f"{instances}.png")
        assert result["kind"] == "masks"
        with Image.open(tmp_path / f"{instances}.png") as sheet:
            pixels = np.asarray(sheet)
        # A grey image has grey pixels alone; maps are in colours.
        coloured = (pixels.max(-1).astype(int) - pixels.min(-1)) > 30
        assert coloured.mean() > 0.02
        text = as_text(result)
        assert "unreadable     1 file; a training refuses it" in text
        assert "images/03.png: there is no labels/03.png" in text
        assert ("learned        objects" if instances else "learned        0, 1, 2") in text


@every("instances", "kind", of=[("true", "instances"), ("false", "segment")])
def test_the_recipe_follows_from_the_data(instances: str, kind: str, tmp_path: Path) -> None:
    root = str(write_maps(tmp_path / kind, instances=instances == "true"))
    with pytest.raises(RecipeError, match="are the numbers of its maps those of objects, or of classes"):
        load_with_data(None, data=root)
    recipe, _ = load_with_data(None, [f"data.instances={instances}", "data.size=16"], data=root)
    assert (recipe.model.kind, recipe.task.kind) == ("unet", kind)
    assert recipe.data.augment == ("flip", "flip_vertical", "random_resized_crop")
    assert recipe.training.epochs * (8 // recipe.data.batch_size) >= 800


@sampled(
    5,
    rule=["stbp", "sltt", "stochastic_step", "stochastic_window", "ottt", "ndot"],
    network=["nuclei_hdlif", "nuclei_hdlif_w1p5_s4", "nuclei_lif"],
)
def test_rules_train_networks_of_maps(rule: str, network: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    if rule in ("ottt", "ndot"):
        network = "nuclei_lif"
    length = ", length: 2" if rule == "stochastic_window" else ""
    root = write_maps(tmp_path_factory.mktemp("maps"), 6, instances=True)
    settings = [*SMALL, "data.size=8", f"data.path={root}", f"rule={{kind: {rule}{length}}}"]
    builders.try_update(load_with_data(network, settings)[0])
