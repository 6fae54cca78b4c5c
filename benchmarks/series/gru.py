"""A GRU on a recipe's task: any that a network of hdlif learns, for it is judged by the task itself."""

import time
from copy import deepcopy
from pathlib import Path

import torch
from torch import nn

from hdlif.data import Samples, batches
from hdlif.learning import loss_over, mean_logits
from hdlif.recipe import builders
from hdlif.training.tasks import Evaluation, Task
from series.cells import Cell, sets_of, steps_of
from series_gru import Gru

_TOGETHER = 500


def hidden_for(parameters: int, channels: int, outputs: int) -> int:
    """The size whose GRU and head have the number of parameters that is nearest."""
    return min(
        range(1, 1000),
        key=lambda n: abs(3 * n * (channels + n + 2) + outputs * (n + 1) - parameters),
    )


def of_gru(name: str, seed: int, root: Path, parameters: int) -> Cell:
    """Train a GRU as the recipe trains, with its task's criterion, and keep its best epoch."""
    recipe, sets = sets_of(name, root)
    task = builders.build_task(recipe)
    channels, outputs = builders.input_record(recipe).shape[0], len(task.outputs)
    torch.manual_seed(seed)
    model = Gru(channels, outputs, hidden_for(parameters, channels, outputs), bits=None)
    count = sum(one.numel() for one in model.parameters())
    training, size = recipe.training, recipe.data.batch_size
    optimizer = torch.optim.AdamW(model.parameters(), training.learning_rate, weight_decay=training.weight_decay)
    total = training.epochs * (len(sets.train) // size)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    criterion, best, kept = task.criterion(), -float("inf"), deepcopy(model.state_dict())
    begin = time.process_time()
    for epoch in range(training.epochs):
        sets.train.set_epoch(epoch)
        for indices in batches(len(sets.train), batch_size=size, seed=seed, epoch=epoch, drop_last=True):
            x, y = steps_of(sets.train, indices)
            loss = loss_over(criterion, model(x, None, range(len(x)))[0], y, mean_logits)
            loss.backward()  # type: ignore[no-untyped-call]
            if training.clip_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), training.clip_norm)
            optimizer.step()
            optimizer.zero_grad()
            cosine.step()
        if (found := task.better(measured(model, task, sets.validation))) > best:
            best, kept = found, deepcopy(model.state_dict())
    seconds = time.process_time() - begin
    model.load_state_dict(kept)
    return {
        "metrics": dict(measured(model, task, sets.test).metrics),
        "parameters": count,
        "cpu_seconds": seconds,
        "stored_kb": count * 4 / 1000,
    }


@torch.no_grad()
def measured(model: nn.Module, task: Task, part: Samples) -> Evaluation:
    """What a network does on a part, as the task measures."""
    tally = task.tally()
    for indices in torch.split(torch.arange(len(part)), _TOGETHER):
        x, y = steps_of(part, indices)
        tally(model(x, None, range(len(x)))[0], y)
    return tally.evaluation()
