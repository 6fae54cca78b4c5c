"""Notebooks of the documentation: they run, and what they have printed and drawn is kept in them."""

import re
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_BYTES = 200_000


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_kept_and_small_and_of_no_machine(path: Path) -> None:
    assert path.stat().st_size < MOST_BYTES
    cells = code_cells(nbformat.read(path, as_version=4))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"stream", "display_data"}
    assert all(output.name == "stdout" for output in outputs if output.output_type == "stream")
    assert any("image/svg+xml" in output.get("data", {}) for output in outputs)
    assert not re.search(r"/(home|root|tmp|work|Users|var)/|[A-Z]:\\\\", path.read_text("utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_from_its_first_to_its_last_cell(path: Path, tmp_path: Path) -> None:
    from nbclient import NotebookClient

    kept, notebook = (nbformat.read(path, as_version=4) for _ in range(2))
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    # The same cells print and draw as did when it was kept.
    for was, now in zip(code_cells(kept), code_cells(notebook), strict=True):
        assert [output.output_type for output in now.outputs] == [output.output_type for output in was.outputs]
        assert [set(output.get("data", {})) for output in now.outputs] == [set(o.get("data", {})) for o in was.outputs]
