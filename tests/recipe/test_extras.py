"""Mixed batches and teachers out of a recipe, and what does not go with them."""

from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F

from hdlif.errors import CheckpointError
from hdlif.learning import Distillation
from hdlif.recipe import builders
from small_recipes import recipe

TEACHER = "teacher={kind: timm, name: test_resnet, checkpoint: absent.pth}"


def test_recipe_without_extras_has_none() -> None:
    assert builders.build_mix(recipe()) is None
    assert builders.build_teacher(recipe()) is None
    assert builders.build_training_rule(recipe()).criterion.func is F.cross_entropy  # type: ignore[attr-defined]


def test_published_mixup_is_the_default() -> None:
    mix = builders.build_mix(recipe("data.mixup={}"))
    assert mix is not None
    drawn = vars(mix._mixup)
    assert (drawn["mixup_alpha"], drawn["cutmix_alpha"], drawn["mix_prob"], drawn["switch_prob"]) == (
        0.8,
        1.0,
        1.0,
        0.5,
    )
    assert (drawn["mode"], drawn["num_classes"], drawn["label_smoothing"]) == ("batch", 10, 0.0)


@pytest.mark.parametrize("kind", ["timm", "torchvision"])
def test_rule_that_trains_learns_from_the_teacher_and_the_plain_one_does_not(kind: str) -> None:
    chosen = recipe(f"teacher={{kind: {kind}, name: resnet18, checkpoint: x.pth, temperature: 2, weight: 0.3}}")
    builders.check(chosen)
    criterion = builders.build_training_rule(chosen).criterion  # type: ignore[attr-defined]
    assert isinstance(criterion, Distillation)
    assert (criterion.temperature, criterion.weight) == (2, 0.3)
    assert not isinstance(builders.build_rule(chosen).criterion, Distillation)  # type: ignore[attr-defined]


def test_teacher_has_the_weights_of_its_file_and_the_classes_of_the_data(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = timm.create_model("test_resnet", num_classes=10)
    torch.save(network.state_dict(), tmp_path / "t.pth")
    taken = "size: 32, mean: [0, 0, 0], std: [1, 1, 1]"
    given = f"{{kind: timm, name: test_resnet, checkpoint: {tmp_path}/t.pth, {taken}}}"
    teacher = builders.build_teacher(recipe(f"teacher={given}"))
    assert teacher is not None
    record = builders.input_record(recipe())
    x = torch.randn(1, 2, 1, 8, 8)
    pixels = x[0] * record.std[0] + record.mean[0]
    shown = F.interpolate(pixels.expand(-1, 3, -1, -1), size=(32, 32), mode="bilinear", antialias=True)
    expected = network.eval()(shown)
    torch.testing.assert_close(teacher.beside(x, torch.tensor([1, 2]))[:, 10:], expected.detach())


def test_teacher_without_its_file_is_named_when_it_is_needed() -> None:
    builders.check(recipe(TEACHER))
    with pytest.raises(CheckpointError, match=r"absent\.pth: cannot be read"):
        builders.build_teacher(recipe(TEACHER))
