"""The training loop: it owns optimiser, precision, device and files; the rule owns time.

Nothing random has a memory: the data order is a function of (seed, epoch), dropout and mixup of (seed, step), the
rule's plan of (seed, update). So counters, weights, their average and momenta are the whole state of a run, and a run
that was stopped at any moment and resumed ends with the same bytes as one that was not.
"""

from __future__ import annotations

import copy
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.config import TrainingConfig
from hdlif.data import ImageSets, Samples, batches
from hdlif.errors import CheckpointError, DataError, TrainingError, brief
from hdlif.learning import Plan, Rule
from hdlif.training import checkpoint
from hdlif.training.activity import Penalty
from hdlif.training.evaluate import Evaluation, evaluate
from hdlif.training.fallback import Found
from hdlif.training.finite import first_not_finite, not_finite
from hdlif.training.interruption import Interrupted, Pending, deferred_signals
from hdlif.training.metrics import Metrics, progress_bar, tell, warn
from hdlif.training.mixup import Mix
from hdlif.training.optim import Optimization, sgd, warmed_up
from hdlif.training.ranks import Ranks, check_share
from hdlif.training.reestimate import reestimated
from hdlif.training.run_files import RunFiles
from hdlif.training.state_record import Counters, counters_of
from hdlif.training.teacher import Teacher
from hdlif.training.temperature import adapt_temperatures, dspikes
from hdlif.training.threads import Threads, candidates, measured, rounds_for, using_threads
from hdlif.training.update import Updater

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from rich.progress import Progress

REESTIMATION_IMAGES = 1000
"""Training images that batch norm's statistics are measured on before a validation."""


@dataclass(frozen=True)
class Fit:
    """The outcome of a training: the best epoch on validation (from 1), and its accuracies in 0..1."""

    best_epoch: int
    best_accuracy: float
    accuracy_per_step: tuple[float, ...]
    train_seconds: float
    steps: int
    threads: Threads


def fit(
    *,
    model: nn.Module,
    rule: Rule,
    sets: ImageSets,
    out: Path,
    config: TrainingConfig,
    batch_size: int,
    time_steps: int,
    seed: int,
    fabric: Fabric,
    record: Mapping[str, Any],
    optimization: Optimization | None = None,
    resume: bool = False,
    penalty: Penalty | None = None,
    mix: Mix | None = None,
    teacher: Teacher | None = None,
    threads: int | None = None,
    cores: int | None = None,
    compile_backend: str = "inductor",
    progress: Progress | None = None,
    checkpoint_every: float = 60.0,
    log_every: int = 20,
    after_epoch: Callable[[int, Evaluation], None] | None = None,
) -> Fit:
    """Train `model`; it is left in eval mode, holding what OUT/model.safetensors holds.

    OUT gets metrics.jsonl, tensorboard/, last.safetensors (to resume from), previous.safetensors (the one before,
    should that be damaged) and model.safetensors: the best epoch on validation (the first one, of equals), with
    batch-norm statistics measured over all T steps. With `config.keep_every`, epoch_N.safetensors has those of epoch N.
    Ctrl-C and SIGTERM stop between two batches, with last.safetensors written.

    Where `fabric` has several processes, all of them call this with the same arguments, and each learns from an equal
    share of every batch. The first one alone touches OUT, and holds the best epoch's network afterwards.

    Args:
        batch_size: images per step, of all processes together; an incomplete last batch of an epoch is left out.
        record: the recipe; it is kept in the checkpoints, and resuming asks for the same one.
        optimization: the optimiser and its schedule; by default SGD with the momentum that `config` says, and a cosine.
        resume: go on from OUT/last.safetensors, or start where nothing is there yet. Without it, what an
            earlier training left in OUT is removed first.
        penalty: on the activity of the layers, added to every loss.
        mix: mixes each batch; the training accuracy is then that of the label with the largest share.
        teacher: its logits stand beside the labels in the rule's target, which takes `learning.Distillation`.
        threads: PyTorch's in the meantime; a run that is resumed has those that it began with, and otherwise they stay
            as they are.
        cores: choose the threads among 1, 2, 4, ... up to so many, where none are given and none were chosen before, by
            timing the first updates on a copy (on a CPU, in one process).
        compile_backend: of torch.compile, where `config.compile` asks for it.
        progress: gets a task for this training.
        checkpoint_every: seconds between two writings of last.safetensors within an epoch.
        log_every: steps between two training events of metrics.jsonl.
        after_epoch: gets each epoch (from 1) and its validation, before the checkpoint of that epoch is written: what
            it raises ends the training; an epoch that is resumed is reported again.
    Raises:
        TrainingError: the loss or a weight is not finite, or a file cannot be written.
        CheckpointError: OUT cannot be resumed: a file is damaged, gone, or belongs to another recipe.
        RecipeError: the processes cannot share a batch equally.
        KeyboardInterrupt, SystemExit(143): after Ctrl-C, after SIGTERM.
    """
    ranks = Ranks(fabric)
    check_share(batch_size, ranks.count, paired=mix is not None)
    cuda = [fabric.device] if fabric.device.type == "cuda" else []
    with (
        torch.random.fork_rng(devices=cuda),
        deferred_signals(ranks.highest) as pending,
        ranks.lost_ranks_named(),
        using_threads(),
    ):
        training = _Training(
            model=model,
            rule=rule,
            sets=sets,
            out=out,
            config=config,
            batch_size=batch_size,
            time_steps=time_steps,
            seed=seed,
            fabric=fabric,
            ranks=ranks,
            record=record,
            optimization=optimization or Optimization(partial(_sgd, config)),
            resume=resume,
            penalty=penalty,
            mix=mix,
            teacher=teacher,
            threads=threads,
            cores=cores,
            compile_backend=compile_backend,
            progress=progress or progress_bar(enabled=False),
            pending=pending,
            checkpoint_every=checkpoint_every,
            log_every=log_every,
            after_epoch=after_epoch,
        )
        with closing(training.metrics) if training.metrics else nullcontext():
            try:
                training.run()
            except Interrupted as interrupted:
                training.save()
                raise interrupted.consequence if ranks.first else SystemExit(0) from None
        return training.finish()


