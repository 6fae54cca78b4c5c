"""Conversion of other libraries' networks to hdlif, and of hdlif neurons to lazily imported libraries."""
