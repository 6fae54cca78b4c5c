"""What a recipe may add to its training: mixed batches (`data.mixup`) and a teacher (`teacher`)."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from hdlif.errors import RecipeError, cut
from hdlif.recipe.builders.data import CONSTANT, check_data, data_kind
from hdlif.recipe.builders.part import At, Part, called, field
from hdlif.recipe.builders.registry import Section
from hdlif.recipe.config import Recipe

if TYPE_CHECKING:
    from torch import nn

    from hdlif.learning import Criterion
    from hdlif.training import Mix
    from hdlif.training import Teacher as Trained


def build_mix(recipe: Recipe) -> Mix | None:
    """Return what mixes the recipe's batches; None if nothing does."""
    check_pairs(recipe)
    if recipe.data.mixup is None:
        return None
    from hdlif.training import Mix

    return Mix(classes=len(data_kind(recipe).labels), **recipe.data.mixup.model_dump())


def check_pairs(recipe: Recipe) -> None:
    """Raise `RecipeError` if the samples of a batch are to be mixed in pairs, and their number is odd."""
    if recipe.data.mixup is not None and recipe.data.batch_size % 2:
        raise RecipeError(f"data.batch_size = {recipe.data.batch_size}; data.mixup pairs samples, so make it even")


def check_accumulation(recipe: Recipe) -> None:
    """Raise `RecipeError` if batches cannot make one update, since the rule makes several of each."""
    if recipe.training.accumulate > 1 and recipe.rule.arguments.get("update") == "each":
        raise RecipeError(
            f'training.accumulate = {recipe.training.accumulate} does not go with rule.update = "each", '
            'which updates at every step of a batch; choose "sum"'
        )


Three = Annotated[list[float], Field(min_length=3, max_length=3)]


class Teacher(Part):
    """A trained classifier of images, by its architecture and the file of its weights."""

    name: str = field(..., "Name of the architecture.")
    checkpoint: str = field(..., "File of its weights, trained on the classes of the data.")
    temperature: float = field(4.0, "Divides the logits of both.", gt=0)
    weight: float = field(0.5, "Weight of the teacher in the loss.", ge=0, le=1)
    mean: Three | None = field(None, "By which the teacher's images are normalised; the data's by default.")
    std: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=3, max_length=3)] | None = field(
        None, "By which the teacher's images are normalised; the data's by default."
    )
    size: int | None = field(None, "Side of the images that it takes; the data's by default.", ge=1)

    def names(self) -> list[str]:
        """Return the architectures of the library."""
        raise NotImplementedError

    def network(self, classes: int) -> nn.Module:
        """Make the network, without weights; nothing is downloaded."""
        raise NotImplementedError


class Timm(Teacher, kind="timm"):
    """A network of timm."""

    def names(self) -> list[str]:
        import timm

        names: list[str] = timm.list_models()
        return names

    def network(self, classes: int) -> nn.Module:
        import timm

        network: nn.Module = timm.create_model(self.name, pretrained=False, num_classes=classes)
        return network


class Torchvision(Teacher, kind="torchvision"):
    """A network of torchvision."""

    def names(self) -> list[str]:
        from torchvision import models

        names: list[str] = models.list_models(module=models)
        return names

    def network(self, classes: int) -> nn.Module:
        from torchvision import models

        network: nn.Module = models.get_model(self.name, weights=None, num_classes=classes)
        return network


TEACHERS = Section[Teacher]("teacher", Timm, Torchvision)


def distilled(recipe: Recipe, criterion: Criterion) -> Criterion:
    """Return the criterion that uses the recipe's teacher too; the given one if there is none."""
    teacher = _known(recipe)
    if teacher is None:
        return criterion
    arguments = {"criterion": criterion, "temperature": teacher.temperature, "weight": teacher.weight}
    learned: Criterion = called("teacher", At("hdlif.learning:Distillation"), arguments)
    return learned


def build_teacher(recipe: Recipe) -> Trained | None:
    """Return the recipe's teacher with its weights, if there is one.

    Raises:
        CheckpointError: its checkpoint is absent, damaged, or of another network.
    """
    teacher = _known(recipe)
    if teacher is None:
        return None
    from hdlif.training import Teacher as Trained
    from hdlif.training import load_teacher

    kind = data_kind(recipe)
    network = teacher.network(len(kind.labels))
    load_teacher(Path(teacher.checkpoint), network)
    shown = kind.input.mean, kind.input.std
    taken = teacher.mean or kind.input.mean, teacher.std or kind.input.std
    return Trained(network, shown=shown, taken=taken, size=teacher.size)


def read_teacher(recipe: Recipe) -> Teacher | None:
    """Check the section but for the names that its library knows; its checkpoint is not looked for."""
    if recipe.teacher is None:
        return None
    teacher = TEACHERS.read(recipe.teacher)
    if check_data(recipe) != "image" or recipe.data.frames != CONSTANT:
        seen = f'data.kind = "{recipe.data.kind}", data.frames = "{recipe.data.frames}"'
        raise RecipeError(f"teacher: a teacher sees whole images, and {seen} shows none; leave the teacher out")
    return teacher


def _known(recipe: Recipe) -> Teacher | None:
    """Check the section, and that its library knows its network."""
    teacher = read_teacher(recipe)
    if teacher is None:
        return None
    names = teacher.names()
    if teacher.name not in names:
        # There are more than a thousand.
        near = difflib.get_close_matches(cut(teacher.name), names, n=5) or names[:5]
        raise RecipeError(
            f'teacher.name = "{cut(teacher.name)}" is unknown to {teacher.kind}; nearest are {", ".join(near)}'
        )
    return teacher