@dataclass(kw_only=True)
class _Training:
    model: nn.Module
    rule: Rule
    sets: ImageSets
    out: Path
    config: TrainingConfig
    batch_size: int
    time_steps: int
    seed: int
    fabric: Fabric
    ranks: Ranks
    record: Mapping[str, Any]
    optimization: Optimization
    resume: bool
    penalty: Penalty | None
    mix: Mix | None
    teacher: Teacher | None
    threads: int | None
    cores: int | None
    compile_backend: str
    progress: Progress
    pending: Pending
    checkpoint_every: float
    log_every: int
    after_epoch: Callable[[int, Evaluation], None] | None

    def __post_init__(self) -> None:
        config = self.config
        self.files = RunFiles(self.out)
        self.batches = self.ranks.together(self._count_batches)
        self.steps = config.epochs * self.batches
        self.optimizer = self.optimization.optimizer(self.model)
        self.updater = Updater(
            self.fabric,
            self.model,
            self.optimizer,
            self.rule,
            penalty=self.penalty,
            clip_norm=config.clip_norm,
            ema_decay=config.ema_decay,
            channels_last=config.channels_last,
            compiled=self.compile_backend if config.compile else None,
        )
        self.network, self.step = self.updater.network, self.updater.step
        if self.teacher is not None:
            self.teacher.network.to(self.fabric.device)
        self.counters = Counters()
        self.chosen: Threads | None = None
        self.metrics: Metrics | None = None
        found = self.ranks.led(self._begin)
        if found is not None:
            self.ranks.together(lambda: self._take_up(found))
        self.ranks.led(lambda: self._open_metrics(found))
        self.started = time.monotonic() - self.counters.train_seconds
        self.saved = time.monotonic()
        if found is not None and found.damage is not None:
            self._tell_of(found, found.damage)

    def run(self) -> None:
        """All epochs that are left. Raises `Interrupted` where `save` may follow."""
        counters = self.counters
        self._set_threads()
        task = self.progress.add_task(
            self.out.name, total=self.steps, completed=counters.step, loss=math.nan, accuracy=math.nan
        )
        while counters.epoch < self.config.epochs and not self._out_of_patience():
            self.network.train()
            self.sets.train.set_epoch(counters.epoch)
            left = self._order(counters.epoch)[counters.batch :]
            for x, target in self.sets.train.stream(self.ranks.shares(left)):
                # Gradients that wait for more batches are in no checkpoint.
                if counters.batch % self.config.accumulate == 0:
                    self.pending.check()
                    due = self.ranks.first and time.monotonic() - self.saved >= self.checkpoint_every
                    if self.ranks.highest(due):
                        self.save()
                if counters.batch == 0:
                    # After any save, so that whoever resumes there adapts too, and once.
                    self._adapt_surrogates()
                self._train_on(x, target)
                seen = counters.window * self.batch_size
                self.progress.update(
                    task,
                    completed=counters.step,
                    loss=counters.loss / counters.window,
                    accuracy=counters.correct / seen,
                )
                if counters.step % self.log_every == 0 or counters.batch == self.batches:
                    self._log_training()
            result = self._validate()
            if self.after_epoch is not None:
                self.after_epoch(counters.epoch + 1, result)
            counters.epoch, counters.batch = counters.epoch + 1, 0
            self.save()

    def _set_threads(self) -> None:
        """Take the threads that are given or were chosen, or choose them; a choice is printed and written down."""
        if self.threads is not None:
            self.chosen = Threads(self.threads, "given")
        if self.chosen is None:
            self.chosen = self._choose_threads()
            if self.chosen.chosen_by == "measured":
                self._log("threads", **self.chosen.as_dict())
                if not self.progress.disable:
                    tell(self.progress, str(self.chosen))
        torch.set_num_threads(self.chosen.count)

    def _choose_threads(self) -> Threads:
        if self.cores and self.fabric.device.type == "cpu" and self.ranks.count == 1:
            counts = candidates(self.cores)
            rounds = rounds_for(self.steps - self.counters.step, len(counts))
            if rounds and len(counts) > 1:
                return measured(self._update_of_a_copy(), counts, rounds=rounds)
        return Threads(torch.get_num_threads(), "default")

    def _update_of_a_copy(self) -> Callable[[int], None]:
        """Update number i of the training, carried out on a copy; of all, on the first batch, and without compiling."""
        config = self.config
        model = copy.deepcopy(self.model).train()
        updater = Updater(
            self.fabric,
            model,
            self.optimization.optimizer(model),
            self.rule,
            penalty=self.penalty,
            clip_norm=config.clip_norm,
            channels_last=config.channels_last,
        )
        self.sets.train.set_epoch(0)
        first = self.fabric.to_device(self.sets.train.sequence(self._order(0)[0]))
        x, target, _ = self._prepared(*first)
        # The loss scale of float16 belongs to the fabric: the copy's updates must not move it.
        precision = self.fabric.strategy.precision
        scale = copy.deepcopy(precision.state_dict())

        def update(number: int) -> None:
            self.pending.check()
            self._seed_noise()
            draws = torch.Generator().manual_seed(_derived_seed(self.seed, "plan", number))
            updater(x, target, self.rule.schedule(self.time_steps, draws))
            if scale:
                precision.load_state_dict(scale)

        return update

    def _out_of_patience(self) -> bool:
        patience, counters = self.config.patience, self.counters
        return patience is not None and counters.epoch - counters.best_epoch >= patience

    def _adapt_surrogates(self) -> None:
        """Let the temperature of Dspike surrogates, if any, follow the network, on the epoch's first batch."""
        if not dspikes(self.model):
            return
        (share,) = self.ranks.shares(self._order(self.counters.epoch)[:1])
        x, target = self.fabric.to_device(self.sets.train.sequence(share))

        def loss() -> Tensor:
            logits, _ = self.network(x, steps=range(self.time_steps))
            return F.cross_entropy(logits.mean(0), target)

        draws = torch.Generator().manual_seed(_derived_seed(self.seed, "temperature", self.counters.epoch))
        temperature = adapt_temperatures(self.network, loss, generator=draws, mean=self.ranks.mean)
        self._log("surrogate", temperature=temperature)

    def finish(self) -> Fit:
        """Let the best epoch's file become model.safetensors, and its tensors the model's."""
        self.ranks.led(lambda: self.files.finish(self.model))
        self.network.eval()
        c = self.counters
        chosen = self.chosen
        assert chosen is not None, "run has chosen"
        return Fit(c.best_epoch, c.best_accuracy, c.best_accuracy_per_step, c.train_seconds, c.step, chosen)

    def save(self) -> None:
        """Write last.safetensors, unless a weight has become NaN or infinite; what it was becomes the previous one."""
        self.ranks.led(self._save)

    def _save(self) -> None:
        if (name := not_finite(self.model)) is not None:
            raise TrainingError(
                f"step {self.counters.step}: {name} is not finite; lower training.learning_rate; {self.files.kept()}"
            )
        metrics = self._opened()
        self.counters.train_seconds = time.monotonic() - self.started
        checkpoint.save(
            self.files.last,
            tensors=checkpoint.training_tensors(self.model, self.optimizer) | self.step.tensors(),
            record={
                "recipe": self.record,
                "counters": asdict(self.counters),
                "metrics_bytes": metrics.bytes_written(),
                # The loss scale of float16 training; empty in other precisions.
                "precision": self.fabric.strategy.precision.state_dict(),
                "threads": None if self.chosen is None else self.chosen.count,
                **self.step.record(),
            },
            previous=self.files.previous,
        )
        self.saved = time.monotonic()

    def _begin(self) -> Found | None:
        return self.files.begin(self.record, resume=self.resume)

    def _take_up(self, found: Found) -> None:
        """Take up a state."""
        record, counters = found.record, counters_of(found.record, found.path)
        place = counters.epoch * self.batches + counters.batch
        if counters.epoch > self.config.epochs or counters.batch > self.batches or counters.step != place:
            raise CheckpointError(
                f"{found.path}: stands at epoch {counters.epoch}, batch {counters.batch}, step {counters.step}, and an "
                f"epoch of {self.config.epochs} has {self.batches} batches; its data were others, train again"
            )
        checkpoint.restore_training(self.model, self.optimizer, found.tensors, found.path)
        precision = self.fabric.strategy.precision
        if (kept := record["precision"]) and (own := precision.state_dict()):
            if kept.keys() != own.keys() or not kept["scale"]:
                raise CheckpointError(f"{found.path}: precision = {brief(kept)} is no loss scale; train again")
            precision.load_state_dict(kept)
        self.step.restore(found.tensors, record)
        self.counters = counters
        # Checkpoints of earlier versions have none. On a machine of fewer cores it would be no gain to have as many.
        count = record.get("threads")
        if self.threads is None and type(count) is int and 0 < count <= (self.cores or count):
            self.chosen = Threads(count, "checkpoint")

    def _open_metrics(self, found: Found | None) -> None:
        self.metrics = Metrics(self.out, keep_bytes=0 if found is None else int(found.record["metrics_bytes"]))

    def _tell_of(self, found: Found, damage: str) -> None:
        """Say that the newest checkpoint is not the one that `found` is."""
        self._log("fallback", damage=damage)
        if self.ranks.first:
            warning = f"{damage}; going on from {found.path}, step {self.counters.step}"
            warn(self.progress, warning)

    def _opened(self) -> Metrics:
        assert self.metrics is not None, "the first rank alone writes"
        return self.metrics

    def _count_batches(self) -> int:
        self.ranks.shares([torch.empty(len(self.sets.validation))])
        return len(self._order(0))

    def _order(self, epoch: int) -> list[Tensor]:
        n, accumulate = len(self.sets.train), self.config.accumulate
        order = batches(n, batch_size=self.batch_size, seed=self.seed, epoch=epoch, drop_last=True)
        # Whole updates, as of batches that are so much larger.
        if len(order) < accumulate:
            raise DataError(
                f"{n} images fill {len(order)} batches of {self.batch_size}, and an update takes "
                f"training.accumulate = {accumulate}; lower it, or data.batch_size"
            )
        return order[: len(order) - len(order) % accumulate]

    def _train_on(self, x: Tensor, target: Tensor) -> None:
        """One batch: its updates, and the counters."""
        counters = self.counters
        x, target = self.fabric.to_device((x, target))
        x, target, labels = self._prepared(x, target)
        accumulate = self.config.accumulate
        update, part = divmod(counters.step, accumulate)
        self._seed_noise()
        draws = torch.Generator().manual_seed(_derived_seed(self.seed, "plan", update))
        plan = self.rule.schedule(self.time_steps, draws)
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        loss, logits = self.updater(x, target, plan, share=1 / accumulate, last=part == accumulate - 1)
        if not math.isfinite(loss):
            self._fail(self._explain(loss, x, target, plan))
        counters.loss += loss
        counters.correct += int(self.ranks.sum((logits.argmax(1) == labels).sum()))
        counters.window += 1
        counters.batch += 1
        counters.step += 1

    def _prepared(self, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A batch as the rule takes it, mixed and beside the teacher's logits, and the labels to count hits by."""
        if self.mix is not None:
            name = self.ranks.seed_name("mixup")
            x, target = self.mix(x, target, seed=_derived_seed(self.seed, name, self.counters.step))
        labels = target if target.ndim == 1 else target.argmax(1)
        if self.teacher is not None:
            with self.fabric.autocast():
                target = self.teacher.beside(x, target)
        return x, target, labels

    def _explain(self, loss: float, x: Tensor, target: Tensor, plan: Plan) -> str:
        """Run the batch again, without learning, to find what made `loss` NaN or infinite."""
        self._seed_noise()

        def run() -> None:
            for _ in self.rule(self.network, x, target, plan):
                pass

        if self.ranks.highest(not x.isfinite().all()):
            found = "the batch of images"
        else:
            found = first_not_finite(self.model, run) or "the loss itself, every layer is finite"
        return (
            f"step {self.counters.step}: the loss is {loss}, and first not finite is {found}; "
            f"lower training.learning_rate or look at the data; {self.files.kept()}"
        )

    def _seed_noise(self) -> None:
        torch.manual_seed(_derived_seed(self.seed, self.ranks.seed_name("noise"), self.counters.step))

    def _fail(self, message: str) -> NoReturn:
        """End the training on all ranks, each of which knows why."""
        raise TrainingError(message) if self.ranks.first else SystemExit(0)

    def _validate(self) -> Evaluation:
        """Measure the epoch with re-estimated statistics, and keep the network if it is the best so far."""
        sets, counters = self.sets, self.counters
        plain = sets.train.plain()
        draws = torch.Generator().manual_seed(_derived_seed(self.seed, "reestimation", 0))
        # Whole batches, so that each image counts alike; an epoch has at least one.
        whole = max(1, min(REESTIMATION_IMAGES // self.batch_size, self.batches))
        sample = torch.randperm(len(plain), generator=draws)[: whole * self.batch_size]
        with (
            self.step.averaged,
            reestimated(self.network, self._read("batch norm", plain, sample), time_steps=self.time_steps),
        ):
            result = evaluate(
                self.network,
                self._read("validation", sets.validation),
                time_steps=self.time_steps,
                criterion=F.cross_entropy,
                total=self.ranks.sum,
            )
            if not math.isfinite(result.loss):
                self._fail(
                    f"epoch {counters.epoch + 1}: the validation loss is {result.loss}; "
                    f"lower training.learning_rate; {self.files.kept()}"
                )
            epoch, every = counters.epoch + 1, self.config.keep_every
            if every is not None and epoch % every == 0:
                self._keep(self.files.epoch(epoch), result)
            if result.accuracy > counters.best_accuracy:
                self._keep(self.files.best, result)
                counters.best_epoch, counters.best_accuracy = epoch, result.accuracy
                counters.best_accuracy_per_step = result.accuracy_per_step
        self._log("validation", **asdict(result))
        return result

    def _keep(self, path: Path, result: Evaluation) -> None:
        """Write the network as it was validated."""
        record = {"recipe": self.record, "epoch": self.counters.epoch + 1, "accuracy": result.accuracy}
        self.ranks.led(lambda: checkpoint.save_model(path, self.model, record))

    def _read(self, name: str, images: Samples, indices: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of all images, or of those of `indices`, with a bar of that name."""
        chosen = torch.arange(len(images)) if indices is None else indices
        shares = self.ranks.shares(torch.split(chosen, self.batch_size))
        task = self.progress.add_task(
            f"{self.out.name}, {name}", total=sum(map(len, shares)), loss=math.nan, accuracy=math.nan
        )
        try:
            for batch in self.pending.between(images.stream(shares)):
                yield self.fabric.to_device(batch)
                self.progress.advance(task, len(batch[1]))
        finally:
            self.progress.remove_task(task)

    def _learning_rate(self) -> float:
        # Counted in updates, all of whose batches have the same rate.
        accumulate = self.config.accumulate
        warmup = self.config.warmup_epochs * self.batches // accumulate
        step, total = self.counters.step // accumulate, self.steps // accumulate
        return self.config.learning_rate * warmed_up(self.optimization.schedule, step, total, warmup)

    def _log_training(self) -> None:
        counters = self.counters
        self._log(
            "train",
            loss=counters.loss / counters.window,
            accuracy=counters.correct / (counters.window * self.batch_size),
            learning_rate=self.optimizer.param_groups[0]["lr"],
            **({"skipped_updates": self.step.skipped} if self.step.scaled else {}),
        )
        counters.window, counters.loss, counters.correct = 0, 0.0, 0

    def _log(self, event: str, **values: object) -> None:
        place = {"event": event, "epoch": self.counters.epoch + 1, "step": self.counters.step}
        written = {**place, **values, "seconds": round(time.monotonic() - self.started, 3)}
        self.ranks.led(lambda: self._opened().write(written))


def _sgd(config: TrainingConfig, model: nn.Module) -> torch.optim.SGD:
    return sgd(model, learning_rate=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay)


def _derived_seed(seed: int, purpose: str, index: int) -> int:
    """63 bits that depend on all three alone, the same on every machine."""
    digest = hashlib.blake2b(f"{seed}:{purpose}:{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
