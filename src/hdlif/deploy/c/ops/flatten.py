"""`flatten` in C: nothing moves."""

from hdlif.deploy.c.emitter import Emitter
from hdlif.deploy.c.fixed.scaled import moved

EMITTER = Emitter("flatten", fixed_move=moved)
