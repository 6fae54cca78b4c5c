"""Boxes and maps: from a folder through training to `hdlif eval`, the report, other folders and `data inspect`."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from box_files import SMALL, write_coco, write_voc, write_yolo
from cases import every, sampled
from hdlif.cli.data import inspect
from hdlif.cli.data_text import as_text
from hdlif.cli.eval import evaluate, evaluation_text
from hdlif.cli.export import export_file
from hdlif.cli.report import report
from hdlif.errors import DataError, RecipeError
from hdlif.graph.artefact import load
from hdlif.recipe import builders, dump_recipe, load_recipe
from hdlif.recipe.runs.recipe_data import load_with_data
from hdlif.report.engine_times import images_of
from hdlif.runtime import Session
from label_maps import write_maps
from trainings import train


def test_boxes_are_learned_measured_and_reported(tmp_path: Path) -> None:
    root, out = write_voc(tmp_path / "data", 24), tmp_path / "run"
    result = train("bccd_hdlif", data=str(root), overrides=SMALL, out=out, memory_repeats=0)
    assert list(result.measured) == ["ap50", "ap", "ap50.green", "ap50.red"]
    checked = evaluate(out)
    assert checked.metrics == pytest.approx(result.measured)
    assert evaluation_text(checked.as_dict()).startswith("ap50 ")
    page = Path(report([out])["report"]).read_text()
    assert "ap50" in page
    assert "Worst predictions" in page
    assert "average precision at an overlap of 0.5" in page.lower()
    # The classes of other boxes may be in another order.
    for other, count in ((write_coco(tmp_path / "coco"), 12), (write_yolo(tmp_path / "yolo"), 12)):
        found = evaluate(out, data=str(other), part="all")
        assert (found.n, found.metrics.keys()) == (count, checked.metrics.keys())

    file = tmp_path / "net.hdlif.safetensors"
    export_file(out, to="artefact", out=file)
    graph = load(file)
    assert (graph.task.kind, graph.task.strides, graph.labels) == ("detect", (4,), ("green", "red"))
    assert graph.input.fit == "letterbox"
    again = evaluate(file, data=str(root))
    assert again.metrics == pytest.approx(checked.metrics, abs=1e-3)

    # By the name of the folder in --data-root.
    for network in (out, file):
        assert evaluate(network, data="data", data_root=tmp_path).metrics == pytest.approx(again.metrics, abs=1e-3)
    assert inspect("data", data_root=tmp_path)["path"] == str(root)
    assert len(images_of(graph.input, "data", tmp_path, compared=2).compared) == 2
    with pytest.raises(DataError, match='--data "date" is unknown'):
        evaluate(file, data="date", data_root=tmp_path)


def test_a_drifting_field_of_view_is_learned_at_each_step(tmp_path: Path) -> None:
    root, out = write_voc(tmp_path / "data", 24), tmp_path / "run"
    small = [*SMALL, "data.size=[16, 24]", "time_steps=3"]
    result = train("moving_bccd_hdlif", data=str(root), overrides=small, out=out, memory_repeats=0)
    checked = evaluate(out)
    assert checked.metrics == pytest.approx(result.measured)
    assert len(checked.per_step) == 3
    assert "Worst predictions" in Path(report([out])["report"]).read_text()
    file = tmp_path / "net.hdlif.safetensors"
    export_file(out, to="artefact", out=file)
    graph = load(file)
    assert (graph.task.kind, graph.task.combine, graph.input.shape) == ("detect", "each", (3, 16, 24))
    again = evaluate(file, data=str(root), overrides=["data.drift=2"])
    assert again.metrics == pytest.approx(checked.metrics, abs=1e-3)
    with pytest.raises(DataError, match=r"predicts boxes at each step; .*--set data\.drift=2"):
        evaluate(file, data=str(root))
    assert Session(file).run(np.zeros((3, 1, 3, 16, 24), np.float32)).shape == (3, 1, 6 * 4 * 6)


def test_without_a_recipe_it_follows_from_the_boxes(tmp_path: Path) -> None:
    data = write_yolo(tmp_path / "yolo", 24)
    recipe, found = load_with_data(None, data=str(data))
    # As a measurement of its memory does.
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe))
    assert load_recipe(tmp_path / "recipe.yaml") == recipe
    assert (recipe.model.kind, recipe.task.kind, recipe.data.size) == ("detector", "detect", (32, 48))
    assert found is not None
    assert found.classes == ("red", "green")
    picture = data / "images/000.png"
    Image.new("RGB", (64, 64)).save(picture)
    assert load_with_data(None, data=str(data))[0].data.size == (240, 320)  # images of two sizes


def test_boxes_are_counted_and_odd_ones_named(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "data")
    path = root / "Annotations/002.xml"
    path.write_text(path.read_text().replace("<xmax>", "<xmax>-"))
    seen = inspect(str(root), out=tmp_path / "sheet.png")
    assert seen["kind"] == "boxes"
    text = as_text(seen)
    assert "Pascal VOC files in Annotations" in text
    assert "warning        1 box is left out: Annotations/002.xml, object 1: it has no area" in text
    assert sum(seen["target"]["counts"]["red"].values()) + sum(seen["target"]["counts"]["green"].values()) == 17
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    assert json.dumps(seen)


def checked_with_data(name: str, settings: list[str]) -> None:
    recipe, found = load_with_data(name, settings)
    builders.check(recipe)
    builders.build_data(recipe, found=found)


def test_boxes_refuse_sizes_and_networks_that_do_not_go_with_them(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "data")
    for overrides, said in (
        (["model.blocks=[1, 1]", "data.size=[28, 48]"], r"multiples of 8, got \[28, 48\]; set data.size=\[32, 48\]"),
        (
            ["model={kind: resnet, width: 4, blocks: [1]}"],
            'model.resnet gives 2 outputs, but .* "detect" needs 144; use',
        ),
        (
            ["task={kind: classify}"],
            "learns one class of a sample, but .* gives boxes in an image; --set task.kind=detect",
        ),
        (["data.augment=[autoaugment_imagenet]"], "moves pixels but not their targets"),
        (["data.drift=2"], "gives boxes at each step; --set 'task={kind: detect, combine: each}'"),
        (["task.combine=each"], "learns boxes at each step, but .* gives boxes in an image"),
    ):
        settings = [*SMALL, f"data.path={root}", *overrides]
        with pytest.raises((RecipeError, DataError), match=said):
            checked_with_data("bccd_hdlif", settings)
    with pytest.raises(RecipeError, match=r"data\.size = \[8, 9\]: digits has square images"):
        load_with_data("digits_hdlif", ["data.size=[8, 9]"])


OF_MAPS = ["data.size=16", "data.batch_size=4", "model.width=4", "model.depth=1", "training.epochs=1"]
OF_CLASSES = ["data.instances=false", "data.classes=[ground, dark, bright]", "task.kind=segment"]


@every(kind=["segment", "instances"])
def test_maps_are_learned_measured_and_reported(kind: str, tmp_path: Path) -> None:
    root = write_maps(tmp_path / kind / "data", instances=kind == "instances")
    out = tmp_path / kind / "run"
    overrides = [*OF_MAPS, *(OF_CLASSES if kind == "segment" else [])]
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
    if kind == "instances":
        # Another folder, whose images have other sizes.
        other = write_maps(tmp_path / "other", 5, instances=True, separate=True, sizes=((30, 20),))
        assert evaluate(out, data=str(other), part="all").n == 5
        with pytest.raises(RecipeError, match=r"data.instances = False is refused: the network learned True"):
            evaluate(out, data=str(other), part="all", overrides=["data.instances=false"])


def test_maps_refuse_other_networks_and_tasks(tmp_path: Path) -> None:
    root = write_maps(tmp_path / "a")
    resnet = "model={kind: resnet, width: 4, blocks: [1]}"
    for overrides, said in (
        (
            [resnet, *OF_MAPS[:2]],
            'model.resnet returns one output for an image, which task.kind = "segment" does not support',
        ),
        (
            [*OF_MAPS, "task.kind=instances"],
            "learns the object at each pixel, .* gives a class at each pixel; --set task.k",
        ),
        ([*OF_MAPS, "model.depth=5"], r"multiples of 32, got \[16, 16\]; set data.size=\[32, 32\]"),
    ):
        settings = [*OF_CLASSES, *overrides, f"data.path={root}"]
        with pytest.raises((RecipeError, DataError), match=said):
            checked_with_data("nuclei_hdlif", settings)
    with pytest.raises(RecipeError, match=r"model\.unet returns a map for an image"):
        builders.check(load_recipe("digits_hdlif", ["model={kind: unet, width: 4, depth: 1}"]))


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
        assert "unreadable     1 file, which stops training" in text
        assert "images/03.png: there is no labels/03.png" in text
        assert ("learned        objects" if instances else "learned        0, 1, 2") in text


@every("instances", "kind", of=[("true", "instances"), ("false", "segment")])
def test_without_a_recipe_it_follows_from_the_maps(instances: str, kind: str, tmp_path: Path) -> None:
    root = str(write_maps(tmp_path / kind, instances=instances == "true"))
    with pytest.raises(RecipeError, match="do the numbers in its maps identify objects or classes"):
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
    settings = [*OF_MAPS, "data.size=8", f"data.path={root}", f"rule={{kind: {rule}{length}}}"]
    builders.try_update(load_with_data(network, settings)[0])
