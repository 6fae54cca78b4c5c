"""Conversion of ordinary networks to spiking ones."""

from hdlif.models.spiking.convert import spiking

__all__ = ["spiking"]
