"""Write masks and annotated images for `hdlif run`."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hdlif.errors import InputError, OutputError, reason
from hdlif.inputs.recordings import READERS
from hdlif.runtime.answers import Answer
from hdlif.runtime.drawing import draw_boxes, draw_map
from hdlif.runtime.files import Given
from hdlif.runtime.images import read_pixels
from hdlif.runtime.masks import NO_CLASS, as_png
from hdlif.whole_files import whole_file

ANSWER, OVERLAY = SUFFIXES = (".answer.png", ".overlay.png")
_IN_ARRAY = re.compile(r"(.*\.npy)\[(\d+)\]", re.DOTALL | re.IGNORECASE)
"""The name of one of several inputs in a file, such as NAME.npy[3]."""


class AnswerFiles:
    """A writer for masks and annotated images.

    The mask for NAME.jpg, or the image with boxes drawn on it, is written to NAME.answer.png. The image overlaid with
    the mask is written to NAME.overlay.png. If NAME.npy contains several inputs, the mask for the input NAME.npy[3] is
    written to NAME.3.answer.png. No overlay is written for arrays and event-camera data.

    Args:
        folder: output folder; by default next to each input.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._inputs: dict[str, str] = {}

    def __call__(self, name: str, answer: Answer, labels: Sequence[str], image: Given | None = None) -> Answer:
        """Write the files for a prediction and return the prediction with file paths instead of the mask.

        A prediction without a mask or boxes is returned unchanged.

        Args:
            image: the content of the image, if `name` is not a file.
        Raises:
            InputError: another input has the same output file, or the image cannot be read again.
            OutputError: a file cannot be written.
        """
        within = _IN_ARRAY.fullmatch(name)
        file, number = (Path(within[1]), f".{within[2]}") if within else (Path(name), "")
        shown = image or file
        path, is_image = (self._folder or file.parent) / f"{file.stem}{number}", file.suffix.lower() not in READERS
        if "boxes" in answer and is_image:
            boxes = [
                (labels.index(one["label"]), one["box"], f"{one['label']} {one['score']:.2f}")
                for one in answer["boxes"]
            ]
            drawn = draw_boxes(read_pixels(shown), boxes)
            return {**answer, "file": self._write(name, f"{path}{ANSWER}", as_png(drawn))}
        if "mask" not in answer:
            return answer
        mask = answer["mask"]
        kept = {key: value for key, value in answer.items() if key != "mask"} | {"size": list(mask.shape)}
        kept["file"] = self._write(name, f"{path}{ANSWER}", as_png(mask))
        if is_image:
            # 255 can also be the number of an object.
            numbers = np.where(mask == NO_CLASS, 0, mask) if "pixels" in answer else mask
            kept["overlay"] = self._write(name, f"{path}{OVERLAY}", as_png(draw_map(read_pixels(shown), numbers)))
        return kept

    def _write(self, name: str, path: str, content: bytes) -> str:
        """Write the file at `path` for the input `name` and return the path."""
        if (other := self._inputs.setdefault(path, name)) != name:
            raise InputError(
                f"{name}: its output would overwrite that of {other}, {path}; predict it separately, or rename it"
            )
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            with whole_file(Path(path)) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({reason(error)}); choose a folder with --out") from error
        return path
