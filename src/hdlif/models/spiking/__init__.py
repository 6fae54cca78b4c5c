"""Conversion of ordinary networks to spiking networks."""

from hdlif.models.spiking.convert import spiking

__all__ = ["spiking"]
