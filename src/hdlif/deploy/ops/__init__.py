"""Lowerings of modules to ops, and the PyTorch and ONNX implementations of ops; each op's file defines one `FORM`."""

from collections.abc import Mapping

from hdlif.deploy.op_form import OpForm
from hdlif.graph.op import collect

FORMS: Mapping[str, OpForm] = {form.op: form for form in collect(__name__, "FORM")}
