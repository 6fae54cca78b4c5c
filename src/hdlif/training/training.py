"""A training while it runs: the loop owns optimiser, precision and device; the rule owns time, callbacks all else.

Nothing random has a memory: the data order is a function of (seed, epoch), dropout and mixup of (seed, step), the
rule's plan of (seed, update). So counters, weights, momenta and what callbacks keep are the whole state of a run, and
one that was stopped at any moment and resumed ends with the same bytes as one that was not. Of streams there is their
state besides, which the checkpoint keeps (`training.streaming`).
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor, nn

from hdlif.config import TrainingConfig
from hdlif.data import Samples, batches
from hdlif.data.draws import fuller_batch, many_left_out
from hdlif.errors import CheckpointError, DataError, InputError, TrainingError, brief, first_line
from hdlif.learning import Carry, Plan, Rule, Tracing, loss_over, mean_logits
from hdlif.learning.rule import run as run_rule
from hdlif.tasks import Answered, Evaluation, Task, finite
from hdlif.training import checkpoint
from hdlif.training.callback import Batch, Callback
from hdlif.training.evaluate import evaluate
from hdlif.training.fallback import SavedState
from hdlif.training.finite import first_not_finite
from hdlif.training.interruption import Interrupted, Pending
from hdlif.training.mode_check import compared_modes
from hdlif.training.optim import Optimization, warmed_up
from hdlif.training.ranks import Ranks
from hdlif.training.reestimate import reestimated
from hdlif.training.state_record import Counters, counters_of
from hdlif.training.streaming import Streams
from hdlif.training.temperature import adapt_temperatures, dspikes
from hdlif.training.threads import Threads, candidates, measured, rounds_for
from hdlif.training.update import Updater

if TYPE_CHECKING:
    from lightning_fabric import Fabric

REESTIMATION_SAMPLES = 1000
"""Training samples that batch norm's statistics are measured on before a validation."""
COMPARED_SAMPLES = 300
"""Training samples that are classified in train and in eval mode at the end."""


