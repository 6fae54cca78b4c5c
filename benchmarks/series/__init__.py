"""Cells of a table of time series: of a recipe, and of each peer that it is compared with."""

from series.cells import Cell
from series.forest import of_forest
from series.gru import of_gru
from series.recipe import of_recipe

__all__ = ["Cell", "of_forest", "of_gru", "of_recipe"]
