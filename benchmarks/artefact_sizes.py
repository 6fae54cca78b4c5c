"""The artefact file of recipes' networks beside their parameters as published, without any data or training.

    python benchmarks/artefact_sizes.py [RECIPE ...] [--set A.B=V] [--out FILE]

The network is built as the recipe says, lowered and written to memory, with batch-norm statistics and neurons drawn at
random, since rows that are the same at every step are stored once: so many bytes has the file that `hdlif export` makes
of a trained one. fp32 is what its parameters take in float32. By default all recipes.
"""

import argparse
from pathlib import Path

import torch

from hdlif.deploy import lower
from hdlif.graph.artefact import dumps
from hdlif.nn import step_parameters
from hdlif.recipe import builders, load_recipe, shipped_recipes
from hdlif.report.accounting import count_parameters_mb
from hdlif.report.tables import aligned
from recorded import write_record


def sizes(name: str, overrides: list[str]) -> dict[str, float]:
    """Megabytes of a recipe's network: in fp32, as published, and as a file."""
    recipe = load_recipe(name, overrides)
    torch.manual_seed(recipe.seed)
    network = builders.build_model(recipe).eval()
    with torch.no_grad():
        for key, buffer in network.named_buffers():
            if key.endswith(("running_mean", "running_var")):
                buffer.uniform_(0.5, 1.5)
        for parameter in step_parameters(network):
            parameter.add_(0.1 * torch.randn_like(parameter))
    labels = builders.DATA[recipe.data.kind].labels
    graph = lower(network, input=builders.input_record(recipe), labels=labels, time_steps=recipe.time_steps)
    in_neurons = set(map(id, step_parameters(network)))
    fp32 = 4e-6 * sum(p.numel() for p in network.parameters() if id(p) not in in_neurons)
    return {"fp32_mb": fp32, "published_mb": count_parameters_mb(graph), "file_mb": len(dumps(graph)) / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="A.B=V")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    found = {name: sizes(name, arguments.overrides) for name in arguments.recipes or shipped_recipes()}
    rows = [[name, *(f"{value:.3f}" for value in row.values())] for name, row in found.items()]
    print(aligned(["recipe", "fp32, MB", "published, MB", "file, MB"], rows))
    if arguments.out:
        write_record(arguments.out, found, seeds="the recipe's own")


if __name__ == "__main__":
    main()
