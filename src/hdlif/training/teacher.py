"""The teacher for distillation, which can be any trained image classifier and runs once per batch."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.learning import probabilities
from hdlif.training.callback import Batch, Callback, Training
from hdlif.training.state_dicts import load_state_dict


class Teacher:
    """A trained network that returns logits for a student's images.

    Args:
        network: maps [B, C, H, W] to logits [B, classes]; it is put in eval mode.
        shown: mean and std with which the student's images are normalised.
        taken: mean and std with which the teacher's images are normalised.
        channels: C of the teacher; images with one channel are repeated.
        size: images are resized to size x size, bilinearly; None leaves them.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        shown: tuple[Sequence[float], Sequence[float]],
        taken: tuple[Sequence[float], Sequence[float]],
        channels: int = 3,
        size: int | None = None,
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self._shown, self._taken, self._channels, self._size = shown, taken, channels, size

    def beside(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return the target for `learning.Distillation`, [B, 2·classes]: the labels, followed by the teacher's logits.

        Args:
            x: images that are constant in time, [1, B, C, H, W].
            labels: int64 [B], or probabilities [B, classes].
        """
        with torch.no_grad():
            logits = self.network(self._as_taken(x[0])).float()
        return torch.cat([probabilities(labels, logits), logits], dim=1)

    def _as_taken(self, images: Tensor) -> Tensor:
        mean, std = (_per_channel(values, images) for values in self._shown)
        pixels = images * std + mean
        if pixels.shape[1] == 1:
            pixels = pixels.expand(-1, self._channels, -1, -1)
        if self._size is not None:
            pixels = F.interpolate(pixels, size=(self._size, self._size), mode="bilinear", antialias=True)
        mean, std = (_per_channel(values, images) for values in self._taken)
        return (pixels - mean) / std


def load_teacher(path: Path, network: nn.Module) -> None:
    """Fill `network` from a safetensors or PyTorch file, without running code from the file.

    Args:
        path: path of the file.
        network: a network of the same architecture; it is filled in place.
    Raises:
        CheckpointError: the file is missing, damaged, or has tensors of another network.
    """
    fix = "give teacher.checkpoint a state dict (.pth or .safetensors) of that network and number of classes"
    load_state_dict(path, network, "the teacher", fix)


def _per_channel(values: Sequence[float], images: Tensor) -> Tensor:
    return images.new_tensor(values).view(1, -1, 1, 1)


class Teaching(Callback):
    """A callback that appends a teacher's logits to each batch's labels, for the criterion `learning.Distillation`.

    Args:
        teacher: computes the logits.
    """

    def __init__(self, teacher: Teacher) -> None:
        self.teacher = teacher

    def on_train_start(self, training: Training) -> None:
        self.teacher.network.to(training.device)

    def on_batch_start(self, training: Training, batch: Batch) -> Batch:
        self.teacher.network.to(batch.x.device)
        with training.autocast():
            return replace(batch, target=self.teacher.beside(batch.x, batch.target))
