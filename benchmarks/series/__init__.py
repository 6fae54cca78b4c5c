"""What a table of series is made of: a cell of a recipe, and of each peer that it is put beside."""

from series.cells import Cell
from series.forecast import of_persistence
from series.forest import of_forest
from series.gru import of_gru
from series.recipe import of_recipe

__all__ = ["Cell", "of_forest", "of_gru", "of_persistence", "of_recipe"]
