"""Counting: parameters, operations, energy and memory. It reads a graph and changes nothing."""

from hdlif.accounting.memory import saved_bytes
from hdlif.accounting.operations import Layer, Profile, count_parameters_mb, profile

__all__ = ["Layer", "Profile", "count_parameters_mb", "profile", "saved_bytes"]
