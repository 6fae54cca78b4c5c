"""Implement `hdlif new project`, which creates a project folder."""

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from hdlif.cli.options import FILE, Place, argument, group, subcommand
from hdlif.cli.output import put
from hdlif.recipe.runs.files import whole_folder

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

SIDE, EACH = 16, 40
"""Side of an image in pixels, and number of images per class."""
SHAPES = ("disc", "square", "triangle")


def project(
    folder: Annotated[Place, argument(type=FILE)],
) -> list[Path]:
    """Create FOLDER with a recipe, images, a neuron, a network, a test and instructions.

    \f
    Return the paths of all files in the project. If an error occurs, no files remain.

    Raises:
        InputError: `folder` exists and is not an empty folder.
        OutputError: the folder cannot be written.
    """
    folder = Path(folder)
    with whole_folder(folder) as temporary:
        _fill(temporary)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _fill(folder: Path) -> None:
    for template in files("hdlif").joinpath("project").iterdir():
        # The suffix .template keeps the user's modules out of this package.
        (folder / template.name.removesuffix(".template")).write_bytes(template.read_bytes())
    import numpy as np

    rng = np.random.default_rng(0)
    for name in SHAPES:
        (folder / "pictures" / name).mkdir(parents=True)
        for number in range(EACH):
            _picture(name, rng).save(folder / "pictures" / name / f"{number:02}.png")


def _picture(name: str, rng: "np.random.Generator") -> "Image.Image":
    """Draw a shape at a random position on a noisy background."""
    import numpy as np
    from PIL import Image, ImageDraw

    size = int(rng.integers(8, 12))
    left, top = (int(place) for place in rng.integers(1, SIDE - size, 2))
    image = Image.new("L", (SIDE, SIDE))
    draw, right, bottom = ImageDraw.Draw(image), left + size - 1, top + size - 1
    if name == "disc":
        draw.ellipse((left, top, right, bottom), fill=255)
    elif name == "square":
        draw.rectangle((left, top, right, bottom), outline=255, width=2)
    else:
        draw.polygon([(left, bottom), (right, bottom), ((left + right) // 2, top)], fill=255)
    pixels = np.asarray(image) * 0.8 + rng.integers(0, 50, (SIDE, SIDE))
    return Image.fromarray(pixels.astype(np.uint8))


def _print(files: list[Path], as_json: bool, given: dict[str, Path]) -> None:
    folder = given["folder"]
    put(f"{folder}: {len(files)} files; {folder / 'README.md'} shows what to run")


COMMAND = group(
    "new",
    "Start a project from a template.",
    [
        subcommand(
            project,
            ("hdlif new project mine", "its README.md shows what to run"),
            (
                "hdlif new project mine && cd mine && hdlif train recipe.yaml --out runs/first",
                "and train on its images",
            ),
            shown=_print,
            short="Write the folder of a new project.",
            json=False,
        )
    ],
    ("hdlif new project mine", "the folder mine/"),
    ("hdlif new project --help", "its contents"),
)
