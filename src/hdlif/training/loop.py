"""The training loop, which handles the optimiser, the precision and the device; learning rules handle time steps.

Random numbers depend only on the seed and a counter. The counter is the epoch number for the data order, the step
number for dropout and mixup, and the update number for a rule's plan. Counters, weights, momenta and callback state are
therefore the complete state of a run. A run that is stopped and resumed writes the same bytes as an uninterrupted run.
In training on streams, checkpoints also contain the streams' state (`training.streaming`).
"""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor

from hdlif.data import Samples, batches
from hdlif.errors import CheckpointError, DataError, InputError, TrainingError, brief
from hdlif.learning import loss_over, mean_logits
from hdlif.training import checkpoint
from hdlif.training.batch_learner import BatchLearner
from hdlif.training.callback import callback_states, load_callback_states
from hdlif.training.checkpoints import Checkpoints, SavedState
from hdlif.training.entry import check_outputs
from hdlif.training.interfaces import Settings
from hdlif.training.interruption import Interrupted, Pending
from hdlif.training.optimization import LearningRates
from hdlif.training.progress import report_omitted_samples, report_traces
from hdlif.training.ranks import Ranks
from hdlif.training.state_record import Counters, counters_of
from hdlif.training.streaming import Streams
from hdlif.training.temperature import adapt_temperatures, dspikes
from hdlif.training.threads import Threads, candidates, measured, rounds_for
from hdlif.training.update import Updater
from hdlif.training.validation import Validation


