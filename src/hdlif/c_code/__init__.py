"""A deployed network as C99 for processors without an operating system. Never imports torch."""

from hdlif.c_code.checking import Checked, check_here
from hdlif.c_code.source import Source, translate

__all__ = ["Checked", "Source", "check_here", "translate"]
