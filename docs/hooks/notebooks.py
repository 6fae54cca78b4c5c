"""Notebooks of docs/notebooks as pages: their text, their code, and what the code has printed and drawn."""

import base64
import json
import posixpath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for file in [file for file in files if file.src_uri.endswith(".ipynb")]:
        files.remove(file)
        page = posixpath.splitext(file.src_uri)[0] + ".md"
        files.append(File.generated(config, page, content=as_markdown(json.loads(file.content_string))))
    return files


def as_markdown(notebook: dict[str, Any]) -> str:
    """The cells in their order; links to notebooks go to their pages."""
    parts = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text.replace(".ipynb)", ".md)"))
        else:
            parts += [f"```python\n{text}\n```", *map(_output, cell["outputs"])]
    return "\n\n".join(part for part in parts if part) + "\n"


def _output(output: dict[str, Any]) -> str:
    if "text" in output:
        return f"```text\n{''.join(output['text']).rstrip()}\n```"
    if drawn := output.get("data", {}).get("image/svg+xml"):
        # As an image, so that the names in one drawing do not meet those in another.
        packed = base64.b64encode("".join(drawn).encode()).decode()
        return f'<img alt="What this cell draws." src="data:image/svg+xml;base64,{packed}">'
    return ""
