"""Import graphs in the Neuromorphic Intermediate Representation (NIR) from any library."""

from hdlif.deploy.interop.nir_import.reader import Imported, from_nir, read, read_artefact

__all__ = ["Imported", "from_nir", "read", "read_artefact"]
