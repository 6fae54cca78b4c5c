"""What was typed nearly right is answered with the form that works."""

import shlex

from command_line import hdlif
from hdlif.cli import program
from hdlif.inputs.plain_yaml import recipe_fields
from hdlif.recipe import ALIASES, load_recipe
from hdlif.recipe.builders import RULES


def test_an_option_that_is_a_key_of_the_recipe_is_answered_with_set() -> None:
    for options, works in (
        ("--epochs 3", "--set training.epochs=3"),
        ("--epochs=3", "--set training.epochs=3"),
        ("--epochs", "--set training.epochs=VALUE"),
        ("--learning-rate 0.1", "--set training.learning_rate=0.1"),
        ("--lr 0.1", "--set training.learning_rate=0.1"),
        ("--batch-size 8", "--set data.batch_size=8"),
        ("--T 2", "--set time_steps=2"),
        ("--seed 1", "--set seed=1"),
        ("--width 8", "--set model.width=8"),
        ("--rule sltt", '--set "rule={kind: sltt}"'),
    ):
        for verb in ("train", "recipes check"):
            done = hdlif(*verb.split(), "digits_hdlif", *options.split())
            assert done.returncode == 2
            assert done.stderr.endswith(f"A recipe's values are set by {works}.\n"), options
        if "VALUE" not in works:
            load_recipe("digits_hdlif", [shlex.split(works)[1]])
    # No key, or a subcommand that sets none.
    for line in ("train digits_hdlif --colour 3", "run a.hdlif.safetensors x.png --epochs 3", "eval runs/x --epochs 3"):
        assert "set by" not in hdlif(*line.split()).stderr


def test_a_verb_that_sets_keys_of_data_alone_names_those() -> None:
    assert "set by --set data.size=16." in hdlif("eval", "runs/x", "--size", "16").stderr


def test_a_part_without_its_section_is_told_the_kinds_and_the_form() -> None:
    said = hdlif("train", "digits_hdlif", "--set", "rule=sltt").stderr
    assert '--set "rule={kind: sltt}" in a shell' in said
    assert f"; kind is one of {', '.join(sorted(RULES))} (docs/" in said
    assert len(said.splitlines()) == 1
    assert "kind is one of" not in hdlif("train", "digits_hdlif", "--set", "data=3").stderr
    assert load_recipe("digits_hdlif", ["rule={kind: sltt}"]).rule.kind == "sltt"


def test_what_an_alias_means_is_a_key() -> None:
    assert set(ALIASES.values()) <= recipe_fields(load_recipe("digits_hdlif").model_dump()).keys()
    assert program.kinds_of("no") == ""
