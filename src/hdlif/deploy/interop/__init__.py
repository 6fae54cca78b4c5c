"""Conversion of networks from other libraries, and of hdlif neurons to modules of these libraries. The libraries are
imported lazily.
"""
