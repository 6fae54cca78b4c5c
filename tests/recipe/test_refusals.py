"""What cannot be built, or does not go together, is refused in one printable line that begins with its key."""

from typing import Any

import pytest

from hdlif.errors import HdlifError, RecipeError
from hdlif.recipe import Recipe, builders, load_recipe
from hostile import one_printable_line
from small_recipes import recipe


def refusal(*overrides: str) -> str:
    """What the check of a small recipe says."""
    with pytest.raises((RecipeError, HdlifError)) as caught:
        builders.check(recipe(*overrides))
    return one_printable_line(caught.value)


REFUSED = (
    f"""
model: 1,000,000 blocks or layers in 1 stages    | model.blocks=[1000000]
model: 40 blocks or layers in 40 stages          | model.blocks=[{"1," * 40}]
model: the network has                           | model.width=1000000
model: 1,001 blocks or layers                    | model={{kind: vgg_snn, plan: [{"4," * 1001}]}}
model: the network has                           | model={{kind: resnet19, hidden: 1000000000}}
model: the network has                           | attention={{kind: seca, kernel_size: 4000000001}}
data.batch_size = 2000000000; the network has    | data.batch_size=2000000000
"""
    + """\
activity.target is missing; give it a value      | activity={kind: density}
activity.target = 2 is refused                   | activity={kind: density, target: 2}
activity: sops = {}; a budget must be above 0    | activity={kind: sops, sops: {}}
attention: kernel_size = 4; it must be odd       | attention={kind: seca, kernel_size: 4}
attention.form = "II" is unknown; it takes no    | attention={kind: none, form: II}
attention.form does not go with mo | model={kind: vgg_snn, plan: [4], final_size: null}; attention={kind: seca, form: I}
attention.kind = "seca" does not go wit | model={kind: reversible_resnet, width: 8, blocks: [2]}; attention={kind: seca}
data.frames = "rows" makes 8 steps of an image   | data.frames=rows
data.kind = "my.sets.Photos" is unknown; write   | data.kind=my.sets.Photos
data.validation is missing                       | data.validation=null
data.path = 'photos' is unknown; it is for your  | data.path=photos
data.batch_size = 31; data.mixup pairs samples   | data.mixup={}; data.batch_size=31
data.augment: "jitter" takes series              | data.augment=[jitter]
data.augment.0: most = 2.0; it must lie between  | data.augment=[{kind: "own_parts:Dim", most: 2.0}]
data.augment.0.generator = 3 is unknown          | data.augment=[{kind: "own_parts:noise", generator: 3}]
data.augment: own_parts:wider returns torch.uint | data.augment=["own_parts:wider"]
data.augment: own_parts:forgetful returns two    | data.augment=["own_parts:forgetful"]
data.augment = "own_parts:takes_nothing" has no  | data.augment=["own_parts:takes_nothing"]
model: blocks =                                  | model.blocks=[]
model: plan has 'Q'; its entries are widths      | model={kind: vgg_snn, plan: [8, Q]}
model.neuron cannot be set here                  | model={kind: resnet, neuron: lif}
model.stem = "cifr" is unknown; choose one of    | model={kind: resnet18, stem: cifr}
model: grid = 0.1; it must be a power of two     | model={kind: reversible_resnet, width: 8, blocks: [2], grid: 0.1}
model.grid = 0.125 is too coarse for the deploye | model={kind: reversible_resnet, width: 8, blocks: [2], grid: 0.125}
model: channels = 7; a reversible block splits   | model={kind: reversible_resnet, width: 7, blocks: [2]}
model.of = None is not the name of a network     | model={kind: spiking}
neuron.time_steps cannot be set here             | neuron={kind: hdlif, time_steps: 3}
neuron.mem_bn = "raw" is refused                 | neuron={kind: hdlif, mem_bn: raw}
neuron: path = 'fused' cannot be combined with Mem-BN | neuron={kind: hdlif, mem_bn: true, path: fused}
neuron.surrogate = "atan" is unknown             | neuron={kind: hdlif, surrogate: atan}
neuron.reset = "none" is unknown                 | neuron={kind: lif, reset: none}
neuron: leak = 1.5; a learned one must lie in (0 | neuron.leak=1.5
neuron: threshold_form = 'softplus' has no       | neuron={kind: lif, threshold_form: softplus}
neuron.parallel = "a.b" is unknown; choose one   | neuron={kind: hdlif, parallel: a.b}
neuron.parallel: 'act9' is not a neuron layer    | neuron={kind: hdlif, parallel: [act9]}
neuron.leak has no effect with neuron.parallel   | neuron={kind: hdlif, parallel: all, leak: 0.5}
neuron.recurrent.kernel_size = 2; it must be an  | neuron={kind: hdlif, recurrent: {kernel_size: 2}}
neuron.time_constants spreads leaks over chann   | neuron={kind: hdlif, time_constants: [2, 8]}
neuron.time_constants and neuron.leak bo | neuron={kind: hdlif, leak: 0.5, granularity: channel, time_constants: [2, 8]}
neuron.time_constants.leek: it has no such le | neuron={kind: hdlif, granularity: channel, time_constants: {leek: true}}
neuron.time_constants.threshold: it has | neuron={kind: hdlif, granularity: channel, time_constants: {threshold: true}}
neuron.time_constants = [8] is refused           | neuron={kind: hdlif, granularity: channel, time_constants: [8]}
neuron.time_constants: shortest = 8, longest = 2 | neuron={kind: hdlif, granularity: channel, time_constants: [8, 2]}
neuron.time_constants has no effect | neuron={kind: hdlif, parallel: all, granularity: channel, time_constants: [2, 8]}
neuron.time_constants: own_neurons: | neuron={kind: "own_neurons:Keeping", granularity: channel, time_constants: [2, 8]}
neuron.kind = "no_such_module:A": there is no m  | neuron={kind: "no_such_module:A"}
neuron.kind = "torch.nn:Linear" is               | neuron={kind: "torch.nn:Linear"}
neuron.kind = hdlif.nn:EquationNeuron: EquationN | neuron={kind: "hdlif.nn:EquationNeuron"}
neuron.delay = 0.5 is refused                    | neuron={kind: "own_neurons:Delayed", delay: 0.5}
norm.momentum = 7 is refused                     | norm={kind: batch_norm, momentum: 7}
norm.scale = 0.0 is refused                      | norm={kind: affine, scale: 0.0}
rule.mse_share = 2 is refused                    | rule={kind: ottt, mse_share: 2}
rule.mse_share applies to plain classification | rule={kind: ottt, mse_share: 0.1}; task={kind: classify, combine: last}
rule.length = 40; a window must be at most as    | rule={kind: stochastic_window, length: 40}
rule.forward_mode does not support torch.compile | rule={kind: forward_mode}; training.compile=true
rule.k = 5; it must be at most time_steps = 4    | rule={kind: stochastic_step, k: 5}
rule.own_parts:NoPlan: its schedule returns a in | rule={kind: "own_parts:NoPlan"}
rule.own_parts:NoSchedule: AttributeError        | rule={kind: "own_parts:NoSchedule"}
spikes.kind = "quantised" does not go with       | spikes={kind: quantised}; neuron={kind: glif}
task.kind = "regress" learns values of a sample  | task={kind: regress}
task.metrics = "f_1" is unknown; choose one of   | task={kind: classify, metrics: [f_1]}
task.metrics = "spearman" is for regress, but    | task={kind: classify, metrics: [spearman]}
task.metrics.0.k is missing                      | task={kind: classify, metrics: [{kind: top_k}]}
task.metrics.0: k = 11; it must be 1 to 10       | task={kind: classify, metrics: [{kind: top_k, k: 11}]}
task.metrics: two metrics are called "f1"        | task={kind: classify, metrics: [f1, {kind: f1, average: micro}]}
task.metrics.0 makes                             | task={kind: classify, metrics: [{kind: "own_metrics:no_metric"}]}
task.best = "f1" is not measured                 | task={kind: classify, best: f1}
task.metric = ["f1"] is unknown                  | task={kind: classify, metric: [f1]}
teacher.name = "resnet_50" is unknown to torchv  | teacher={kind: torchvision, name: resnet_50, checkpoint: y}
teacher.checkpoint is missing                    | teacher={kind: timm, name: resnet18}
teacher.mean = [0.5] is refused                  | teacher={kind: timm, name: resnet18, checkpoint: y, mean: [0.5]}
teacher: it needs whole images, | teacher={kind: timm, name: x, checkpoint: y}; data.frames=rows; time_steps=8
training.accumulate = 2 does not go with rule.up | training.accumulate=2; rule={kind: sltt, update: each}
training.optimizer: Invalid beta parameter       | training.optimizer={kind: adam, beta1: 2.0}
training.optimizer.lr cannot be set here; set tr | training.optimizer={kind: adam, lr: 0.1}
training.optimizer: LBFGS doesn't support        | training.optimizer={kind: "torch.optim:LBFGS"}
training.optimizer: Adafactor keeps 'row_var'    | training.optimizer={kind: "torch.optim:Adafactor"}
training.optimizer: GroupState changes 'steps'   | training.optimizer={kind: "own_parts:GroupState"}
training.optimizer: KeepsNumber keeps 'step'     | training.optimizer={kind: "own_parts:KeepsNumber"}
training.optimizer: NamesOddly keeps 'a.b'       | training.optimizer={kind: "own_parts:NamesOddly"}
training.schedule: ZeroDivisionError             | training.schedule={kind: "own_parts:late"}
training.schedule.at is missing                  | training.schedule={kind: drops}
training.schedule: at = [2.0]                    | training.schedule={kind: drops, at: [2.0]}
training.stream = 3 steps per update, but        | training.stream=3
weights.layers: 'stem.conv' matches no body layer | weights={kind: ternary, layers: {stem.conv: 2}}
weights.layers.x = 9 is refused; it should be    | weights={kind: ternary, layers: {x: 9}}
spikes.layers: 'x' matches no neuron layer       | spikes={kind: exact, layers: {x: {bits: 2}}}
spikes.layers does not go with neuron.kind = "l  | neuron={kind: lif}; spikes={kind: exact, layers: {x: {bits: 2}}}
weights.quantise: 'stem.conv1' matches no fp32   | weights={kind: binary, quantise: [stem.conv1]}
data.augment = "own_parts:Uncallable" makes      | data.augment=["own_parts:Uncallable"]
data.augment = "builtins:min": no signature      | data.augment=["builtins:min"]
training.optimizer.kind = "own_parts:halving"    | training.optimizer={kind: "own_parts:halving"}
activity.sops: 'body.stage1.0.act1' is not       | activity={kind: sops, sops: {body.stage1.0.act1: 1.0e4}}
weights.keep_float: 'stem.conv' matches no quant | weights={kind: binary, keep_float: [stem.conv]}
training.schedule.kind = "own_parts:wrong_sched  | training.schedule={kind: "own_parts:wrong_schedule"}
rule: leak = 2                                   | rule={kind: "hdlif.learning:OTTT", leak: 2}
neuron.time_constants = [2, 8] is unknown        | neuron={kind: glif, granularity: channel, time_constants: [2, 8]}
weights.quantise does not go with weights.kind   | weights={kind: float, quantise: [stem.conv]}
"""
)


