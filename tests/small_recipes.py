"""Small recipes, and the networks that they make."""

import torch

from hdlif.nn import Neuron, Temporal
from hdlif.recipe import Recipe, builders, load_recipe


def load(*overrides: str) -> Recipe:
    return load_recipe("digits_hdlif", overrides)


def recipe(*overrides: str) -> Recipe:
    return load("model.width=4", *overrides)


def built(*overrides: str) -> Temporal:
    chosen = recipe(*overrides)
    builders.check(chosen)
    torch.manual_seed(0)
    return builders.build_model(chosen)


def neurons(network: Temporal) -> list[Neuron]:
    return [module for module in network.modules() if isinstance(module, Neuron)]
