"""The recipe, which contains all settings of a training run as frozen, typed values.

A `Component` is a recipe part selected by name, with its arguments as written in the recipe file.
For each kind of part, `hdlif.recipe.builders` contains a class that checks the arguments.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)

from hdlif.inputs.plain_yaml import not_plain

MOST_NAME_BYTES = 200
"""Maximum length in bytes of a name for files and folders, which extend it; file systems accept 255."""
MOST_TIME_STEPS = 2**15 - 1
"""Maximum number of time steps of a deployed network."""


def one_component(name: str) -> str:
    """Return `name` if it is valid as the name of a single file or folder; otherwise raise `ValueError`."""
    if name in ("", ".", "..") or not name.isprintable() or set(name) & {"/", "\\"}:
        raise ValueError("should be the name of one folder: printable, without / and \\, and not . or ..")
    if len(name.encode()) > MOST_NAME_BYTES:
        raise ValueError(f"should be at most {MOST_NAME_BYTES} bytes long, since a folder is named by it")
    return name


Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Side = Annotated[int, Field(ge=1, le=2**13)]
Text = Annotated[str, Field(min_length=1)]
Word = Annotated[str, Field(strict=True)]
Name = Annotated[str, AfterValidator(one_component)]
"""A name that is valid as one component of a path."""
# Strict typing would reject a YAML list, which must become a tuple; its entries stay strict.
Floats = Annotated[tuple[float, ...], Field(strict=False)]
Ints = Annotated[tuple[int, ...], Field(strict=False)]


def _if_plain(values: Any) -> Any:
    if (fault := not_plain(values)) is not None:
        raise ValueError(fault)
    return values


class Component(BaseModel):
    """A part of a recipe: `kind` selects the implementation by name, and all other keys are its arguments."""

    # A checkpoint stores the recipe as canonical JSON, so values are JSON values, without NaN and infinity.
    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)

    kind: Text
    __pydantic_extra__: dict[str, JsonValue]

    _plain = model_validator(mode="before")(_if_plain)

    @property
    def arguments(self) -> dict[str, JsonValue]:
        """Return every key except `kind`."""
        return dict(self.__pydantic_extra__)


def of_kind(kind: str) -> Component:
    """Return a part of the given kind, without arguments."""
    return Component.model_validate({"kind": kind})


class _Section(BaseModel):
    # With strict typing, "3" is not an integer and 1 is not a boolean, but an integer is accepted as a float.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    _plain = model_validator(mode="before")(_if_plain)

    EXTRAS: ClassVar[tuple[str, ...]] = ()
    """Keys that are written only if they differ from their default. A checkpoint or summary from before such a key was
    introduced therefore equals a newer checkpoint or summary."""

    @model_serializer(mode="wrap")
    def _without_what_is_off(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        off = {name for name in self.EXTRAS if getattr(self, name) == fields[name].default}
        return {name: value for name, value in serialize(self).items() if name not in off}


class MixupConfig(_Section):
    """Settings for Mixup and CutMix, applied per batch as in timm.

    `training.label_smoothing` also smooths the mixed labels.
    """

    mixup_alpha: float = Field(0.8, ge=0, description="Parameter of mixup's Beta distribution; 0 turns mixup off.")
    cutmix_alpha: float = Field(1.0, ge=0, description="Parameter of CutMix's Beta distribution; 0 turns CutMix off.")
    prob: float = Field(1.0, gt=0, le=1, description="Probability of mixing a batch.")
    switch_prob: float = Field(0.5, ge=0, le=1, description="Probability of CutMix instead of mixup, if both are on.")

    @model_validator(mode="after")
    def _mixes(self) -> Self:
        if self.mixup_alpha == self.cutmix_alpha == 0:
            raise ValueError("data.mixup.mixup_alpha = 0 and cutmix_alpha = 0 mix nothing; remove data.mixup")
        return self


class SoundConfig(_Section):
    """Settings for converting audio to time series, with the fields of `hdlif.graph.graph.SoundRecord`."""

    rate: int
    samples: int
    clips: Text
    every: int
    mels: int
    frame: int
    hop: int
    lowest_hz: float
    highest_hz: float


class InputConfig(_Section):
    """Settings for converting custom samples to tensors. The fields match the input record of a model file."""

    EXTRAS = ("binning", "sensor", "columns", "rates", "windows", "sound", "shortest")

    kind: Text
    shape: Annotated[tuple[Count, Count, Count], Field(strict=False)]
    mean: Floats
    std: Floats
    resize: Text
    fit: Text
    binning: Text = "none"
    sensor: Annotated[tuple[Count, Count], Field(strict=False)] | None = None
    columns: Annotated[tuple[Word, ...], Field(strict=False)] = ()
    rates: Ints = ()
    windows: Ints = ()
    sound: SoundConfig | None = None
    shortest: int = Field(0, ge=0)


class FoundConfig(_Section):
    """Properties of custom data, recorded when training starts and used for resuming, evaluation and export."""

    EXTRAS = ("target_mean", "target_std")

    digest: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the files, their targets and their parts.")
    classes: Annotated[tuple[Word, ...], Field(strict=False, min_length=1)] = Field(
        description="Names of the classes, values or labels."
    )
    input: InputConfig = Field(description="Conversion of a sample to numbers.")
    target_mean: Floats = Field((), description="Mean of each value, used to normalise it.")
    target_std: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(strict=False)] = Field(
        (), description="Standard deviation of each value, used to normalise it."
    )


def _written_as(one: object) -> str:
    return "name" if not isinstance(one, Mapping | Component) else "part"


_Augmentation = Annotated[Annotated[Word, Tag("name")] | Annotated[Component, Tag("part")], Discriminator(_written_as)]


class DataConfig(_Section):
    """The data set, its split and its batches. Keys without a field in this class are arguments of the data set."""

    model_config = ConfigDict(extra="allow")

    EXTRAS = ("mixup", "validation", "found")

    kind: Text = Field(description="Name of a shipped data set, or a kind of your own data.")
    batch_size: Count = Field(description="Samples per batch, over all devices.")
    validation: Count | None = Field(
        None, description="Number of training samples of a shipped data set to hold out for choosing the best epoch."
    )
    train: Count | None = Field(None, description="Number of training samples to use, from the first; all by default.")
    size: Side | Annotated[tuple[Side, Side], Field(strict=False)] | None = Field(
        None,
        description="Size for bilinear resizing: one number for square images, or [height, width] for your own images. "
        "By default, images are not resized.",
    )
    frames: Text = Field(
        "constant",
        description="Input of each time step: the whole image, a row or a pixel; for events, the binning.",
    )
    augment: Annotated[tuple[_Augmentation, ...], Field(strict=False)] = Field(
        (), description="Augmentations, in order: names, or {kind: NAME, ...} with arguments."
    )
    mixup: MixupConfig | None = Field(None, description="Mixup and CutMix of each batch; {} uses the published values.")
    found: FoundConfig | None = Field(
        None, description="Facts about your own data, recorded when training starts; do not set them by hand."
    )
    __pydantic_extra__: dict[str, JsonValue]

    @property
    def arguments(self) -> dict[str, JsonValue]:
        """Return the arguments for the kind of data set."""
        return dict(self.__pydantic_extra__)


class TrainingConfig(_Section):
    """The optimiser, its learning rate schedule, the precision, and options that are off by default.

    >>> import hdlif
    >>> config = hdlif.TrainingConfig(epochs=30, learning_rate=0.1, warmup_epochs=2, precision="bf16-mixed")
    >>> config.optimizer.kind, config.schedule.kind
    ('sgd', 'cosine')

    Attributes:
        epochs: passes over the training set, at least 1.
        learning_rate: the largest value, reached after the warm-up; above 0.
        optimizer, schedule: names with their arguments; by default SGD with Nesterov momentum, and a cosine to 0.
        momentum: momentum of SGD, in [0, 1).
        weight_decay: 0 or more; vectors, scalars and per-step parameters have none.
        warmup_epochs: epochs in which the learning rate rises linearly, at most `epochs`.
        label_smoothing: smoothing of the labels in the recipe's loss, in [0, 1).
        precision: "32-true", "16-mixed", "bf16-mixed" or "64-true".
        clip_norm: the largest norm of an update's gradient; None for no limit.
        accumulate: batches whose gradients make one update.
        stream: time steps per update if samples are streams; None if each sample starts a new sequence.
        ema_decay: decay of a moving average of the weights, in (0, 1); None for no average.
        patience: epochs without a better validation result before training stops; None for no limit.
        keep_every: interval in epochs at which networks are kept; None keeps only the best network.
        channels_last: store weights and images with channels last.
        compile: run the network of a training step through torch.compile.
    """

    EXTRAS = (
        *("optimizer", "schedule", "clip_norm", "accumulate", "ema_decay"),
        *("stream", "patience", "keep_every", "channels_last", "compile"),
    )

    epochs: int = Field(ge=1, le=10**6, description="Passes over the training samples.")
    learning_rate: float = Field(gt=0, description="Maximum learning rate, reached after the warm-up.")
    optimizer: Component = Field(of_kind("sgd"), description="The optimiser; SGD with Nesterov momentum by default.")
    schedule: Component = Field(
        of_kind("cosine"), description="Learning rate schedule after the warm-up; cosine by default."
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of SGD.")
    weight_decay: float = Field(5e-4, ge=0, description="Weight decay; not applied to thresholds, leaks and norms.")
    warmup_epochs: int = Field(0, ge=0, description="Epochs over which the learning rate rises linearly.")
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Fraction of the target that is spread over all classes."
    )
    precision: Literal["32-true", "16-mixed", "bf16-mixed", "64-true"] = Field(
        "32-true", description="Number format of training; states stay float32. On a CPU, 16-mixed runs as bf16-mixed."
    )
    clip_norm: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Maximum gradient norm per update; larger gradients are scaled down."
    )
    accumulate: Count = Field(1, description="Batches per update; batch norm normalises each batch separately.")
    stream: Count | None = Field(
        None, description="Time steps per update, if each sample continues from the final state of the previous sample."
    )
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="Decay of a moving average of the weights; the average is validated and saved."
    )
    patience: Count | None = Field(None, description="Stop after this many epochs without a better validation result.")
    keep_every: Count | None = Field(
        None, description="Interval in epochs at which networks are saved as epoch_N.safetensors."
    )
    channels_last: bool = Field(
        False, description="Store weights and images with channels last, if PyTorch supports it correctly."
    )
    compile: bool = Field(False, description="Run the network through torch.compile.")

    @model_validator(mode="after")
    def _warmup_fits(self) -> Self:
        if self.warmup_epochs > self.epochs:
            limit = f"it should be at most training.epochs = {self.epochs}"
            raise ValueError(f"training.warmup_epochs = {self.warmup_epochs} is refused; {limit}")
        return self


class StartConfig(_Section):
    """The trained network that provides the initial weights; `hdlif train --from` writes this section."""

    network: Text = Field(description="Name of a trained network, a checkpoint, or a run folder.")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of its weights file.")


class Recipe(_Section):
    """A recipe for a training run: the network, the learning rule, the data and the training settings."""

    EXTRAS = ("teacher", "task", "start")

    name: Name = Field(
        description="Name of the run folder, runs/NAME; by default, the recipe's file name without its suffix."
    )
    seed: int = Field(
        42, ge=0, lt=2**32, description="Seed of the initial weights, data order, augmentation and random time steps."
    )
    time_steps: int = Field(ge=1, le=MOST_TIME_STEPS, description="T, the number of time steps per sequence.")
    data: DataConfig = Field(description="The data set, its split and its batches.")
    model: Component = Field(description="The network.")
    norm: Component = Field(of_kind("batch_norm"), description="Normalisation after the body's convolutions.")
    attention: Component = Field(of_kind("none"), description="Channel attention after the body's norms.")
    neuron: Component = Field(description="The neuron layers.")
    weights: Component = Field(description="Precision of the body's weights.")
    spikes: Component = Field(description="Rounding of graded spikes.")
    rule: Component = Field(
        description="The learning rule: which steps run, which have a loss, and where the gradient through time is cut."
    )
    task: Component = Field(of_kind("classify"), description="The task: targets, predictions and metrics.")
    activity: Component = Field(of_kind("free"), description="A penalty on spikes.")
    training: TrainingConfig = Field(
        description="The optimiser, the learning rate schedule, the precision and the number of epochs."
    )
    teacher: Component | None = Field(
        None, description="A trained classifier whose logits the network learns in addition to the labels."
    )
    start: StartConfig | None = Field(
        None, description="The trained network whose weights the training starts from, written by `hdlif train --from`."
    )
