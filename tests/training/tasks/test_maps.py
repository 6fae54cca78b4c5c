"""Targets that are maps: a task and a network of the user's own, through the trainer, by every kind of rule."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassJaccardIndex

import hdlif
from cases import every
from hdlif.errors import ArtefactError
from hdlif.graph.artefact import InputRecord
from hdlif.learning import NDOT, OTTT, SLTT, STBP, Rule, StochasticStep
from hdlif.report.evaluation import evaluate_network
from hdlif.runtime import Session
from hdlif.training import Callback, Checkpoints, Log
from own_tasks import Maps, segmenter, squares

T, BATCH = 3, 8
TASK = Maps(("ground", "square"), T, metrics={"iou": MulticlassJaccardIndex(2)}, best="iou")


def fitted(rule: Rule, *, epochs: int = 1, callbacks: tuple[Callback, ...] = (), samples: int = 2 * BATCH) -> Any:
    torch.manual_seed(0)
    model = segmenter(T, 2)
    trainer = hdlif.Trainer(
        model,
        rule=rule,
        task=TASK,
        config=hdlif.TrainingConfig(epochs=epochs, learning_rate=0.5),
        callbacks=callbacks,
        batch_size=BATCH,
    )
    return trainer.fit(squares(samples), squares(BATCH, seed=1)), model


@every(rule=[STBP(), SLTT(), SLTT("each"), StochasticStep(), OTTT(), NDOT()])
def test_a_network_of_maps_takes_two_updates(rule: Rule) -> None:
    fit, model = fitted(rule)
    assert fit.steps == 2
    assert fit.metrics.keys() == {"pixels_right", "iou"}
    assert len(fit.per_step) == T
    outputs, _ = model(squares(5).sequence(torch.arange(5))[0], steps=range(T))
    assert outputs.shape == (T, 5, 2, 6, 6)


def test_it_learns_and_resumes(tmp_path: Path) -> None:
    def callbacks(*, resume: bool) -> tuple[Callback, ...]:
        return Checkpoints(tmp_path, recipe={"maps": 1}, resume=resume), Log(tmp_path)

    fit, model = fitted(STBP(), epochs=6, samples=64, callbacks=callbacks(resume=False))
    assert fit.metrics["pixels_right"] > 0.9
    again, _ = fitted(STBP(), epochs=6, samples=64, callbacks=callbacks(resume=True))
    assert (again.best_epoch, again.metrics) == (fit.best_epoch, fit.metrics)
    measured = evaluate_network(model, squares(BATCH, seed=1), task=TASK, batch_size=BATCH).result
    assert measured.metrics == pytest.approx(dict(fit.metrics))


def test_a_network_of_maps_is_deployed(tmp_path: Path) -> None:
    record, path = InputRecord(shape=(1, 6, 6), mean=(0.2,), std=(0.2,)), tmp_path / "net.hdlif.safetensors"
    model, data = fitted(STBP())[1].eval(), squares(BATCH, seed=1)
    given = {"input": record, "labels": TASK.outputs, "time_steps": T}
    with pytest.raises(ArtefactError, match=r"output has shape \[2, 6, 6\]; 2 labels need \[2\]"):
        hdlif.deploy.export(model, path, **given)
    assert not path.exists()
    hdlif.deploy.export(model, path, **given, task=TASK.record)
    x = data.sequence(torch.arange(BATCH))[0]
    with torch.no_grad():
        expected, _ = model(x, steps=range(T))
    found = Session(path, 1).run(x.numpy(), T)
    # Batch norms are folded into the convolutions.
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)
