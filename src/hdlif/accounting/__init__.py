"""Counting: parameters, operations, energy and memory. It reads a graph and changes nothing."""

from hdlif.accounting.activity import Activity, activity
from hdlif.accounting.memory import saved_bytes
from hdlif.accounting.operations import Layer, Profile, count_parameters_mb, priced, profile

__all__ = ["Activity", "Layer", "Profile", "activity", "count_parameters_mb", "priced", "profile", "saved_bytes"]
