"""The pages on the Python interface, one for each package, of the names that it exports."""

import ast
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import hdlif

FOLDER = "reference/python"
PACKAGES = {
    "hdlif.nn": "Modules: neurons, synapses, norms, and the state that goes through them.",
    "hdlif.functional": "The equations as pure functions.",
    "hdlif.models": "Networks as builder functions.",
    "hdlif.learning": "Learning rules.",
    "hdlif.training.tasks": "Tasks: targets, losses and metrics.",
    "hdlif.training": "The training loop and its callbacks.",
    "hdlif.data": "Data sets.",
    "hdlif.inputs": "From files to numbers.",
    "hdlif.accounting": "Counts of parameters, operations, energy and memory.",
    "hdlif.deploy": "From a trained network to a file.",
    "hdlif.graph.artefact": "The deployed file.",
    "hdlif.runtime": "Running a deployed network, without PyTorch.",
    "hdlif.deploy.c": "A deployed network as C99.",
    "hdlif.deploy.browser": "The runtime for web pages.",
    "hdlif.deploy.interop": "Networks to and from other libraries.",
    "hdlif.errors": "What is raised, and when.",
}
SUBMODULES = {
    "hdlif.deploy": ("nir_export", "onnx"),
    "hdlif.deploy.interop": ("nir_import", "snntorch", "spikingjelly"),
    "hdlif.inputs": ("arrays", "events", "pictures", "recordings", "resampling", "series", "sounds", "tables"),
    "hdlif.runtime": ("reference",),
}
"""Modules whose names are had from there."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for page, text in pages().items():
        files.append(File.generated(config, page, content=text))
    return files


def pages() -> dict[str, str]:
    lines = [f"- [`{name}`]({page_of(name)}): {said}" for name, said in PACKAGES.items()]
    top = "\n".join(
        ["# Python", "", "`import hdlif` offers the names below, and these packages:", "", *lines, "", root()]
    )
    return {f"{FOLDER}/index.md": top} | {f"{FOLDER}/{page_of(name)}": package(name) for name in PACKAGES}


def page_of(name: str) -> str:
    return f"{name.partition('.')[2]}.md"


def root() -> str:
    """The names of `hdlif` itself: those of a package stand on its page."""
    elsewhere = {name: f"hdlif.{module}" for name, module in hdlif._AT.items() if f"hdlif.{module}" in PACKAGES}
    links = [f"[`hdlif.{name}`][{package}.{name}]" for name, package in elsewhere.items()]
    own = [f"hdlif.{module}.{name}" for name, module in hdlif._AT.items() if name not in elsewhere]
    return "\n\n".join(["From the packages come " + ", ".join(links) + ".", *map(_object, own)])


def package(name: str) -> str:
    own = _listed(name, exported(name)) if exported(name) else f"# {name}\n\n{_summary(name)}"
    inner = [f"{name}.{module}" for module in SUBMODULES.get(name, ())]
    return "\n\n".join([own, *(_listed(module, exported(module), level=2) for module in inner)])


def exported(name: str) -> list[str]:
    """The names that a module offers: of `__all__` in the order of the imports, of others those that it defines.

    A module that defines nothing, or its stub if it looks names up, hands on what it imports.
    """
    stub = source(name).with_suffix(".pyi")
    tree = ast.parse((stub if stub.exists() else source(name)).read_text("utf-8"))
    imported = [
        alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    defined = [node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    assigned = [
        target.id
        for node in tree.body
        for target in (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if isinstance(target, ast.Name)
    ]
    stated = next(
        (
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        ),
        None,
    )
    if stated is None:
        return [one for one in (*assigned, *defined) if not one.startswith("_")] or imported
    order = [*imported, *defined, *assigned]
    return sorted(stated, key=lambda one: order.index(one) if one in order else len(order))


def source(name: str) -> Path:
    place = (Path(__file__).parents[2] / "src").joinpath(*name.split("."))
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def _summary(name: str) -> str:
    return ast.get_docstring(ast.parse(source(name).read_text("utf-8"))) or ""


def _listed(name: str, members: list[str], *, level: int = 1) -> str:
    # A module hides a function of its name that the package offers, so the function has an entry of its own.
    hidden = [one for one in members if source(f"{name}.{one}").exists()]
    members = [one for one in members if one not in hidden]
    return "\n".join(
        [
            f"{'#' * level} {name}",
            "",
            f"::: {name}",
            "    options:",
            "      show_root_heading: false",
            "      show_root_toc_entry: false",
            f"      heading_level: {level + 1}",
            f"      members: [{', '.join(members)}]",
            *(f"\n{_object(f'{name}.{one}.{one}', heading=one)}\n      heading_level: {level + 1}" for one in hidden),
        ]
    )


def _object(place: str, *, heading: str = "") -> str:
    shown = heading or f"hdlif.{place.rpartition('.')[2]}"
    return "\n".join([f"::: {place}", "    options:", f"      heading: {shown}"])
