"""Counting: parameters, operations, energy and memory. It reads a graph and changes nothing."""

from hdlif.accounting.activity import Activity, activity
from hdlif.accounting.macs import dense_macs
from hdlif.accounting.memory import Saved, saved_bytes, watching_saved
from hdlif.accounting.neuron_memory import bytes_a_step, chunk_bytes, step_counts
from hdlif.accounting.operations import Layer, Profile, count_parameters_mb, priced, profile
from hdlif.accounting.outline import Outline, OutlineLayer, outline
from hdlif.accounting.updates import UpdateCost, update_cost

__all__ = [
    "Activity",
    "Layer",
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
    "outline",
    "priced",
    "profile",
    "saved_bytes",
    "step_counts",
    "update_cost",
    "watching_saved",
]