@dataclass(kw_only=True)
class Training:
    """What callbacks see of a training: its parts, where it stands (`counters`), and what it can be asked.

    Its arguments are those of `Trainer`: model, rule, task, config, batch_size, seed, fabric, optimization, callbacks,
    threads, cores, compile_backend and log_every; `train` and `validation`, what `Trainer.fit` was given, as samples;
    `ranks` of the fabric; and `pending`, the signals that end it.
    """

    model: nn.Module
    rule: Rule
    task: Task
    train: Samples
    validation: Samples
    config: TrainingConfig
    batch_size: int
    seed: int
    fabric: Fabric
    ranks: Ranks
    optimization: Optimization
    callbacks: Sequence[Callback]
    threads: int | None
    cores: int
    compile_backend: str
    log_every: int
    pending: Pending

    def __post_init__(self) -> None:
        config = self.config
        self.batches = self.ranks.together(self._count_batches)
        self.steps = config.epochs * self.batches
        self.optimizer = self.optimization.optimizer(self.model)
        self._penalty = next((one.penalty for one in self.callbacks if one.penalty is not None), None)
        self.updater = Updater(
            self.fabric,
            self.model,
            self.optimizer,
            self.rule,
            penalty=self._penalty,
            clip_norm=config.clip_norm,
            channels_last=config.channels_last,
            compiled=self.compile_backend if config.compile else None,
            after=self._updated,
        )
        self.network, self.step = self.updater.network, self.updater.step
        self.streams = self._new_streams()
        self.counters = Counters()
        self.chosen: Threads | None = None
        self._signal, self._due = 0, False
        self._right = self._answers = 0
        found = self._found()
        if found is not None:
            self.ranks.together(lambda: self._take_up(found))
        self.started = time.monotonic() - self.counters.train_seconds
        for callback in self.callbacks:
            callback.begin(self)
        if found is not None and found.damage is not None:
            self.log("fallback", damage=found.damage)
            if self.ranks.first:
                self.say(f"{found.damage}; going on from {found.path}, step {self.counters.step}", warning=True)

    def run(self) -> None:
        """All epochs that are left."""
        try:
            self._run()
        except Interrupted as interrupted:
            for callback in self.callbacks:
                callback.interrupted(self)
            if not self.ranks.first:
                raise SystemExit(0) from None
            epochs = self.config.epochs
            raise interrupted.consequence_in(f"in epoch {min(self.counters.epoch + 1, epochs)} of {epochs}") from None
        if not self.counters.best_epoch:
            raise TrainingError("no epoch was run: a callback stops the training before the first")
        for callback in self.callbacks:
            callback.end(self)
        self.network.eval()

    def _run(self) -> None:
        counters = self.counters
        self._say_what_is_left_out()
        self._say_what_is_kept()
        self._set_threads()
        while counters.epoch < self.config.epochs and not any(one.stops(self) for one in self.callbacks):
            self.network.train()
            self.train.set_epoch(counters.epoch)
            left = self._order(counters.epoch)[counters.batch :]
            self._ask_all()
            for x, target in self.train.stream(self.ranks.shares(left)):
                # Gradients that wait for more batches are in no checkpoint.
                if counters.batch % self.config.accumulate == 0:
                    self._rest()
                if counters.batch == 0:
                    # After any checkpoint, so that whoever resumes there adapts too, and once.
                    self._adapt_surrogates()
                self._train_on(x, target)
                for callback in self.callbacks:
                    callback.learned(self)
                if counters.step % self.log_every == 0 or counters.batch == self.batches:
                    self._log_training()
            result = self._validate()
            for callback in self.callbacks:
                callback.epoch_done(self, result)
            counters.epoch, counters.batch = counters.epoch + 1, 0
            counters.train_seconds = self._seconds()
            for callback in self.callbacks:
                callback.at_rest(self, epoch_done=True)
        self._compare_modes()

    def log(self, event: str, **values: object) -> None:
        """Tell the callbacks of an event."""
        place = {"event": event, "epoch": self.counters.epoch + 1, "step": self.counters.step}
        written = {**place, **values, "seconds": round(self._seconds(), 3)}
        for callback in self.callbacks:
            callback.logged(self, written)

    def _seconds(self) -> float:
        """Of training, in this process and those that it goes on from."""
        return time.monotonic() - self.started

    def say(self, line: str, *, warning: bool = False) -> None:
        """Tell whoever watches."""
        for callback in self.callbacks:
            callback.said(line, warning=warning)

    def seed_for(self, purpose: str) -> int:
        """63 bits for what is drawn for the present batch, of this rank's own."""
        return derived_seed(self.seed, self.ranks.seed_name(purpose), self.counters.step)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What a checkpoint keeps: tensors, and a record of plain values."""
        self.counters.train_seconds = self._seconds()
        tensors = checkpoint.training_tensors(self.model, self.optimizer)
        record = {
            "counters": asdict(self.counters),
            # The loss scale of float16 training; empty in other precisions.
            "precision": self.fabric.strategy.precision.state_dict(),
            "threads": None if self.chosen is None else self.chosen.count,
            "skipped_updates": self.step.skipped,
        }
        if self.streams is not None:
            tensors |= self.streams.tensors()
            record["stream_steps"] = self.streams.carry.step
        for callback in self.callbacks:
            plain = callback.record()
            for kept, given in ((tensors, callback.tensors()), (record, plain)):
                if taken := kept.keys() & given.keys():
                    raise TrainingError(
                        f"{type(callback).__name__} keeps {', '.join(sorted(taken))}, which the training or another "
                        "callback keeps too; name it otherwise"
                    )
                kept |= given  # type: ignore[operator]
            try:
                json.dumps(dict(plain), allow_nan=False)
            except (TypeError, ValueError, RecursionError) as error:
                raise TrainingError(
                    f"{type(callback).__name__}: its record ({first_line(error)}); give plain values of JSON"
                ) from error
        return tensors, record

    def kept(self) -> str:
        """What a training that fails leaves to go on from, in words."""
        said = (callback.kept() for callback in self.callbacks)
        return next((one for one in said if one is not None), "no checkpoints are written")

    def _found(self) -> SavedState | None:
        found = [callback.found(self) for callback in self.callbacks]
        return next((one for one in found if one is not None), None)

    def _take_up(self, found: SavedState) -> None:
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
                raise CheckpointError(f"{found.path}: precision = {brief(kept)} is not a loss scale; train again")
            precision.load_state_dict(kept)
        # One that is older than the count has none.
        self.step.skipped = int(record.get("skipped_updates", 0))
        if self.streams is not None:
            self.streams.restore(found.tensors, int(record.get("stream_steps", 0)), self.fabric.device, found.path)
        for callback in self.callbacks:
            callback.restore(found.tensors, record)
        self.counters = counters
        # Checkpoints of earlier versions have none. On a machine of fewer cores it would be no gain to have as many.
        count = record.get("threads")
        if self.threads is None and type(count) is int and 0 < count <= (self.cores or count):
            self.chosen = Threads(count, "checkpoint")

    def _set_threads(self) -> None:
        """Take the threads that are given or were chosen, or choose them; a choice is printed and logged."""
        if self.threads is not None:
            self.chosen = Threads(self.threads, "given")
        if self.chosen is None:
            self.chosen = self._choose_threads()
            if self.chosen.chosen_by == "measured":
                self.log("threads", **self.chosen.as_dict())
                self.say(str(self.chosen))
        torch.set_num_threads(self.chosen.count)

    def _say_what_is_left_out(self) -> None:
        """Say how many samples an epoch of whole batches leaves out, where they are many."""
        n = len(self.train)
        left = n - self.batches * self.batch_size
        if not many_left_out(left, n) or not self.ranks.first:
            return
        whole = f"which has whole batches of {self.batch_size} alone"
        said = f"{left} of {n} training samples are left out of each epoch, {whole}"
        if self.config.accumulate > 1:
            self.say(f"{said}, {self.config.accumulate} to an update")
            return
        # Mixup pairs the samples of each rank's share.
        size = fuller_batch(n, self.batch_size, multiple_of=2 * self.ranks.count)
        self.say(said if size is None else f"{said}; --set data.batch_size={size} leaves {n % size} out")

    def _say_what_is_kept(self) -> None:
        """Say and log how much memory the rule's traces take; too much ends the training before it begins."""
        if not isinstance(self.rule, Tracing):
            return
        share = self.batch_size // self.ranks.count
        x, _ = self.train.plain().sequence(torch.zeros(1, dtype=torch.int64))
        sizes = self.rule.traces_of(self.model, x.to(self.fabric.device), share)
        if not self.counters.step:
            self.log("traces", bytes=dict(sizes))
        most = max(sizes, key=lambda name: sizes[name], default=None)
        if most is not None:
            self.say(
                f"traces take {sum(sizes.values()) / 1e6:.1f} MB for a batch of {share}, most of {most}, "
                f"{sizes[most] / 1e6:.1f} MB"
            )

    def _choose_threads(self) -> Threads:
        cores = self.cores
        if cores > 1 and self.fabric.device.type == "cpu" and self.ranks.count == 1:
            counts = candidates(cores)
            rounds = rounds_for(self.steps - self.counters.step, len(counts))
            if rounds is not None:
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
            penalty=self._penalty,
            clip_norm=config.clip_norm,
            channels_last=config.channels_last,
        )
        self.train.set_epoch(0)
        batch = self._prepared(*self.fabric.to_device(self.train.sequence(self._order(0)[0])))
        streams = self._new_streams()
        # The loss scale of float16 belongs to the fabric: the copy's updates must not move it.
        precision = self.fabric.strategy.precision
        scale = copy.deepcopy(precision.state_dict())

        def update(number: int) -> None:
            self.pending.check()
            self._seed_noise()
            draws = torch.Generator().manual_seed(derived_seed(self.seed, "plan", number))
            if streams is None:
                updater(batch.x, batch.target, self.rule.schedule(self.task.time_steps, draws))
            else:
                streams.learn(updater, batch.x, batch.target, draws)
            if scale:
                precision.load_state_dict(scale)

        return update

    def _adapt_surrogates(self) -> None:
        """Let the temperature of Dspike surrogates, if any, follow the network, on the epoch's first batch."""
        if not dspikes(self.model):
            return
        (share,) = self.ranks.shares(self._order(self.counters.epoch)[:1])
        x, target = self.fabric.to_device(self.train.sequence(share))
        criterion = self.task.criterion()

        def loss() -> Tensor:
            outputs, _ = self.network(x, steps=range(self.task.time_steps))
            return loss_over(criterion, outputs, target, mean_logits)

        draws = torch.Generator().manual_seed(derived_seed(self.seed, "temperature", self.counters.epoch))
        temperature = adapt_temperatures(self.network, loss, generator=draws, mean=self.ranks.mean)
        self.log("surrogate", temperature=temperature)

    def _new_streams(self) -> Streams | None:
        """Streams at their beginning, where samples are learned from as such."""
        every = self.config.stream
        if every is None:
            return None
        if self.config.accumulate > 1 or self.ranks.count > 1:
            raise InputError(
                "training.stream makes an update of each part of a batch, in one process; leave training.accumulate "
                "and --devices out"
            )
        return Streams(every, self.task.time_steps, self.rule, self.model)

    def _count_batches(self) -> int:
        if len(self.validation):
            self.ranks.shares([torch.empty(len(self.validation))])
        return len(self._order(0))

    def _order(self, epoch: int) -> list[Tensor]:
        n, accumulate = len(self.train), self.config.accumulate
        order = batches(n, batch_size=self.batch_size, seed=self.seed, epoch=epoch, drop_last=True)
        # Whole updates, as of batches that are so much larger.
        if len(order) < accumulate:
            raise DataError(
                f"{n} samples fill {len(order)} batches of {self.batch_size}, and an update takes "
                f"accumulate = {accumulate}; lower it, or batch_size"
            )
        return order[: len(order) - len(order) % accumulate]

    def _ask_all(self) -> None:
        """Ask all ranks for signals, and whether a callback wants to be called at rest."""
        due = self.ranks.first and any(one.due(self) for one in self.callbacks)
        self._signal, self._due = self.ranks.highest(self.pending.number or 0), bool(self.ranks.highest(due))

    def _rest(self) -> None:
        """Stop for a signal, or call who wants to be called; between two batches, ranks know from their last update."""
        if self.ranks.count == 1:
            self._ask_all()
        if self._signal:
            raise Interrupted(self._signal)
        if self._due:
            for callback in self.callbacks:
                callback.at_rest(self, epoch_done=False)

    def _agreed(self, plan: Plan, answered: Answered) -> Callable[[float], float]:
        """What an update asks of all ranks at once, from its loss and the answers so far: the mean loss."""

        def agree(loss: float) -> float:
            self._right = self._answers = 0
            if answered.losses == len(plan.updates):
                self._right, self._answers = answered.right()
            due = self.ranks.first and any(one.due(self) for one in self.callbacks)
            sums, highest = self.ranks.exchange(
                [loss, self._right, self._answers], [self.pending.number or 0, int(due)]
            )
            loss, self._right, self._answers = sums[0] / self.ranks.count, int(sums[1]), int(sums[2])
            self._signal, self._due = highest[0], bool(highest[1])
            return loss

        return agree

    def _train_on(self, x: Tensor, target: Tensor) -> None:
        """One batch: its updates, and the counters."""
        counters = self.counters
        batch = self._prepared(*self.fabric.to_device((x, target)))
        self._seed_noise()
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        losses = [self._learn(batch)] if self.streams is None else self._learn_from_streams(batch, self.streams)
        counters.loss += math.fsum(losses) / len(losses)
        counters.window += 1
        counters.batch += 1
        counters.step += 1

    def _learn(self, batch: Batch) -> float:
        """The updates of a batch whose samples have a beginning; their loss."""
        update, part = divmod(self.counters.step, self.config.accumulate)
        plan = self.rule.schedule(self.task.time_steps, self._draws(update))
        answered = Answered(self.task, plan.steps, batch.answers)
        loss = self.updater(
            batch.x,
            batch.target,
            plan,
            share=1 / self.config.accumulate,
            last=part == self.config.accumulate - 1,
            agree=self._agreed(plan, answered),
            hear=answered,
        )
        self._count(loss, batch, plan)
        return loss

    def _learn_from_streams(self, batch: Batch, streams: Streams) -> list[float]:
        """The updates of the parts of a batch, each of which goes on where the one before stopped; their losses."""
        losses = []
        parts = list(streams.parts(batch.x, batch.target))
        answers = [answer for _, answer in streams.parts(batch.x, batch.answers)]
        for place, (x, target) in enumerate(parts):
            plan = self.rule.schedule(streams.every, self._draws(self.counters.step * len(parts) + place))
            answered = Answered(self.task, plan.steps, answers[place])
            agree, before = self._agreed(plan, answered), Carry(streams.carry.state, streams.carry.step)
            losses.append(self.updater(x, target, plan, agree=agree, hear=answered, carry=streams.carry))
            self._count(losses[-1], Batch(x, target, answers[place]), plan, before)
        return losses

    def _draws(self, update: int) -> torch.Generator:
        """What the rule's plan of an update is drawn from."""
        return torch.Generator().manual_seed(derived_seed(self.seed, "plan", update))

    def _count(self, loss: float, batch: Batch, plan: Plan, before: Carry | None = None) -> None:
        """Count the answers of the last update, whose loss must be finite."""
        if not math.isfinite(loss):
            self._fail(self._explain(loss, batch, plan, before))
        self.counters.correct += self._right
        self.counters.answers += self._answers

    def _updated(self) -> None:
        for callback in self.callbacks:
            callback.updated(self)

    def _prepared(self, x: Tensor, target: Tensor) -> Batch:
        batch = Batch(x, target, target)
        for callback in self.callbacks:
            batch = callback.prepare(self, batch)
        return batch

    def _explain(self, loss: float, batch: Batch, plan: Plan, before: Carry | None) -> str:
        """Run the batch again, without learning, to find what made `loss` NaN or infinite.

        Args:
            before: where its streams stood; None of samples that have a beginning.
        """
        self._seed_noise()

        def run() -> None:
            for _ in run_rule(self.rule, self.network, batch.x, batch.target, plan, before):
                pass

        if self.ranks.highest(not batch.x.isfinite().all()):
            found = "the batch of samples"
        else:
            found = first_not_finite(self.model, run) or "the loss itself, every layer is finite"
        return (
            f"step {self.counters.step}: the loss is {loss}, and first not finite is {found}; "
            f"lower learning_rate or look at the data; {self.kept()}"
        )

    def _seed_noise(self) -> None:
        torch.manual_seed(self.seed_for("noise"))

    def _fail(self, message: str) -> NoReturn:
        """End the training on all ranks, each of which knows why."""
        raise TrainingError(message) if self.ranks.first else SystemExit(0)

    def _validate(self) -> Evaluation:
        """Measure the epoch; the best so far is the one whose `Task.better` is largest.

        Of equal ones, it is that with the least loss: with few samples many epochs have the same accuracy. Without
        validation samples there is nothing to choose by: training samples are measured, and the last epoch is kept.
        """
        counters = self.counters
        held_out = len(self.validation) > 0
        with self._measurable() as sample:
            read = (
                self._read("validation", self.validation) if held_out else self._read_plain("training samples", sample)
            )
            result = evaluate(self.network, read, task=self.task, total=self.ranks.sum, each=self.ranks.each)
            if not math.isfinite(result.loss):
                self._fail(
                    f"epoch {counters.epoch + 1}: the validation loss is {result.loss}; "
                    f"lower learning_rate; {self.kept()}"
                )
            score = self.task.better(result)
            # One that is no number is better than none alone.
            least = -math.inf if counters.best_score is None else counters.best_score
            best = not counters.best_epoch or (score, -result.loss) > (least, -counters.best_loss) or not held_out
            for callback in self.callbacks:
                callback.validated(self, result, best=best)
            if best:
                if score > least or not counters.score_epoch or not held_out:
                    counters.score_epoch = counters.epoch + 1
                counters.best_epoch, counters.best_score = counters.epoch + 1, score if math.isfinite(score) else None
                counters.best_loss = result.loss
                counters.best_metrics, counters.best_per_step = finite(result.metrics), result.per_step
        self.log("validation", **({} if held_out else {"part": "train"}), **result.as_dict())
        return result

    @contextmanager
    def _measurable(self) -> Iterator[Tensor]:
        """Inside, the network is as it is measured and kept: with statistics re-estimated on the samples it yields."""
        draws = torch.Generator().manual_seed(derived_seed(self.seed, "reestimation", 0))
        # Whole batches, so that each sample counts alike; an epoch has at least one.
        whole = max(1, min(REESTIMATION_SAMPLES // self.batch_size, self.batches))
        sample = torch.randperm(len(self.train), generator=draws)[: whole * self.batch_size]
        with ExitStack() as inside:
            for callback in self.callbacks:
                inside.enter_context(callback.validating(self))
            # Those of streams are averages that were normalised by.
            if self.streams is None:
                measured = self._read_plain("batch norm", sample)
                inside.enter_context(reestimated(self.network, measured, time_steps=self.task.time_steps))
            yield sample

    def _compare_modes(self) -> None:
        """Warn if the network does far worse in eval mode, which is deployed, than in train mode."""
        # Streams are normalised alike in both modes. After a signal, a training that is complete only has to end.
        if self.streams is not None or self.pending.number is not None:
            return
        with self._measurable() as sample:
            chosen = sample[: max(self.batch_size, COMPARED_SAMPLES // self.batch_size * self.batch_size)]
            batches = list(self._read_plain("training samples", chosen))
            line = compared_modes(self.network, batches, task=self.task, device=self.fabric.device)
        if line is not None and self.ranks.first:
            self.say(line, warning=True)

    def _read_plain(self, what: str, indices: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of training samples without augmentation."""
        return self._read(what, self.train.plain(), indices)

    def _read(self, what: str, samples: Samples, indices: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of all samples, or of those of `indices`, in view of the callbacks."""
        chosen = torch.arange(len(samples)) if indices is None else indices
        shares = self.ranks.shares(torch.split(chosen, self.batch_size))
        with ExitStack() as inside:
            count = sum(map(len, shares))
            tell = [inside.enter_context(one.reading(self, what, count)) for one in self.callbacks]
            for x, target in self.pending.between(samples.stream(shares)):
                yield self.fabric.to_device((x, target))
                for one in tell:
                    one(len(target))

    def _learning_rate(self) -> float:
        # Counted in updates, all of whose batches have the same rate.
        accumulate = self.config.accumulate
        warmup = self.config.warmup_epochs * self.batches // accumulate
        step, total = self.counters.step // accumulate, self.steps // accumulate
        return self.config.learning_rate * warmed_up(self.optimization.schedule, step, total, warmup)

    def _log_training(self) -> None:
        counters = self.counters
        self.log(
            "train",
            loss=counters.loss / counters.window,
            accuracy=counters.correct / counters.answers if counters.answers else None,
            learning_rate=self.optimizer.param_groups[0]["lr"],
            **({"skipped_updates": self.step.skipped} if self.step.scaled else {}),
        )
        counters.window, counters.loss, counters.correct, counters.answers = 0, 0.0, 0, 0


def derived_seed(seed: int, purpose: str, index: int) -> int:
    """63 bits that depend on all three alone, the same on every machine."""
    digest = hashlib.blake2b(f"{seed}:{purpose}:{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
