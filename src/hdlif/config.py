"""The recipe: everything that decides a training run, as frozen, typed values read from YAML.

Keys, types and ranges are checked here. Which kinds exist and what arguments they take is known to
`hdlif.builders` alone, so a `Component` carries its arguments as they stand in the file.

Its YAML is what `hdlif.plain_yaml` reads.

A recipe may name a `base`, another recipe, and then states only what differs; the base has none itself. A section that
states its `kind` replaces the base's, any other is merged with it key by key. A base is a shipped recipe, or a file at
or below the folder of the recipe; an error says nothing of what such a file holds, which may be no recipe.
"""

import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    Tag,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import ErrorDetails

from hdlif.errors import RecipeError, cut, did_you_mean
from hdlif.plain_yaml import MOST_BYTES, MOST_DEPTH, Dumper, not_plain, parse_yaml, shown, text_of

MOST_NAME_BYTES = 200
"""Of a name that files and folders are named by, which add something to it; a file system takes 255."""
MOST_TIME_STEPS = 2**15 - 1
"""What a deployed network may have."""
ALIASES: Mapping[str, str] = {
    "T": "time_steps",
    "batch": "data.batch_size",
    "bs": "data.batch_size",
    "lr": "training.learning_rate",
    "wd": "training.weight_decay",
}
"""What others call a key, for the error that names it; a recipe takes none of them."""


def one_component(name: str) -> str:
    """`name`, if a file or folder may have it and it stays in the folder it is put in; otherwise `ValueError`."""
    if name in ("", ".", "..") or not name.isprintable() or set(name) & {"/", "\\"}:
        raise ValueError("should be the name of one folder: printable, without / and \\, and not . or ..")
    if len(name.encode()) > MOST_NAME_BYTES:
        raise ValueError(f"should be at most {MOST_NAME_BYTES} bytes long, since a folder is named by it")
    return name


Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, AfterValidator(one_component)]
"""What becomes one component of a path."""


def _if_plain(values: Any) -> Any:
    if (fault := not_plain(values)) is not None:
        raise ValueError(fault)
    return values


class Component(BaseModel):
    """A part chosen by name: `kind`, and the keyword arguments of its constructor."""

    # A checkpoint keeps the recipe as canonical JSON: values are JSON's, and it has no NaN and no infinity.
    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)

    kind: Text
    __pydantic_extra__: dict[str, JsonValue]

    _plain = model_validator(mode="before")(_if_plain)

    @property
    def arguments(self) -> dict[str, JsonValue]:
        """Every key but `kind`."""
        return dict(self.__pydantic_extra__)


