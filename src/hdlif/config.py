"""The recipe: everything that decides a training run, as frozen, typed values read from YAML.

Keys, types and ranges are checked here. Which kinds exist and what arguments they take is known to
`hdlif.builders` alone, so a `Component` carries its arguments as they stand in the file.

YAML is read by the core schema of YAML 1.2: `1e-3` is a number and `yes`, `off`, `010` are text (PyYAML's
YAML 1.1 has it the other way round). Repeated keys and aliases are refused: a recipe is a plain tree.

A recipe may name a `base`, another recipe, and then states only what differs; the base has none itself. A section that
states its `kind` replaces the base's, any other is merged with it key by key.
"""

import json
import re
from collections.abc import Hashable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import ErrorDetails

from hdlif.errors import RecipeError, did_you_mean

Count = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]


class Component(BaseModel):
    """A part chosen by name: `kind`, and the keyword arguments of its constructor."""

    # A checkpoint keeps the recipe as canonical JSON: values are JSON's, and it has no NaN and no infinity.
    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)

    kind: Text
    __pydantic_extra__: dict[str, JsonValue]

    @property
    def arguments(self) -> dict[str, JsonValue]:
        """Every key but `kind`."""
        return dict(self.__pydantic_extra__)


class _Section(BaseModel):
    # strict: "3" is no integer and 1 no boolean; an integer is still good where a float is asked for.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

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


class DataConfig(_Section):
    """The data set, its split and its batches."""

    EXTRAS = ("mixup",)

    kind: Text
    batch_size: Count
    """Samples of an update: of all devices together, which share them equally."""
    validation: Count
    """Training images held out to choose the best epoch."""
    train: Count | None = None
    """Training images used, the first ones; all by default."""
    size: Count | None = None
    """Images are resized to size x size, bilinearly; by default they stay as they are."""
    frames: Text = "constant"
    """How an image becomes a sequence: the same at every step, or a row a step."""
    # A YAML list has to become a tuple, which strict typing would refuse; the names in it stay strict.
    augment: Annotated[tuple[Annotated[str, Field(strict=True)], ...], Field(strict=False)] = ()
    mixup: MixupConfig | None = None
    """Mixes the samples and labels of a batch; `{}` takes the published values."""


