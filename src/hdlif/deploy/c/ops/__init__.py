"""What each op becomes in C: one file per op, which states a `FORM`."""

from collections.abc import Mapping

from hdlif.deploy.c.form import Form
from hdlif.graph.op import collect

FORMS: Mapping[str, Form] = {form.op: form for form in collect(__name__, "FORM")}
