"""docs/reference/equations.md has the table of what neurons cost that the code gives."""

from pathlib import Path

from hdlif.cli.neurons import costs_table, step_costs

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "equations.md").read_text("utf-8")


def test_the_table_of_costs_is_that_of_the_command() -> None:
    assert f"\n\n{costs_table(step_costs())}\n\n" in PAGE