def test_what_cannot_be_built_is_refused_by_its_key() -> None:
    wrong = []
    for line in REFUSED.strip().splitlines():
        start, _, overrides = line.partition("| ")
        said = refusal(*overrides.split("; "))
        if not said.startswith(start.strip()):
            wrong.append((overrides, said))
    assert wrong == []


def test_the_likeliest_name_or_the_whole_section_is_stated() -> None:
    for override, name in (
        ("rule={kind: ottt, update: ech}", "each"),
        ("neuron={kind: hdlf}", "hdlif"),
        ("neuron={kind: hdlif, paralel: all}", "parallel"),
        ("neuron={kind: hdlif, parallel: alternat}", "alternate"),
        ("training.optimizer={kind: sdg}", "sgd"),
        ("weights={kind: binary, quantise: [stem.conv1]}", "stem.conv"),
        ('data.augment=[{kind: "own_parts:Dim", msot: 0.5}]', "most"),
    ):
        assert f'(did you mean "{name}"?)' in refusal(override)
    # A key that another kind left.
    for override, whole in (
        ("rule={kind: ottt, k: 1}", "rule={kind: ottt}"),
        # Also if it is much like one that is taken.
        ("neuron={kind: glif, threshold_form: softplus}", "neuron={kind: glif}"),
        ("model={kind: resnet, plan: [8]}", "model={kind: resnet, ...}"),
        ("activity={kind: density, sops: 1.0e6}", "activity={kind: density, ...}"),
    ):
        assert refusal(override).endswith(f': --set "{whole}"')
    for override in ("neuron.leek=0.5", "model.classes=3", "neuron={kind: hdlif, mem_bn: {xyz: 2}}"):
        assert "--set" not in refusal(override)


