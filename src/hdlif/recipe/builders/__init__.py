"""Functions that check the names and arguments in a recipe and build the recipe's objects.

Only this package resolves the names in recipes. The package has one module per section of a recipe. Each module
contains one class per kind, with the section's keys as fields, and functions that build objects.
"""

from hdlif.recipe.builders.checks import (
    build_trained,
    check,
    check_names,
    names_own_parts,
    random_batch,
    try_traces,
    try_update,
)
from hdlif.recipe.builders.data import (
    FRAMES,
    build_data,
    check_data,
    data_kind,
    input_record,
    look,
    look_for,
    sample_name_of,
    shipped_kind,
)
from hdlif.recipe.builders.data_sets import DATA, DataKind
from hdlif.recipe.builders.layers import ATTENTION_BLOCKS, ATTENTIONS, NORMS, SPIKES, WEIGHTS
from hdlif.recipe.builders.model import MODELS, STEMS, build_model
from hdlif.recipe.builders.neuron import (
    CLASSES,
    EQUATIONS,
    LEAKS,
    NEURONS,
    PARALLEL_PATTERNS,
    RESETS,
    SURROGATES,
    build_neuron,
    leaks_of,
    own_neuron,
)
from hdlif.recipe.builders.own_data import (
    data_of_ones_own,
    data_overrides,
    found_data,
    named_data,
    with_data_found,
    with_steps_of_data,
)
from hdlif.recipe.builders.own_kinds import FOUND, found_kind, is_items, is_there, kind_at, kind_by_keys, kind_named
from hdlif.recipe.builders.part import hidden_kinds
from hdlif.recipe.builders.rule import DRAWS, REDUCTIONS, RULES, build_rule, build_training_rule
from hdlif.recipe.builders.start import build_started, read_start
from hdlif.recipe.builders.task import (
    TASKS,
    build_measured_task,
    build_task,
    graph_record,
    target_taken,
    task_choices,
    with_class_weights,
)
from hdlif.recipe.builders.training import (
    OPTIMIZERS,
    PENALTIES,
    SCHEDULES,
    TEACHERS,
    build_mix,
    build_optimization,
    build_penalty,
    build_teacher,
)
from hdlif.recipe.builders.twin import Twin, twin_of
