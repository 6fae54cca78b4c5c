"""Map errors to pages of the documentation."""

from collections.abc import Mapping

from hdlif import errors
from hdlif.errors import HdlifError

OF_ERRORS: Mapping[type[HdlifError], str] = {
    errors.RecipeError: "docs/reference/recipes.md",
    errors.EquationError: "docs/how_to/adding_a_neuron.md",
    errors.DataError: "docs/reference/data.md",
    errors.CheckpointError: "docs/how_to/experiments.md",
    errors.ExistingRunError: "docs/how_to/experiments.md",
    errors.InUseError: "docs/how_to/experiments.md",
    errors.TrainingError: "docs/how_to/experiments.md",
    errors.ArtefactError: "docs/reference/artefact_format.md",
    errors.LimitError: "docs/explanation/runtime.md",
    errors.LoweringError: "docs/how_to/your_own_network.md",
    errors.ConversionError: "docs/how_to/your_own_network.md",
}
"""Page by type of error, for any subcommand."""
OF_SUBCOMMANDS: Mapping[tuple[str, type[HdlifError]], str] = {
    ("data get", errors.DataError): "docs/how_to/public_data.md",
    ("export", errors.ConversionError): "docs/how_to/nir.md",
    ("export", errors.LimitError): "docs/how_to/c.md",
    ("export", errors.LoweringError): "docs/reference/targets.md",
    ("import", errors.ConversionError): "docs/how_to/nir.md",
    ("import", errors.InputError): "docs/how_to/nir.md",
    ("neurons", errors.RecipeError): "docs/how_to/adding_a_neuron.md",
    ("report", errors.InputError): "docs/how_to/experiments.md",
    ("serve", errors.InputError): "docs/how_to/serving.md",
    ("serve", errors.LimitError): "docs/how_to/serving.md",
    ("serve", errors.MachineError): "docs/how_to/serving.md",
    ("serve", errors.MissingExtraError): "docs/how_to/serving.md",
    ("sweep", errors.InputError): "docs/how_to/experiments.md",
    ("sweep", errors.MissingExtraError): "docs/how_to/experiments.md",
    ("sweep", errors.RecipeError): "docs/how_to/experiments.md",
}
"""Page by subcommand and type of error; takes precedence."""


def page_of(subcommand: str, error: HdlifError) -> str | None:
    """Return the page that helps with an error of a subcommand, such as "run" or "data get".

    None if there is none, or if the message already names one.
    """
    if "docs/" in str(error):
        return None
    for name in (subcommand, subcommand.partition(" ")[0]):
        if page := OF_SUBCOMMANDS.get((name, type(error))):
            return page
    return OF_ERRORS.get(type(error))
