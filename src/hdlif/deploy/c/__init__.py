"""Export of deployed networks to C99, for processors without an operating system. This package never imports torch."""

from hdlif.deploy.c.checking import Checked, check_here
from hdlif.deploy.c.fixed.fixed_point import FixedPoint, fixed_point, reals
from hdlif.deploy.c.fixed.learning import FixedLearner
from hdlif.deploy.c.from_device import from_device
from hdlif.deploy.c.source import Source, translate

ARITHMETICS = ("float", "fixed")

__all__ = [
    "ARITHMETICS",
    "Checked",
    "FixedLearner",
    "FixedPoint",
    "Source",
    "check_here",
    "fixed_point",
    "from_device",
    "reals",
    "translate",
]
