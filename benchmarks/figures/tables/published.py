"""The published accuracies of the shipped recipes."""

from figures.markdown import table
from figures.registry import Record
from figures.registry import table as registered
from hdlif.cli.recipes import ls
from hdlif.recipe import load_recipe
from hdlif.report.tables import figure


@registered("published_rows", None)
def _(record: Record) -> str:
    lines = []
    for name, figures in ls()["published"].items():
        recipe = load_recipe(name)
        mb = figure(figures["params_mb"], ".2f")
        trained = [f"{recipe.time_steps}", f"`{recipe.rule.kind}`", f"{recipe.training.epochs}"]
        lines.append([f"`{name}`", *trained, f"{100 * figures['accuracy']:.2f}", mb])
    return table(["recipe", "T", "rule", "epochs", "published accuracy %", "published MB"], lines)
