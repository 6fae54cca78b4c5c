"""The files that `hdlif run` writes for answers that are images."""

import re
from pathlib import Path

from hdlif.errors import InputError, OutputError, reason
from hdlif.runtime.answers import Answer
from hdlif.runtime.masks import as_png
from hdlif.whole_files import whole_file

SUFFIX = ".answer.png"
_IN_ARRAY = re.compile(r"(.*\.npy)\[(\d+)\]", re.DOTALL | re.IGNORECASE)
"""The name of one of several inputs in a file."""


class AnswerFiles:
    """Writes masks to NAME.answer.png for an input NAME.jpg, and to NAME.3.answer.png for NAME.npy[3].

    Args:
        folder: where they go; by default next to each input.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._inputs: dict[Path, str] = {}

    def __call__(self, name: str, answer: Answer) -> Answer:
        """Return an answer with "size" and "file" in place of its mask, which is written; others as they are.

        Raises:
            InputError: another input has the same file.
            OutputError: it cannot be written.
        """
        if "mask" not in answer:
            return answer
        path = self._path(name)
        if (other := self._inputs.setdefault(path, name)) != name:
            raise InputError(f"{name}: its answer would replace that of {other}, {path}; give it alone, or rename it")
        content = as_png(answer["mask"])
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({reason(error)}); choose a folder with --out") from error
        kept = {key: value for key, value in answer.items() if key != "mask"}
        return {**kept, "size": list(answer["mask"].shape), "file": str(path)}

    def _path(self, name: str) -> Path:
        within = _IN_ARRAY.fullmatch(name)
        file, number = (Path(within[1]), f".{within[2]}") if within else (Path(name), "")
        return (self._folder or file.parent) / f"{file.stem}{number}{SUFFIX}"
