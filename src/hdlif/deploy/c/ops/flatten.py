"""`flatten` in C: nothing moves."""

from hdlif.deploy.c.emitter import Emitter
from hdlif.deploy.c.fixed.values import moved

EMITTER = Emitter("flatten", fixed_move=moved, is_in_answers=True)
