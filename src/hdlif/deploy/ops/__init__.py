"""How modules become each op, and its forms in PyTorch and ONNX: one file an op, which states a `FORM`."""

import importlib
import pkgutil
from collections.abc import Mapping

from hdlif.deploy.form import Form


def _found() -> dict[str, Form]:
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    return {module.FORM.op: module.FORM for module in modules}


FORMS: Mapping[str, Form] = _found()
