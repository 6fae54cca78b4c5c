"""`flatten` in C: nothing moves."""

from hdlif.deploy.c.fixed.scaled import moved
from hdlif.deploy.c.form import Form

FORM = Form("flatten", fixed_move=moved)
