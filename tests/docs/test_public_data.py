"""docs/how_to/public_data.md states of each public set where it comes from, and the hash that it is checked by."""

from pathlib import Path

from hdlif.data.public import SETS

TEXT = (Path(__file__).parents[2] / "docs" / "how_to" / "public_data.md").read_text("utf-8")


def test_every_set_has_its_source_and_hash() -> None:
    for name, found in SETS.items():
        assert f"`{name}`" in TEXT
        for source in found.sources:
            assert source.sha256 in TEXT
            assert f"{source.version}" in TEXT
            assert source.package in TEXT or f"-{source.package.removeprefix('asterisk-core-sounds-')}" in TEXT
