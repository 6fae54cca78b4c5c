"""Versions of the file's format; `docs/reference/artefact_format.md` gives it in bytes, and `hdlif.ops` its graphs."""

FORMAT_VERSION = 5
READ_VERSIONS = (4, 5)
"""Format 4 has an op for each neuron (`neurons_of_format_4`), no "program", "delay" and "upsample", and no dilation and
groups; the rest is the same."""
