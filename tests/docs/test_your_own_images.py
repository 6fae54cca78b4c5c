"""docs/how_to/your_own_images.md states every key; tests/docs/test_tutorials.py follows the tutorial of that name."""

from hdlif.recipe.builders.own_kinds import arguments
from pages import keys_in_rows, page

PAGE = page("how_to/your_own_images")


def test_every_key_of_a_folder_has_its_row() -> None:
    assert arguments("folder") - {"path"} <= keys_in_rows(PAGE) | keys_in_rows(page("how_to/your_own_targets"))
