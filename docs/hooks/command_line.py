"""The page on the command line, from the commands themselves."""

import inspect
import re
from collections.abc import Iterator

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from hdlif.cli import cli

PAGE = "reference/command_line.md"
_OPTION = re.compile(r"(?<![\w`-])--[a-z][a-z-]*(?![\w-])")
_DOCS_PAGE = re.compile(r"\bdocs/([\w/]+\.md)")
_BRACKET = re.compile(r"\s*\[(?P<said>[^\[\]]+)\]\s*$")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    files.append(File.generated(config, PAGE, content="\n".join(page())))
    return files


def page() -> Iterator[str]:
    yield "# Command line"
    yield ""
    yield "What `hdlif VERB --help` says of every verb, made from the code."
    yield ""
    context = click.Context(cli, info_name="hdlif")
    yield from _listed(context)
    yield ""
    yield from _command(context, level=2)


def _listed(context: click.Context) -> Iterator[str]:
    assert isinstance(context.command, click.Group)
    for inner in _inner(context):
        if isinstance(inner.command, click.Group):
            yield from _listed(inner)
        else:
            anchor = inner.command_path.replace(" ", "-")
            yield f"- [`{inner.command_path}`](#{anchor}): {prose(inner.command.get_short_help_str(limit=300))}"


def _inner(context: click.Context) -> Iterator[click.Context]:
    group = context.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None and not command.hidden:
            yield click.Context(command, info_name=name, parent=context)


def _command(context: click.Context, *, level: int) -> Iterator[str]:
    command = context.command
    yield f"{'#' * level} {context.command_path}"
    yield ""
    yield "    " + " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield ""
    yield from text(command.help or "")
    for parameter in command.params:
        if isinstance(parameter, click.Option) and (record := parameter.get_help_record(context)) is not None:
            names, meaning = record
            yield f"`{names.replace(' RANGE', '')}`"
            yield f":   {_sentences(meaning)}"
            yield ""
    yield from text(command.epilog or "")
    if isinstance(command, click.Group):
        for inner in _inner(context):
            yield from _command(inner, level=2 if context.parent is None else 3)


def _sentences(meaning: str) -> str:
    """An option's help, and what stands in brackets behind it, as sentences."""
    behind: list[str] = []
    while bracket := _BRACKET.search(meaning):
        meaning = meaning[: bracket.start()]
        behind = [*map(_sentence, bracket["said"].split("; ")), *behind]
    return " ".join([prose(meaning.strip()), *behind]).strip()


def _sentence(said: str) -> str:
    key, _, value = said.partition(": ")
    if key == "default":
        return f"Default: {prose(value) if ' ' in value else f'`{value}`'}."
    if least := re.fullmatch(r"x>=(\S+)", said):
        return f"At least {least[1]}."
    return {"required": "Required."}.get(said, f"Range: `{said}`.")


def text(help_text: str) -> Iterator[str]:
    """A command's help as Markdown: its paragraphs, and as code what click leaves as it stands."""
    for paragraph in inspect.cleandoc(help_text).replace("\f", "").split("\n\n"):
        lines = paragraph.splitlines()
        if lines and lines[0].strip() == "\b":
            first, *rest = lines[1:]
            if first.startswith(" ") or not rest:
                rest = [first, *rest]
            else:
                yield from (prose(first), "")
            yield from (f"    {line.removeprefix('  ')}" for line in rest)
        else:
            yield prose(" ".join(line.strip() for line in lines))
        yield ""


def prose(words: str) -> str:
    """Plain text as Markdown: options as code, pages of docs/ as links."""
    parts = words.split("`")
    # What stands between backticks is code already.
    for place in range(0, len(parts), 2):
        part = re.sub(r"([*<\[])", r"\\\1", parts[place])
        part = _DOCS_PAGE.sub(lambda page: f"[{page[1]}](../{page[1]})", part)
        parts[place] = _OPTION.sub(lambda option: f"`{option[0]}`", part)
    return "`".join(parts)