@dataclass
class TrainingLoop:
    """A training run in progress; callbacks access it through the interface `callback.Training`.

    Args:
        trainer: the settings.
        train, validation: samples.
        pending: signals that end the training.
    """

    trainer: Settings
    train: Samples
    validation: Samples
    ranks: Ranks
    pending: Pending

    def __post_init__(self) -> None:
        trainer, self.accelerator = self.trainer, self.ranks.accelerator
        self.model, self.rule, self.task, config = trainer.model, trainer.rule, trainer.task, trainer.config
        self.config, self.callbacks, self.batch_size = config, trainer.callbacks, trainer.batch_size
        self.batches = self.ranks.together(self._count_batches)
        self.steps = config.epochs * self.batches
        self.optimizer = trainer.optimization.make_optimizer(self.model)
        self.rates = LearningRates(
            self.optimizer,
            trainer.optimization.schedule,
            total=self.steps // config.accumulate,
            warmup=config.warmup_epochs * self.batches // config.accumulate,
        )
        self.updater = Updater(
            self.accelerator,
            self.model,
            self.optimizer,
            self.rule,
            penalty=trainer.penalty,
            clip_norm=config.clip_norm,
            channels_last=config.channels_last,
            compiled=trainer.compile_backend if config.compile else None,
            after=self._end_update,
        )
        self.network = self.updater.network
        self.streams = self._new_streams()
        self.ranks.together(lambda: check_outputs(self.network, self._first_sample(), self.task))
        self.validator = Validation(self)
        self.counters, self.should_stop = Counters(), False
        self.chosen: Threads | None = None
        self.checkpoints = [one for one in self.callbacks if isinstance(one, Checkpoints)]
        self.batch_learner = BatchLearner(self)
        found = [state for one in self.checkpoints if (state := one.saved_state(self.ranks)) is not None]
        if found:
            self.ranks.together(lambda: self._resume(found[0]))
        self.started = time.monotonic() - self.counters.train_seconds
        for callback in self.callbacks:
            callback.on_train_start(self)
        if found and found[0].damage is not None:
            self.log("fallback", damage=found[0].damage)
            if self.ranks.first:
                self.say(f"{found[0].damage}; resuming from {found[0].path}, step {self.counters.step}", warning=True)

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    def autocast(self) -> AbstractContextManager[Any]:
        """Return a context in which torch computes in the training precision."""
        return self.accelerator.autocast()

    def run(self) -> None:
        """Run all remaining epochs."""
        try:
            self._run_epochs()
        except Interrupted as interrupted:
            for one in self.checkpoints:
                one.save(self)
            if not self.ranks.first:
                raise SystemExit(0) from None
            epochs = self.config.epochs
            raise interrupted.consequence_in(f"in epoch {min(self.counters.epoch + 1, epochs)} of {epochs}") from None
        if not self.counters.best_epoch:
            raise TrainingError("no epoch was run: a callback stops the training before the first")
        for callback in self.callbacks:
            callback.on_train_end(self)
        self.network.eval()

    def _run_epochs(self) -> None:
        counters = self.counters
        report_omitted_samples(self, len(self.train), self.batch_size)
        report_traces(self, self.train, self.batch_size)
        self._set_threads()
        while counters.epoch < self.config.epochs and not self.ranks.highest(self.should_stop):
            self.network.train()
            self.train.set_epoch(counters.epoch)
            left = self._order(counters.epoch)[counters.batch :]
            self.batch_learner.ask_ranks()
            for x, target in self.train.stream(self.ranks.shares(left)):
                # Checkpoints contain no gradients of incomplete updates.
                if counters.batch % self.config.accumulate == 0:
                    self._rest()
                if counters.batch == 0:
                    # After any checkpoint, so that a resumed run adapts exactly once.
                    self._adapt_surrogates()
                # All batches of an update use the same learning rates.
                self.rates.set(counters.step // self.config.accumulate)
                self.batch_learner.learn(*self.accelerator.to_device(x, target))
                for callback in self.callbacks:
                    callback.on_batch_end(self)
                if counters.step % self.trainer.log_every == 0 or counters.batch == self.batches:
                    self._log_training()
            result = self.validator.run()
            self.rates.end_epoch(result.loss)
            for callback in self.callbacks:
                callback.on_epoch_end(self, result)
            counters.epoch, counters.batch = counters.epoch + 1, 0
            counters.train_seconds = self._seconds()
            for one in self.checkpoints:
                one.save(self)
        self.validator.compare_modes()

    def log(self, event: str, **values: object) -> None:
        """Send an event to the callbacks."""
        place = {"event": event, "epoch": self.counters.epoch + 1, "step": self.counters.step}
        written = {**place, **values, "seconds": round(self._seconds(), 3)}
        for callback in self.callbacks:
            callback.on_log(self, written)

    def _seconds(self) -> float:
        """Return the training time in seconds, summed over all interrupted and resumed runs."""
        return time.monotonic() - self.started

    def say(self, line: str, *, warning: bool = False) -> None:
        """Show a line to the user."""
        self.log("message", line=line, warning=warning)

    def seed_for(self, purpose: str) -> int:
        """Return a 63-bit seed for the current batch; each rank gets a different seed."""
        return derived_seed(self.trainer.seed, self.ranks.seed_name(purpose), self.counters.step)

    def generator(self, purpose: str, index: int) -> torch.Generator:
        """Return a random generator that is the same on every rank and every machine."""
        return torch.Generator().manual_seed(derived_seed(self.trainer.seed, purpose, index))

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the content of a checkpoint: tensors, and a record of plain values."""
        self.counters.train_seconds = self._seconds()
        tensors, of_callbacks = callback_states(self.callbacks)
        tensors |= checkpoint.training_tensors(self.model, self.optimizer)
        record: dict[str, Any] = {
            "counters": asdict(self.counters),
            "callbacks": of_callbacks,
            # The loss scale of float16 training; empty in other precisions.
            "precision": self.accelerator.state_dict(),
            "threads": None if self.chosen is None else self.chosen.count,
            "skipped_updates": self.updater.skipped,
        }
        if self.rates.losses:
            record["scheduled_losses"] = self.rates.losses
        if self.streams is not None:
            tensors |= self.streams.tensors()
            record["stream_steps"] = self.streams.carry.step
        return tensors, record

    def _resume(self, found: SavedState) -> None:
        """Continue from a checkpoint."""
        record, counters = found.record, counters_of(found.record, found.path)
        place = counters.epoch * self.batches + counters.batch
        if counters.epoch > self.config.epochs or counters.batch > self.batches or counters.step != place:
            raise CheckpointError(
                f"{found.path}: saved at epoch {counters.epoch}, batch {counters.batch}, step {counters.step}, which "
                f"does not fit {self.config.epochs} epochs of {self.batches} batches; its data differ, so train again"
            )
        checkpoint.restore_training(self.model, self.optimizer, found.tensors, found.path)
        if (kept := record["precision"]) and (own := self.accelerator.state_dict()):
            if kept.keys() != own.keys() or not kept["scale"]:
                raise CheckpointError(f"{found.path}: precision = {brief(kept)} is not a loss scale; train again")
            self.accelerator.load_state_dict(kept)
        # Checkpoints of earlier versions have no such count.
        self.updater.skipped = int(record.get("skipped_updates", 0))
        if self.streams is not None:
            self.streams.restore(found.tensors, int(record.get("stream_steps", 0)), self.device, found.path)
        self.rates.resume(record.get("scheduled_losses", ()), counters.epoch)
        load_callback_states(self.callbacks, found.tensors, record["callbacks"])
        self.counters = counters
        # Checkpoints of earlier versions have no thread count. More threads than cores would not help.
        count = record.get("threads")
        if self.trainer.threads is None and count is not None and count <= (self.trainer.cores or count):
            self.chosen = Threads(count, "checkpoint")

    def _set_threads(self) -> None:
        """Set the number of threads that was given or resumed, or choose one; if it was measured, log and print it."""
        if self.trainer.threads is not None:
            self.chosen = Threads(self.trainer.threads, "given")
        if self.chosen is None:
            self.chosen = self._choose_threads()
            if self.chosen.chosen_by == "measured":
                self.log("threads", **self.chosen.as_dict())
                self.say(str(self.chosen))
        torch.set_num_threads(self.chosen.count)

    def _choose_threads(self) -> Threads:
        cores = self.trainer.cores
        if cores > 1 and self.device.type == "cpu" and self.ranks.count == 1:
            counts = candidates(cores)
            rounds = rounds_for(self.steps - self.counters.step, len(counts))
            if rounds is not None:
                return measured(self._update_of_a_copy(), counts, rounds=rounds)
        return Threads(torch.get_num_threads(), "default")

    def _update_of_a_copy(self) -> Callable[[int], None]:
        """Return a function that runs update `i` on an uncompiled copy of the network, always on the first batch."""
        config = self.config
        memo: dict[int, Any] = {}
        model = copy.deepcopy(self.model, memo).train()
        updater = Updater(
            self.accelerator,
            model,
            self.trainer.optimization.copied(model, memo),
            self.rule,
            penalty=self.trainer.penalty,
            clip_norm=config.clip_norm,
            channels_last=config.channels_last,
        )
        self.train.set_epoch(0)
        batch = self.batch_learner.prepared(*self.accelerator.to_device(*self.train.sequence(self._order(0)[0])))
        streams = self._new_streams()
        # The copy's updates must not move the loss scale of float16.
        scale = copy.deepcopy(self.accelerator.state_dict())

        def update(number: int) -> None:
            self.pending.check()
            self.batch_learner.seed_noise()
            draws = self.generator("plan", number)
            if streams is None:
                updater(batch.x, batch.target, self.rule.schedule(self.task.time_steps, draws))
            else:
                streams.update(updater, batch.x, batch.target, draws)
            if scale:
                self.accelerator.load_state_dict(scale)

        return update

    def _adapt_surrogates(self) -> None:
        """Adapt the temperature of the Dspike surrogates, if any, using the epoch's first batch."""
        if not dspikes(self.model):
            return
        (share,) = self.ranks.shares(self._order(self.counters.epoch)[:1])
        x, target = self.accelerator.to_device(*self.train.sequence(share))
        criterion = self.task.criterion()

        def loss() -> Tensor:
            outputs, _ = self.network(x, steps=range(self.task.time_steps))
            return loss_over(criterion, outputs, target, mean_logits)

        draws = self.generator("temperature", self.counters.epoch)
        temperature = adapt_temperatures(self.network, loss, generator=draws, mean=self.ranks.mean)
        self.log("surrogate", temperature=temperature)

    def _new_streams(self) -> Streams | None:
        """Return newly started streams, or None if samples are independent."""
        every = self.config.stream
        if every is None:
            return None
        if self.config.accumulate > 1 or self.ranks.count > 1:
            raise InputError(
                "training.stream makes one update per part of a batch, in one process; remove training.accumulate "
                "and --devices"
            )
        return Streams(every, self.task.time_steps, self.rule, self.model)

    def _count_batches(self) -> int:
        if len(self.validation):
            self.ranks.shares([torch.empty(len(self.validation))])
        return len(self._order(0))

    def _first_sample(self) -> Tensor:
        x, _ = self.train.plain().sequence(torch.zeros(1, dtype=torch.int64))
        return x.to(self.device)

    def _order(self, epoch: int) -> list[Tensor]:
        n, accumulate = len(self.train), self.config.accumulate
        order = batches(n, batch_size=self.batch_size, seed=self.trainer.seed, epoch=epoch, drop_last=True)
        # Only complete updates, as with one batch of that size.
        if len(order) < accumulate:
            raise DataError(
                f"{n} samples fill {len(order)} batches of {self.batch_size}, but an update takes accumulate = "
                f"{accumulate}; lower it, or batch_size"
            )
        return order[: len(order) - len(order) % accumulate]

    def _rest(self) -> None:
        """Between two batches, stop for a signal or write a checkpoint if it is due; all ranks do the same."""
        if self.ranks.count == 1:
            self.batch_learner.ask_ranks()
        if self.batch_learner.signal:
            raise Interrupted(self.batch_learner.signal)
        if self.batch_learner.is_checkpoint_due:
            for one in self.checkpoints:
                one.save(self)

    def fail(self, message: str) -> NoReturn:
        """End training on all ranks; the first rank raises an error that describes the state to resume from."""
        kept = self.checkpoints[0].files.kept() if self.checkpoints else "no checkpoints are written"
        raise TrainingError(f"{message}; {kept}") if self.ranks.first else SystemExit(0)

    def _end_update(self) -> None:
        for callback in self.callbacks:
            callback.on_update_end(self)

    def _log_training(self) -> None:
        counters = self.counters
        self.log(
            "train",
            loss=counters.loss / counters.window,
            accuracy=counters.correct / counters.answers if counters.answers else None,
            learning_rate=self.optimizer.param_groups[0]["lr"],
            **({} if self.accelerator.scaler is None else {"skipped_updates": self.updater.skipped}),
        )
        counters.window, counters.loss, counters.correct, counters.answers = 0, 0.0, 0, 0


def derived_seed(seed: int, purpose: str, index: int) -> int:
    """Return a 63-bit seed that depends only on the arguments and is the same on every machine."""
    digest = hashlib.blake2b(f"{seed}:{purpose}:{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
