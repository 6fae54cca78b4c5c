"""Count the parameters, operations, energy and memory of a network."""

from hdlif.report.accounting.activity import Activity, activity
from hdlif.report.accounting.learning import LearningCost, learning_cost
from hdlif.report.accounting.memory import (
    Saved,
    UpdateCost,
    bytes_a_step,
    chunk_bytes,
    saved_bytes,
    step_counts,
    update_cost,
    watching_saved,
)
from hdlif.report.accounting.operations import Layer, Profile, count_parameters_mb, priced, profile
from hdlif.report.accounting.outline import Outline, OutlineLayer, dense_macs, outline

__all__ = [
    "Activity",
    "Layer",
    "LearningCost",
    "Outline",
    "OutlineLayer",
    "Profile",
    "Saved",
    "UpdateCost",
    "activity",
    "bytes_a_step",
    "chunk_bytes",
    "count_parameters_mb",
    "dense_macs",
    "learning_cost",
    "outline",
    "priced",
    "profile",
    "saved_bytes",
    "step_counts",
    "update_cost",
    "watching_saved",
]
