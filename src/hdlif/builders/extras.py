"""What a recipe may add to its training: mixed batches (`data.mixup`), a teacher, and what does not go with them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hdlif.builders.arguments import call, choose
from hdlif.builders.data import CONSTANT, check_data, data_kind
from hdlif.builders.places import At
from hdlif.config import Recipe
from hdlif.errors import RecipeError, cut

if TYPE_CHECKING:
    from torch import nn

    from hdlif.learning import Criterion
    from hdlif.training import Mix, Teacher


def build_mix(recipe: Recipe) -> Mix | None:
    """What mixes the recipe's batches, if anything."""
    check_pairs(recipe)
    mixup = recipe.data.mixup
    if mixup is None:
        return None
    from hdlif.training import Mix

    return Mix(
        classes=len(data_kind(recipe).labels),
        mixup_alpha=mixup.mixup_alpha,
        cutmix_alpha=mixup.cutmix_alpha,
        prob=mixup.prob,
        switch_prob=mixup.switch_prob,
    )


def check_pairs(recipe: Recipe) -> None:
    """Raise `RecipeError` where the samples of a batch are to be mixed by twos, and cannot be."""
    if recipe.data.mixup is not None and recipe.data.batch_size % 2:
        raise RecipeError(f"data.batch_size = {recipe.data.batch_size}; data.mixup pairs samples, so make it even")


@dataclass(frozen=True)
class Teaching:
    """The section `teacher` without its kind.

    Args:
        name: of the architecture, in the library that is the kind.
        checkpoint: its state dict, trained on the classes of the recipe's data.
        mean, std: how it takes pixels of 0..1; as the data set does by default.
        size: side of the images that it takes; the data's by default.
    """

    name: str
    checkpoint: str
    temperature: float = 4.0
    weight: float = 0.5
    mean: list[float] | None = None
    std: list[float] | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        for key, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) != 3:
                raise ValueError(f"{key} = {values}; give three numbers, for red, green and blue")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError(f"std = {self.std}; its numbers must be above 0")
        if self.size is not None and self.size < 1:
            raise ValueError(f"size = {self.size}; it must be at least 1")


@dataclass(frozen=True)
class _Library:
    names: Callable[[], list[str]]
    make: Callable[[str, int], nn.Module]
    """From name and number of classes; nothing is downloaded."""


def _torchvision_names() -> list[str]:
    from torchvision import models

    names: list[str] = models.list_models(module=models)
    return names


def _torchvision(name: str, classes: int) -> nn.Module:
    from torchvision import models

    network: nn.Module = models.get_model(name, weights=None, num_classes=classes)
    return network


def _timm_names() -> list[str]:
    import timm

    names: list[str] = timm.list_models()
    return names


def _timm(name: str, classes: int) -> nn.Module:
    import timm

    network: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes)
    return network


TEACHERS: Mapping[str, _Library] = {
    "timm": _Library(_timm_names, _timm),
    "torchvision": _Library(_torchvision_names, _torchvision),
}


def distilled(recipe: Recipe, criterion: Criterion) -> Criterion:
    """The criterion that learns from the recipe's teacher too; the given one where there is none."""
    teaching = _known(recipe)
    if teaching is None:
        return criterion
    arguments = {"temperature": teaching.temperature, "weight": teaching.weight}
    learned: Criterion = call(At("hdlif.learning:Distillation"), "teacher", arguments, criterion=criterion)
    return learned


def build_teacher(recipe: Recipe) -> Teacher | None:
    """The recipe's teacher with its weights, if there is one.

    Raises:
        CheckpointError: its checkpoint is absent, damaged, or of another network.
    """
    teaching = _known(recipe)
    if teaching is None or recipe.teacher is None:
        return None
    from hdlif.training import Teacher, load_teacher

    kind = data_kind(recipe)
    network = TEACHERS[recipe.teacher.kind].make(teaching.name, len(kind.labels))
    load_teacher(Path(teaching.checkpoint), network)
    shown = kind.input.mean, kind.input.std
    taken = teaching.mean or kind.input.mean, teaching.std or kind.input.std
    return Teacher(network, shown=shown, taken=taken, size=teaching.size)


def checked_teacher(recipe: Recipe) -> Teaching | None:
    """The section `teacher`, checked, but for the names that its library knows; its checkpoint is not looked for."""
    if recipe.teacher is None:
        return None
    choose(TEACHERS, recipe.teacher.kind, "teacher.kind")
    teaching = call(Teaching, "teacher", recipe.teacher.arguments)
    if check_data(recipe) != "image" or recipe.data.frames != CONSTANT:
        seen = f'data.kind = "{recipe.data.kind}", data.frames = "{recipe.data.frames}"'
        raise RecipeError(f"teacher: a teacher sees whole images, and {seen} shows none; leave the teacher out")
    return teaching


def _known(recipe: Recipe) -> Teaching | None:
    """The section `teacher`, checked, whose library knows its network."""
    teaching = checked_teacher(recipe)
    if teaching is None or recipe.teacher is None:
        return None
    names = TEACHERS[recipe.teacher.kind].names()
    if teaching.name not in names:
        # There are more than a thousand.
        near = difflib.get_close_matches(cut(teaching.name), names, n=5) or names[:5]
        raise RecipeError(
            f'teacher.name = "{cut(teaching.name)}" is unknown to {recipe.teacher.kind}; nearest are {", ".join(near)}'
        )
    return teaching


def check_accumulation(recipe: Recipe) -> None:
    """Raise `RecipeError` where batches cannot make one update, since the rule makes several of each."""
    if recipe.training.accumulate > 1 and recipe.rule.arguments.get("update") == "each":
        raise RecipeError(
            f'training.accumulate = {recipe.training.accumulate} does not go with rule.update = "each", '
            'which updates at every step of a batch; choose "sum"'
        )
