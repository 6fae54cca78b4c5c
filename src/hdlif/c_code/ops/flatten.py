"""`flatten` in C: nothing moves."""

from hdlif.c_code.form import Form

FORM = Form("flatten")
