"""`flatten` in C: nothing moves."""

from hdlif.c_code.fixed.moving import moved
from hdlif.c_code.form import Form

FORM = Form("flatten", fixed_move=moved)
