"""Spiking networks out of ordinary ones."""

from hdlif.models.spiking.convert import spiking

__all__ = ["spiking"]
