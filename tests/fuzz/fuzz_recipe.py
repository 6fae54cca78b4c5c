"""Any bytes as a recipe's YAML: a recipe that can be checked, kept and read again, or a `RecipeError` of one line."""

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import driver
import yaml

from hdlif.errors import RecipeError
from hdlif.inputs.plain_yaml import Dumper, parse_yaml
from hdlif.recipe import Recipe, builders, dump_recipe, load_recipe, shipped_recipes
from hostile import YAML

FOLDER = Path(tempfile.mkdtemp(prefix="fuzz_recipe_"))
SECRET = "in-a-base-that-is-no-recipe"
(FOLDER / "base.yaml").write_text("{kind: [" + SECRET + "]}: 1\n")


def target(data: bytes) -> None:
    path = FOLDER / "mine.yaml"
    path.write_bytes(data)
    with driver.may_refuse():
        try:
            recipe = load_recipe(path)
        except RecipeError as error:
            if SECRET in str(error):
                raise AssertionError("an error shows what a base holds") from error
            raise
        # One component of a path, which stays in its folder.
        assert (Path("runs") / recipe.name).parts == ("runs", recipe.name)
        path.write_text(dump_recipe(recipe), encoding="utf-8")
        assert load_recipe(path) == recipe
        # timm takes seconds to load: names alone are looked at.
        names = {
            kind: mock.patch.object(part, "names", return_value=["resnet18"])
            for kind, part in builders.TEACHERS.items()
        }
        with names["timm"], names["torchvision"]:
            builders.check(recipe)
    with driver.may_refuse():
        tree = parse_yaml(data.decode("utf-8", "replace"), source="fuzzed")
        # repr tells 1 from True, and one NaN from none.
        assert repr(parse_yaml(yaml.dump(tree, Dumper=Dumper, sort_keys=False), source="again")) == repr(tree)


WORDS = (
    *(word.encode() for word in YAML if len(word) < 60),
    *(f"{name}: ".encode() for name in Recipe.model_fields),
    *(f"{{kind: {kind}, ".encode() for table in (builders.NEURONS, builders.MODELS, builders.RULES) for kind in table),
    *(f"{{kind: {kind}}}".encode() for table in (builders.WEIGHTS, builders.SPIKES, builders.DATA) for kind in table),
    *(b"leak: ", b"width: ", b"blocks: ", b"plan: ", b"surrogate: ", b"reset: ", b"parallel: ", b"mem_bn: ", b"bits: "),
    *(b"per_step: true", b"granularity: channel", b"k: ", b"draw: ", b"frames: rows", b"size: ", b"augment: ", b"P, "),
    *(b"granularity: channel, time_constants: ", b"{leak: [2, 8]}"),
    *(b"base: base.yaml\n", b"base: ../x\n", b"base: digits_lif\n", b"time_steps: ", b"batch_size: ", b"teacher: "),
    *(b"1000000000", b"-1", b"0", b"1e-30", b".inf", b"null", b"[]", b"{}", b"[1, 1]", b"true", b"''", b"\n  ", b"#"),
)


def mutate(data: bytes, draw: random.Random) -> bytes:
    """A word of a recipe, or one that YAML stumbles over, between two tokens or in the place of one."""
    places = [i for i, byte in enumerate(data) if byte in b" :,{}[]\n"] or [0]
    begin = draw.choice(places) + draw.randint(0, 1)
    later = [place for place in places if place >= begin] or [len(data)]
    end = draw.choice((begin, later[0], later[0]))
    return data[:begin] + draw.choice(WORDS) + data[end:]


def seeds() -> Iterator[bytes]:
    folder = Path(builders.__file__).parents[2] / "recipes"
    for name in shipped_recipes():
        if name.startswith(("digits", "dvs_cifar10_vgg", "cifar10_resnet18_hdlif_w1_seca")):
            yield (folder / f"{name}.yaml").read_bytes()
    for word in YAML:
        yield f"base: digits_hdlif\nmodel: {word}\n".encode("utf-8", "surrogatepass")
    yield b"base: digits_hdlif\nmodel: {kind: reversible_resnet, blocks: [2, 2], width: 4, grid: 0.001}\n"
    yield b"base: digits_hdlif\nmodel: {kind: resnet19, width: 4, hidden: 8}\nattention: {kind: seca, form: II}\n"
    yield b"base: digits_hdlif\nmodel: {kind: vgg_snn, plan: [4, P, 8], final_size: null}\nseed: 7\n"
    yield b"base: digits_hdlif\nneuron: {kind: glif, granularity: channel}\ntraining: {ema_decay: 0.9, accumulate: 2}\n"
    yield b"base: digits_hdlif\nactivity: {kind: sops, target: 1.0e5, sops: {body.stage1.0.conv1: 1.0e5}}\n"
    yield b"base: digits_hdlif\nteacher: {kind: timm, name: resnet18, checkpoint: x.pth, temperature: 4, weight: 0.5}\n"
    yield b"base: digits_hdlif\ndata: {mixup: {}, augment: [shift], frames: constant, size: 16}\nrule: {kind: ottt}\n"
    yield b"base: base.yaml\nname: mine\n"


if __name__ == "__main__":
    driver.main(target, "recipe", seeds=seeds(), mutate=mutate)
