"""Lowerings of modules to each op, and its forms in PyTorch and ONNX: one file per op, which defines a `FORM`."""

from collections.abc import Mapping

from hdlif.deploy.op_form import OpForm
from hdlif.graph.op import collect

FORMS: Mapping[str, OpForm] = {form.op: form for form in collect(__name__, "FORM")}