class TrainingConfig(_Section):
    """The optimiser (SGD with Nesterov momentum), its cosine schedule, the precision, and what is off by default."""

    EXTRAS = ("clip_norm", "accumulate", "ema_decay", "patience", "keep_every", "channels_last", "compile")

    epochs: Count
    learning_rate: Annotated[float, Field(gt=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    warmup_epochs: Annotated[int, Field(ge=0)] = 0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    precision: Literal["32-true", "16-mixed", "bf16-mixed", "64-true"] = "32-true"
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Largest norm of an update's gradient, over all parameters; a longer one is scaled down to it."""
    accumulate: Count = 1
    """Batches whose gradients make one update."""
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

    EXTRAS = ("teacher",)

    name: Text
    """The stem of the file, unless the file states a `name` (the recipe kept in a run folder does)."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    time_steps: Count
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
        RecipeError: no such file or name, or a file that is no UTF-8 text.
    """
    shipped = shipped_recipes()
    if isinstance(name_or_path, str) and name_or_path in shipped:
        return name_or_path, files("hdlif").joinpath("recipes", f"{name_or_path}.yaml").read_text("utf-8")
    path = Path(name_or_path)
    try:
        return path.stem, path.read_text("utf-8")
    except FileNotFoundError:
        raise RecipeError(
            f"{name_or_path}: there is no such file and no shipped recipe of that name; "
            f"give the path of a YAML file or {did_you_mean(str(name_or_path), shipped)}"
        ) from None
    except UnicodeDecodeError as error:
        raise RecipeError(
            f"{name_or_path}: byte {error.start} is no UTF-8; a recipe is a YAML text file saved as UTF-8"
        ) from None
    except OSError as error:
        raise RecipeError(f"{name_or_path}: cannot be read ({error.strerror}); give the path of a YAML file") from None


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, replace single values, and check keys, types and ranges.

    Args:
        name_or_path: the name of a shipped recipe, or the path of a YAML file.
        overrides: `key=value` or `section.key=value`, the value in YAML. A whole section can be replaced,
            which is how a kind with other arguments is chosen: `neuron={kind: lif}`.
    Raises:
        RecipeError: names the file, the key, the value seen and what is accepted.
    """
    name, tree = _tree(name_or_path)
    for override in overrides:
        _replace(tree, override)
    try:
        return Recipe.model_validate({"name": name} | tree)
    except ValidationError as error:
        raise RecipeError(f"{name_or_path}: {_explain(error.errors())}") from None


def _tree(name_or_path: str | Path) -> tuple[str, dict[str, Any]]:
    """The name and the keys of a recipe; what it does not state is its base's, if it has one."""
    name, tree = _own_tree(name_or_path)
    base = tree.pop("base", None)
    if base is None:
        return name, tree
    if not isinstance(base, str) or not base:
        raise RecipeError(f"{name_or_path}: base = {_shown(base)} is refused; give the name or path of a recipe")
    beside = base if base in shipped_recipes() else Path(name_or_path).parent / base
    try:
        _, merged = _own_tree(beside)
    except RecipeError as error:
        raise RecipeError(f"{name_or_path}: base: {error}") from None
    if "base" in merged:
        raise RecipeError(
            f"{name_or_path}: base = {_shown(base)} has a base itself, {_shown(merged['base'])}; "
            "name that one, and state what differs from it"
        )
    # The name is of the file, unless this one states it.
    merged.pop("name", None)
    for key, value in tree.items():
        section = merged.get(key)
        if isinstance(value, dict) and isinstance(section, dict) and "kind" not in value:
            section.update(value)
        else:
            merged[key] = value
    return name, merged


def _own_tree(name_or_path: str | Path) -> tuple[str, dict[str, Any]]:
    """The name of a recipe, and the keys that its file states."""
    name, text = recipe_text(name_or_path)
    tree = parse_yaml(text, source=str(name_or_path))
    if not isinstance(tree, dict):
        raise RecipeError(
            f"{name_or_path}: {_shown(tree)} is no recipe; a recipe is a YAML mapping with the keys "
            f"{', '.join(sorted(Recipe.model_fields))}"
        )
    return name, tree


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as canonical YAML, every value stated but extras that are off; `load_recipe` reads an equal one."""
    # Other characters than ASCII stay escaped: PyYAML writes U+0085 raw otherwise, and reads it as a line break.
    return yaml.dump(recipe.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False)


def recipe_fields(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every value of nested mappings by its whole key.

    >>> recipe_fields({"seed": 1, "neuron": {"kind": "lif"}})
    {'seed': 1, 'neuron.kind': 'lif'}
    """
    fields: dict[str, Any] = {}
    for key, value in tree.items():
        fields |= recipe_fields(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return fields


def _replace(tree: dict[str, Any], override: str) -> None:
    """Set one value of `tree` in place; `override` is `a.b=v`."""
    path, equals, text = override.partition("=")
    *sections, key = path.strip().split(".")
    if not equals or not all([*sections, key]):
        raise RecipeError(f"--set {override}: is no assignment; write key=value, for example --set training.epochs=3")
    place = tree
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise RecipeError(
                f"--set {override}: {section} = {_shown(place)} has no keys; "
                f"set {section} as a whole, for example --set {section}=VALUE"
            )
    place[key] = parse_yaml(text, source=f"--set {override}")


def _explain(errors: list[ErrorDetails]) -> str:
    """One line on the first error; an unknown key comes first, for it is often why another is missing."""
    first = min(errors, key=lambda error: error["type"] != "extra_forbidden")
    location, message = [str(part) for part in first["loc"]], first["msg"]
    section = _section(location)
    if section is Component:
        # pydantic tags each level of a JSON value with its type: model, blocks, "list", 0, "float".
        location = location[:2] + location[3::2]
    key = ".".join(location)
    seen = f"{key} = {_shown(first['input'])}"
    match first["type"]:
        case "extra_forbidden":
            return f"{seen} is unknown; {did_you_mean(location[-1], section.model_fields)}"
        case "missing":
            return f"{key} is missing; `hdlif recipes show digits_hdlif` prints a complete recipe"
        case "model_type" if _section([*location, ""]) is Component:
            return f"{seen} is refused; it should be a section, for example {key}: {{kind: NAME}}"
        case "model_type":
            return f"{seen} is refused; it should be a section of keys and values"
        case "tuple_type":
            return f"{seen} is refused; it should be a list, for example [flip, shift]"
        case "invalid-json-value":
            return f"{seen} is refused; it should be text, a number, true, false, null, a list or a mapping"
        case "value_error":
            return message.removeprefix("Value error, ")
        case _:
            return f"{seen} is refused; it should {message.partition(' should ')[2]}"


def _section(location: Sequence[str]) -> type[BaseModel]:
    """The section that holds the last key of `location`; of one inside a `Component`, that."""
    section: type[BaseModel] = Recipe
    for key in location[:-1]:
        if key in section.model_fields:
            annotation = section.model_fields[key].annotation
            found = [a for a in (annotation, *get_args(annotation)) if isinstance(a, type) and issubclass(a, BaseModel)]
            section = found[0] if found else section
    return section


def _shown(value: object) -> str:
    """`value` on one line of at most 80 characters."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 80 else text[:77] + "..."


def parse_yaml(text: str, *, source: str) -> Any:
    """The value that `text` states in YAML. Raises RecipeError with the line at fault."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise RecipeError(f"{source}: {where}{error.problem or error.context}; mend the YAML there") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise RecipeError(f"{source}: line {line}: a control character is no YAML; delete it") from None


class _Loader(yaml.SafeLoader):
    """YAML 1.2 core schema, text keys given once, no aliases."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's own attribute)

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "an alias is not accepted, write the value", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str" or key.value in seen:
                problem = f"the key {key.value} is {'repeated' if key.value in seen else 'no text'}"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Sections in block style, lists on one line; text that any YAML version takes for a number is quoted."""


_FLOAT = r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
_CORE_SCHEMA = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", rf"{_FLOAT}|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.0123456789")),
)
for _tag, _pattern, _first in _CORE_SCHEMA:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^({_pattern})$"), _first)
_Dumper.add_representer(list, lambda d, items: d.represent_sequence("tag:yaml.org,2002:seq", items, True))
