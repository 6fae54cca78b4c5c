"""What each op becomes in C: one file an op, which states a `FORM`."""

from collections.abc import Mapping

from hdlif.c_code.form import Form
from hdlif.ops.table import stated

FORMS: Mapping[str, Form] = {form.op: form for form in stated(__name__, "FORM")}