def test_a_misspelt_key_or_kind_of_any_section_is_refused_without_torch_s_help() -> None:
    for section in ("model", "norm", "attention", "neuron", "weights", "spikes", "rule", "activity", "task", "data"):
        for override, start in (
            (f"{section}.of_nothing=1", f"{section}.of_nothing = 1 is unknown; "),
            (f"{section}.kind=nothing", f'{section}.kind = "nothing" is unknown; choose one of '),
        ):
            with pytest.raises(RecipeError) as caught:
                builders.check_names(recipe("task.kind=classify", override))
            assert str(caught.value).startswith(start)
    # Values and layers are left to the whole check.
    for override in ("neuron.leak=3", "model.width=-3", "weights={kind: ternary, keep_float: [x]}", "data.frames=rows"):
        builders.check_names(recipe(override))
        assert refusal(override)


def test_streams_are_refused_before_the_steps_of_their_rule_are_counted() -> None:
    streamed = ["training.stream=2", "neuron.per_step=false", "norm.per_step=false"]
    assert refusal("training.stream=2").endswith("set neuron.per_step: false, and set norm.per_step: false")
    assert refusal(*streamed, "task={kind: classify, combine: last}").endswith("set task.learn_from: every")
    assert refusal(*streamed, "task={kind: classify, combine: last, learn_from: late}").startswith(
        "streams need an equal"
    )
    builders.check(recipe(*streamed, "task={kind: classify, combine: last, learn_from: every}"))


