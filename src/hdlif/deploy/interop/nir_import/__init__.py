"""Graphs of the Neuromorphic Intermediate Representation, whichever library wrote them, as networks of ours."""

from hdlif.deploy.interop.nir_import.reader import Imported, from_nir, read, read_artefact

__all__ = ["Imported", "from_nir", "read", "read_artefact"]
