"""Run the training updates of a recipe on the CPU in one process."""

from collections.abc import Callable

import torch

from hdlif.recipe import Recipe, builders
from hdlif.training import Accelerator, Updater
from hdlif.training.average import Average


class RecipeUpdate:
    """A recipe's network in train mode, together with its updater.

    Attributes:
        update: a `training.Updater` with the recipe's optimiser, penalty and moving average.
        generator: random generator for batches and for a rule's plans.
    """

    def __init__(self, recipe: Recipe) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.generator = torch.Generator().manual_seed(recipe.seed)
        # The data are noise, whose classes are already balanced.
        weighed = builders.with_class_weights(recipe, lambda: builders.random_batch(recipe, self.generator, 2)[1])
        self.model, self.rule = builders.build_model(recipe).train(), builders.build_rule(weighed)
        training = recipe.training
        optimizer = builders.build_optimization(training).make_optimizer(self.model)
        # Always use the CPU, because CPU time and resident memory are measured.
        accelerator = Accelerator("cpu", training.precision)
        average = None if training.ema_decay is None else Average(self.model, training.ema_decay)
        after: Callable[[], None] = (lambda: None) if average is None else average.update
        self.update = Updater(
            accelerator,
            self.model,
            optimizer,
            self.rule,
            penalty=builders.build_penalty(recipe),
            clip_norm=training.clip_norm,
            channels_last=training.channels_last,
            after=after,
        )