TRACED = load_recipe("sines_dense_hdlif", ["rule={kind: forward_mode}", "neuron.per_step=false"])


def traced(**changes: Any) -> Recipe:
    sections = TRACED.model_dump()
    for key, value in changes.items():
        sections[key] = sections[key] | value if isinstance(value, dict) and "kind" not in value else value
    return Recipe.model_validate(sections)


def test_traces_are_those_of_a_whole_batch_and_shared_by_all_processes() -> None:
    """An update on a few samples of noise keeps few; numbers of 64 bits are twice as long."""

    def within(budget: int) -> Recipe:
        return traced(data={"batch_size": 100}, rule={"kind": "forward_mode", "budget": budget})

    builders.try_update(traced(data={"batch_size": 100}))
    budget = 10**6
    for trial in (builders.try_traces, builders.try_update):
        with pytest.raises(RecipeError) as refused:
            trial(within(1))
        said = str(refused.value)
        assert said.startswith("rule.forward_mode cannot train model.dense: forward mode needs ")
        budget = int(said.partition("set rule.budget to ")[2].split()[0])
    exact, of_three = within(budget), within(budget * 34 // 100)
    builders.try_traces(exact)
    builders.try_traces(of_three, 3)
    with pytest.raises(RecipeError, match=r"set rule\.budget to \d+ bytes or more"):
        builders.try_traces(of_three, 2)
    with pytest.raises(RecipeError, match=f"set rule.budget to {2 * budget} bytes or more"):
        builders.try_traces(exact.model_copy(update={"training": traced(training={"precision": "64-true"}).training}))


def test_networks_without_traces_are_refused_before_their_values_are_made() -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"neuron": {"kind": "hdlif", "mem_bn": True, "per_step": False}}, "Mem-BN couples the membranes of a batch"),
        ({"rule": {"kind": "forward_mode", "chunk": 8}, "model": {"kind": "recurrent", "widths": [8]}}, "rule.chunk"),
        ({"model": {"kind": "conv1d", "widths": [8]}, "attention": {"kind": "seca"}}, r"is fed by .* \(SECA\)"),
        ({"model": {"kind": "dense", "widths": [4096, 4096]}}, r"forward mode needs \d+\.\d MB of traces"),
    ]
    for changes, message in refused:
        with pytest.raises(RecipeError, match=rf"rule.forward_mode cannot train model.\w+: .*{message}"):
            builders.try_traces(traced(**changes))