class _Section(BaseModel):
    # strict: "3" is no integer and 1 no boolean; an integer is still good where a float is asked for.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    _plain = model_validator(mode="before")(_if_plain)

    EXTRAS: ClassVar[tuple[str, ...]] = ()
    """Keys that are off by default, and not written out where they are: what was written before there was such a key
    (a checkpoint, a summary) equals what is written after."""

    @model_serializer(mode="wrap")
    def _without_what_is_off(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        off = {name for name in self.EXTRAS if getattr(self, name) == fields[name].default}
        return {name: value for name, value in serialize(self).items() if name not in off}


class MixupConfig(_Section):
    """Mixup and CutMix as timm draws them, once a batch; `training.label_smoothing` smooths the mixed labels."""

    mixup_alpha: Annotated[float, Field(ge=0)] = 0.8
    cutmix_alpha: Annotated[float, Field(ge=0)] = 1.0
    prob: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Of mixing a batch at all."""
    switch_prob: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Of CutMix, where both are on."""

    @model_validator(mode="after")
    def _mixes(self) -> Self:
        if self.mixup_alpha == self.cutmix_alpha == 0:
            raise ValueError("data.mixup.mixup_alpha = 0 beside cutmix_alpha = 0 mixes nothing; leave data.mixup out")
        return self


class SoundConfig(_Section):
    """How sounds became series: the fields of `hdlif.ops.sound.SoundRecord`, which states them."""

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
    """How a whole sample of data that were looked at becomes numbers: the fields of an artefact's input record."""

    EXTRAS = ("binning", "sensor", "columns", "rates", "windows", "sound", "shortest")

    kind: Text
    shape: Annotated[tuple[Count, Count, Count], Field(strict=False)]
    mean: Annotated[tuple[float, ...], Field(strict=False)]
    std: Annotated[tuple[float, ...], Field(strict=False)]
    resize: Text
    fit: Text
    binning: Text = "none"
    sensor: Annotated[tuple[Count, Count], Field(strict=False)] | None = None
    columns: Annotated[tuple[Annotated[str, Field(strict=True)], ...], Field(strict=False)] = ()
    rates: Annotated[tuple[int, ...], Field(strict=False)] = ()
    windows: Annotated[tuple[int, ...], Field(strict=False)] = ()
    sound: SoundConfig | None = None
    shortest: Annotated[int, Field(ge=0)] = 0


class FoundConfig(_Section):
    """What was found in data of the user's own when a training began: what it is resumed, measured and exported by."""

    EXTRAS = ("target_mean", "target_std")

    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Of the files, of what is learned of each, and of the part that each is in."""
    classes: Annotated[tuple[Annotated[str, Field(strict=True)], ...], Field(strict=False, min_length=1)]
    """The names of what is learned: of classes, or of values."""
    input: InputConfig
    target_mean: Annotated[tuple[float, ...], Field(strict=False)] = ()
    """Of each value, by which it is normalised; of classes none."""
    target_std: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(strict=False)] = ()


def _written_as(one: object) -> str:
    return "name" if not isinstance(one, Mapping | Component) else "part"


_Augmentation = Annotated[
    Annotated[str, Field(strict=True), Tag("name")] | Annotated[Component, Tag("part")], Discriminator(_written_as)
]


class DataConfig(_Section):
    """The data set, its split and its batches; keys beside these are arguments of its kind."""

    model_config = ConfigDict(extra="allow")

    EXTRAS = ("mixup", "validation", "found")

    kind: Text
    batch_size: Count
    """Samples of an update: of all devices together, which share them equally."""
    validation: Count | None = None
    """Training images of a set that ships that are held out to choose the best epoch."""
    train: Count | None = None
    """Training images used, the first ones; all by default."""
    size: Annotated[int, Field(ge=1, le=2**13)] | None = None
    """Images are resized to size x size, bilinearly; by default they stay as they are."""
    frames: Text = "constant"
    """How an image becomes a sequence: the same at every step, a row a step, or a pixel a step."""
    # A YAML list has to become a tuple, which strict typing would refuse; the names in it stay strict.
    augment: Annotated[tuple[_Augmentation, ...], Field(strict=False)] = ()
    """By name, or as a section of `kind` and arguments."""
    mixup: MixupConfig | None = None
    """Mixes the samples and labels of a batch; `{}` takes the published values."""
    found: FoundConfig | None = None
    """Written by a training on data of the user's own."""
    __pydantic_extra__: dict[str, JsonValue]

    @property
    def arguments(self) -> dict[str, JsonValue]:
        """What the kind of data takes besides."""
        return dict(self.__pydantic_extra__)


class TrainingConfig(_Section):
    """The optimiser, the schedule of its learning rate, the precision, and what is off by default.

    >>> import hdlif
    >>> config = hdlif.TrainingConfig(epochs=30, learning_rate=0.1, warmup_epochs=2, precision="bf16-mixed")
    >>> config.optimizer.kind, config.schedule.kind
    ('sgd', 'cosine')

    Attributes:
        epochs: passes over the training set, at least 1.
        learning_rate: above 0; its largest value, after the warm-up.
        optimizer, schedule: by name, with their arguments; by default SGD with Nesterov momentum, and a cosine to 0.
        momentum: of SGD, in [0, 1).
        weight_decay: 0 or more; vectors, scalars and what belongs to time steps have none.
        warmup_epochs: in which the learning rate rises linearly, at most `epochs`.
        label_smoothing: of the recipe's loss, in [0, 1).
        precision: "32-true", "16-mixed", "bf16-mixed" or "64-true".
        clip_norm: the largest norm of an update's gradient; None for no limit.
        accumulate: batches whose gradients make one update.
        stream: steps from one update to the next where samples are streams; None for samples that begin anew.
        ema_decay: of a moving average of the weights, in (0, 1); None for none.
        patience: epochs without a better validation after which training stops; None for no limit.
        keep_every: epochs from one network that is kept to the next; None keeps the best.
        channels_last: lay weights and images out with channels last.
        compile: run the network of a training step through torch.compile.
    """

    EXTRAS = (
        "optimizer",
        "schedule",
        "clip_norm",
        "accumulate",
        "ema_decay",
        "stream",
        "patience",
        "keep_every",
        "channels_last",
        "compile",
    )

    epochs: Annotated[int, Field(ge=1, le=10**6)]
    learning_rate: Annotated[float, Field(gt=0)]
    optimizer: Component = Component.model_validate({"kind": "sgd"})
    """SGD with Nesterov momentum by default."""
    schedule: Component = Component.model_validate({"kind": "cosine"})
    """Of the learning rate, behind the warm-up."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of SGD."""
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    warmup_epochs: Annotated[int, Field(ge=0)] = 0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    precision: Literal["32-true", "16-mixed", "bf16-mixed", "64-true"] = "32-true"
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Largest norm of an update's gradient, over all parameters; a longer one is scaled down to it."""
    accumulate: Count = 1
    """Batches whose gradients make one update."""
    stream: Count | None = None
    """Steps from one update to the next where samples are streams: each goes on with the state of the one before."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Of a moving average of the weights, which is what is validated and kept."""
    patience: Count | None = None
    """Epochs without a better validation accuracy after which training stops."""
    keep_every: Count | None = None
    """Epochs from one network that is kept, epoch_N.safetensors, to the next."""
    channels_last: bool = False
    """Lay weights and images out with channels last."""
    compile: bool = False
    """Run the network of a training step through torch.compile."""

    @model_validator(mode="after")
    def _warmup_fits(self) -> Self:
        if self.warmup_epochs > self.epochs:
            raise ValueError(
                f"training.warmup_epochs = {self.warmup_epochs} is refused; "
                f"it should be at most training.epochs = {self.epochs}"
            )
        return self


class Recipe(_Section):
    """One row of a results table: a network, its learning rule, its data and how it is trained."""

    EXTRAS = ("teacher", "task")

    name: Name
    """The stem of the file, unless the file states a `name` (the recipe kept in a run folder does). Its run folder is
    runs/NAME."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    time_steps: Annotated[int, Field(ge=1, le=MOST_TIME_STEPS)]
    data: DataConfig
    model: Component
    norm: Component = Component.model_validate({"kind": "batch_norm"})
    """The batch norms behind the body's convolutions."""
    attention: Component = Component.model_validate({"kind": "none"})
    """Channel attention behind the body's batch norms."""
    neuron: Component
    weights: Component
    spikes: Component
    rule: Component
    task: Component = Component.model_validate({"kind": "classify"})
    """What is learned."""
    activity: Component = Component.model_validate({"kind": "free"})
    """The penalty on spikes."""
    training: TrainingConfig
    teacher: Component | None = None
    """A trained network whose logits are learned from beside the labels."""


def shipped_recipes() -> list[str]:
    """Names of the recipes that come with the package, sorted."""
    folder = files("hdlif").joinpath("recipes")
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def recipe_text(name_or_path: str | Path) -> tuple[str, str]:
    """The name and the text of a shipped recipe or of a file.

    A string that is the name of a shipped recipe means that one, whatever lies in the working folder.

    Raises:
        RecipeError: no such file or name, or a file that is no UTF-8 text of at most `MOST_BYTES`.
    """
    shipped = shipped_recipes()
    if isinstance(name_or_path, str) and name_or_path in shipped:
        return name_or_path, files("hdlif").joinpath("recipes", f"{name_or_path}.yaml").read_text("utf-8")
    path = Path(name_or_path)
    try:
        return path.stem, text_of(path, "a recipe")
    except FileNotFoundError:
        raise RecipeError(
            f"{name_or_path}: there is no such file and no shipped recipe of that name; "
            f"give the path of a YAML file or {did_you_mean(str(name_or_path), shipped)}"
        ) from None


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, replace single values, and check keys, types and ranges.

    Args:
        name_or_path: the name of a shipped recipe, or the path of a YAML file.
        overrides: `key=value` or `section.key=value`, the value in YAML. A whole section can be replaced,
            which is how a kind with other arguments is chosen: `neuron={kind: lif}`.
    Raises:
        RecipeError: names the file, the key, the value seen and what is accepted.
    """
    name, own, base = _trees(name_or_path)
    tree = own if base is None else _merged(base.tree, own)
    for override in overrides:
        replace_value(tree, override)
    try:
        return Recipe.model_validate({"name": name} | tree)
    except ValidationError as error:
        errors = error.errors()
    if base is not None and not base.ships:
        _blame_base(name_or_path, base, own, overrides, errors)
    # Of what a base's file holds nothing is said.
    said = f"{name_or_path}: {_explain(errors, tree if base is None or base.ships else own)}"
    raise RecipeError(said, no_section=_no_section(worst(errors)))


def data_section(name: str, keys: Mapping[str, Any]) -> DataConfig:
    """The section `data` of these keys and values, checked as that of a recipe; `name` begins the error.

    Raises:
        RecipeError: as of `load_recipe`.
    """
    try:
        return DataConfig.model_validate(keys)
    except ValidationError as error:
        errors = error.errors()
    for one in errors:
        one["loc"] = ("data", *one["loc"])
    raise RecipeError(f"{name}: {_explain(errors, {'data': keys})}")


@dataclass(frozen=True)
class _Base:
    stated: str
    ships: bool
    tree: dict[str, Any]


def _trees(name_or_path: str | Path) -> tuple[str, dict[str, Any], _Base | None]:
    """The name of a recipe, what it states itself, and its base, if it has one."""
    name, own = _own_tree(name_or_path)
    stated = own.pop("base", None)
    if stated is None:
        return name, own, None
    if not isinstance(stated, str) or not stated:
        raise RecipeError(f"{name_or_path}: base = {shown(stated)} is refused; give the name or path of a recipe")
    ships = stated in shipped_recipes()
    seen = f"{name_or_path}: base = {shown(stated)}"
    _, tree = _own_tree(stated if ships else below(Path(name_or_path).parent, stated, seen), seen)
    if "base" in tree:
        # Of what a file holds nothing is said.
        that_one = f"base: {tree['base']}" if ships else "that one"
        raise RecipeError(f"{seen} has a base itself; name {that_one}, and state what differs from it")
    # The name is of the file, unless this one states it.
    tree.pop("name", None)
    return name, own, _Base(stated, ships, tree)


def below(folder: Path, stated: str, seen: str, *, kind: str = "recipe", shipped: Sequence[str] | None = None) -> Path:
    """The file that a recipe or table in `folder` names as its base, links resolved.

    Args:
        seen: begins the error.
        kind: what the file should be.
        shipped: names of those that ship, for the error; the recipes' without them.
    Raises:
        RecipeError: it is none at or below the folder.
    """
    try:
        folder, path = folder.resolve(), (folder / stated).resolve()
        inside = path.is_relative_to(folder)
    # a NUL, or half a surrogate pair; a loop of links; a folder that may not be read
    except (ValueError, OSError, RuntimeError):
        inside = False
    # Outside nothing is looked for, so that the error cannot say what is there.
    there = False
    if inside:
        # a name that is too long
        with contextlib.suppress(OSError):
            there = path.is_file()
    if not inside:
        raise RecipeError(f"{seen} is refused; give a shipped {kind}, or a file at or below the folder of this one")
    if not there:
        mend = did_you_mean(stated, shipped_recipes() if shipped is None else shipped)
        raise RecipeError(
            f"{seen}: there is no such file and no shipped {kind} of that name; "
            f"give the path of a YAML file at or below the folder of this one or {mend}"
        )
    return path


def _merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """What `own` does not state is the base's."""
    merged = {key: dict(value) if isinstance(value, dict) else value for key, value in base.items()}
    for key, value in own.items():
        section = merged.get(key)
        if isinstance(value, dict) and isinstance(section, dict) and "kind" not in value:
            section.update(value)
        else:
            merged[key] = value
    return merged


def _blame_base(
    name_or_path: str | Path, base: _Base, own: dict[str, Any], overrides: Sequence[str], errors: list[ErrorDetails]
) -> None:
    """Raise `RecipeError` where the fault is the base file's, of whose content nothing is said."""
    try:
        stated = own
        for override in overrides:
            replace_value(stated, override)
    except RecipeError:
        # It goes into a section that is the base's.
        return
    location = worst(errors)["loc"]
    if worst(errors)["type"] == "missing":
        return
    place: Any = stated
    for part in location[:2]:
        if not isinstance(place, dict) or part not in place:
            raise RecipeError(
                f"{name_or_path}: base = {shown(base.stated)} is not a recipe of this version of hdlif; "
                "`hdlif recipes check` of that file says where"
            )
        place = place[part]


def _own_tree(name_or_path: str | Path, hidden: str = "") -> tuple[str, dict[str, Any]]:
    """The name of a recipe, and the keys that its file states.

    Args:
        hidden: what an error says instead of the path and of anything that the file holds.
    """
    try:
        name, text = recipe_text(name_or_path)
        tree = parse_yaml(text, source=str(name_or_path))
    except RecipeError:
        if not hidden:
            raise
        tree = None
    if isinstance(tree, dict):
        return name, tree
    if hidden:
        raise RecipeError(f"{hidden} is not a recipe; `hdlif recipes check` of that file says where")
    raise RecipeError(
        f"{name_or_path}: {shown(tree)} is not a recipe; a recipe is a YAML mapping with the keys "
        f"{', '.join(sorted(Recipe.model_fields))}"
    )


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as canonical YAML, every value stated but extras that are off; `load_recipe` reads an equal one."""
    # Other characters than ASCII stay escaped: PyYAML writes U+0085 raw otherwise, and reads it as a line break.
    return yaml.dump(recipe.model_dump(mode="json"), Dumper=Dumper, sort_keys=False)


def recipe_fields(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every value of nested mappings by its whole key.

    >>> recipe_fields({"seed": 1, "neuron": {"kind": "lif"}})
    {'seed': 1, 'neuron.kind': 'lif'}
    """
    fields: dict[str, Any] = {}
    for key, value in tree.items():
        fields |= recipe_fields(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return fields


def replace_value(tree: dict[str, Any], override: str) -> None:
    """Set one value of `tree` in place; `override` is `a.b=v`."""
    path, equals, text = override.partition("=")
    *sections, key = path.strip().split(".")
    source = f"--set {cut(override)}"
    if not equals or not all([*sections, key]):
        raise RecipeError(f"{source}: is not an assignment; write key=value, for example --set training.epochs=3")
    if len(sections) >= MOST_DEPTH:
        raise RecipeError(f"{source}: has {len(sections) + 1} keys in each other; at most {MOST_DEPTH} are accepted")
    if len(text) > MOST_BYTES:
        raise RecipeError(f"{source}: is longer than {MOST_BYTES:,} characters; write it into a recipe of its own")
    place = tree
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise RecipeError(
                f"{source}: {cut(section)} = {shown(place)} has no keys; "
                f"set {cut(section)} as a whole, for example --set {cut(section)}=VALUE"
            )
    try:
        value = parse_yaml(text, source=source)
        if isinstance(value, dict) and (
            joined := [name for name, given in value.items() if given is None and ":" in name]
        ):
            raise RecipeError(
                f"{source}: YAML takes {cut(joined[0])} for a key without a value, for a space has to stand behind "
                f'the colon: --set "{cut(path.strip())}={cut(_JOINED.sub(": ", text.strip()))}"'
            )
        place[key] = value
    except RecipeError:
        if (mark := text.lstrip()[:1]) not in tuple("*&!%@`"):
            raise
        quoted = "'" + text.strip().replace("'", "''") + "'"
        raise RecipeError(
            f'{source}: YAML takes no text that begins with {mark}; quote it: --set "{cut(path.strip())}={cut(quoted)}"'
        ) from None


_JOINED = re.compile(r"(?<=\w):(?=\S)")
"""A colon without the space that makes what is in front of it a key."""


def worst(errors: list[ErrorDetails]) -> ErrorDetails:
    """The first error; an unknown key comes first, for it is often why another is missing."""
    return min(errors, key=lambda error: error["type"] != "extra_forbidden")


def _explain(errors: list[ErrorDetails], tree: Mapping[str, Any]) -> str:
    """One line on the worst error of a recipe's tree."""
    first = worst(errors)
    location = [str(part) for part in first["loc"]]
    if location[:2] == ["data", "augment"]:
        # data, augment, 0, "part" (how it is written), "strength", and JSON's types
        location = location[:3] + location[4:5] + location[6::2]
    section = _section(location)
    if section is Component or (section is DataConfig and location[1] not in DataConfig.model_fields):
        # pydantic tags each level of a JSON value with its type: model, blocks, "list", 0, "float".
        location = location[:2] + location[3::2]
    key = cut(".".join(location))
    seen = f"{key} = {shown(first['input'])}"
    match first["type"]:
        case "extra_forbidden" if places := _places(location, tree):
            return f"{seen} is unknown; did you mean {' or '.join(places)}?"
        case "model_type" if _section([*location, ""]) is Component:
            given = first["input"]
            kind = given if isinstance(given, str) and re.fullmatch(r"\w{1,40}", given, re.ASCII) else "NAME"
            section_of = f'{key}: {{kind: {kind}}} in a file, --set "{key}={{kind: {kind}}}" in a shell'
            return f"{seen} is refused; it should be a section, for example {section_of}"
        case "model_type":
            return f"{seen} is refused; it should be a section of keys and values"
        case "tuple_type":
            return f"{seen} is refused; it should be a list, for example [flip, shift]"
        case "invalid-json-value":
            return f"{seen} is refused; it should be text, a number, true, false, null, a list or a mapping"
        case _:
            return explained(
                first, key, section.model_fields, whole="`hdlif recipes show digits_hdlif` prints a complete recipe"
            )


def explained(first: ErrorDetails, key: str, keys: Iterable[str], *, whole: str) -> str:
    """One line on an error of a tree of keys and values, as far as it is told by its type.

    Args:
        key: the whole key at fault.
        keys: those that are known where it stands.
        whole: where a tree that lacks none is to be seen.
    """
    seen, message = f"{key} = {shown(first['input'])}", first["msg"]
    match first["type"]:
        case "extra_forbidden":
            return f"{seen} is unknown; {did_you_mean(str(first['loc'][-1]), keys)}"
        case "missing":
            return f"{key} is missing; {whole}"
        case "value_error":
            said = message.removeprefix("Value error, ")
            return f"{seen} is refused; it {said}" if said.startswith("should ") else said
        case _:
            return f"{seen} is refused; it should {message.partition(' should ')[2]}"


def _no_section(error: ErrorDetails) -> str | None:
    """The key of a part that is given without its section."""
    location = [str(part) for part in error["loc"]]
    return ".".join(location) if error["type"] == "model_type" and _section([*location, ""]) is Component else None


def _places(location: Sequence[str], tree: Mapping[str, Any]) -> list[str]:
    """The keys that an alias means, or inside sections one which stands beside the sections and is unknown there."""
    key = ALIASES.get(location[-1], "")
    if key and ".".join(location) in (location[-1], f"{key.rpartition('.')[0]}.{location[-1]}"):
        return [key]
    if len(location) > 1:
        return []
    # imported here, for it takes longer than a good run's other imports from the standard library
    import difflib

    sections = (("data", DataConfig), ("training", TrainingConfig))
    known = {f"{key}.{field}" for key, section in sections for field in section.model_fields}
    stated = recipe_fields({key: value for key, value in tree.items() if isinstance(value, Mapping)})
    places = {*known, *stated}
    names = {place.rpartition(".")[2] for place in places}
    likely = difflib.get_close_matches(cut(location[0]), {*names, *Recipe.model_fields}, n=1, cutoff=0.8)
    return sorted(place for place in places if place.rpartition(".")[2] in likely)[:_MOST_PLACES]


_MOST_PLACES = 5
"""That an error names."""


def _section(location: Sequence[str]) -> type[BaseModel]:
    """The section that holds the last key of `location`; of one inside a `Component`, that."""
    section: type[BaseModel] = Recipe
    for key in location[:-1]:
        if key in section.model_fields:
            annotation = section.model_fields[key].annotation
            found = [a for a in (annotation, *get_args(annotation)) if isinstance(a, type) and issubclass(a, BaseModel)]
            section = found[0] if found else section
    return section
