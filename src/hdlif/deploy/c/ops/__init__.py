"""What each op becomes in C: one file an op, which states a `FORM`."""

from collections.abc import Mapping

from hdlif.deploy.c.form import Form
from hdlif.graph.ops.table import stated

FORMS: Mapping[str, Form] = {form.op: form for form in stated(__name__, "FORM")}
