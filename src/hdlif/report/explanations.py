"""Explanations of the figures and tables in reports, for new readers."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Explanation:
    """An explanation of a figure, and the path ("section/page") of a page in docs/ with more details."""

    text: str
    page: str


PAGES: Mapping[str, str] = {
    "explanation/coherence": "What cutting time does to gradients",
    "explanation/energy": "Energy",
    "explanation/spiking_neurons": "Spiking neurons for those who know PyTorch",
    "how_to/choosing_a_rule": "Choose a learning rule",
    "how_to/experiments": "Experiments",
    "how_to/running": "Run a network",
    "how_to/serving": "Serving",
    "reference/recipes": "Recipes",
    "reference/targets": "The model file and where it runs",
    "reference/tasks": "Tasks and metrics",
}
"""Titles of the pages in links to them."""

_BY_LAYER = "Each row is a layer, the first on top; each mark is a network. "
_BY_STEP = "Each panel is a layer of neurons; the x axis shows the time steps of one input. "
_GRADIENT = "0 is the gradient of full back-propagation through time (STBP); the further to the right, the worse. "
_COHERENCE = "explanation/coherence"

EXPLANATIONS: Mapping[str, Explanation] = {
    "accuracy-size": Explanation(
        "Each mark is a network. Further up is more accurate, further left is a smaller file; the axis is logarithmic.",
        "how_to/experiments",
    ),
    "accuracy-energy": Explanation(
        "Each mark is a network. Further up is more accurate, further left takes less energy per prediction; the "
        "axis is logarithmic. Memory traffic is left out.",
        "explanation/energy",
    ),
    "results": Explanation(
        "Each row is a network. Higher is better in the column of accuracy; lower is better in all columns to the "
        "right of it, which show the costs of storing, running and training the network. Compare energies of networks "
        "whose weights have the same bits: fewer bits save energy with every neuron, LIF included.",
        "explanation/energy",
    ),
    "results-of-values": Explanation(
        "Each row is a network. The columns of the test set show how well it does on data that it was not trained "
        "on; the columns to the right of them show the costs of storing, running and training it, where lower is "
        "better.",
        "reference/tasks",
    ),
    "differences": Explanation(
        "A recipe is the file that describes how a network is built and trained. Fields that are not listed are the "
        "same in all of them, so that only the listed fields can explain a difference between the networks.",
        "reference/recipes",
    ),
    "confusion": Explanation(
        "Each row is a true class, each column a predicted class. In a perfect network all "
        "counts are on the blue diagonal; an orange count off the diagonal is a mistake, and a dot is zero.",
        "reference/tasks",
    ),
    "gallery": Explanation(
        "The test images with the lowest scores, the lowest first, with the true target and the prediction drawn into "
        "them. Look for what they have in common.",
        "reference/tasks",
    ),
    "commonest": Explanation(
        "Each row is one kind of mistake, the most frequent first: the true class, the predicted class, "
        "and the number of samples.",
        "reference/tasks",
    ),
    "provenance": Explanation(
        "Everything needed to reproduce the runs. Figures are comparable if versions and hardware are the same.",
        "how_to/experiments",
    ),
    "deployed": Explanation(
        "The runtime needs only this file, without PyTorch. Class agreement should be 100 %, or short of "
        "it by a few samples whose classes are almost equally likely.",
        "reference/targets",
    ),
    "accuracy-by-class": Explanation(
        "Each row is a class, the worst on average on top; each column is a network. Higher is better. The "
        "strongest colour marks the worst cell of the table, which may still be good: read the numbers.",
        "reference/tasks",
    ),
    "f1-by-label": Explanation(
        "Each row is a label; each mark is a network. Further to the right is better. Labels that are often missed "
        "or often predicted wrongly are far to the left.",
        "reference/tasks",
    ),
    "parts": Explanation(
        "Each row is an output of the network; each mark is a network. The label of the axis names the metric.",
        "reference/tasks",
    ),
    "predicted": Explanation(
        "The x axis shows the true value, the y axis the prediction. The closer the marks "
        "are to the dashed diagonal, and the shorter their bars, the better.",
        "reference/tasks",
    ),
    "accuracy-per-step": Explanation(
        "A spiking network predicts after every time step, and later predictions are based on more input. Higher is "
        "better; a line that is high from the first step on means that the network can exit early.",
        "explanation/spiking_neurons",
    ),
    "per-step": Explanation(
        "The x axis shows the time steps of one input; the network has received more of it at each. The earlier a "
        "line reaches its best value, the fewer steps the network needs; for errors, lower is better.",
        "explanation/spiking_neurons",
    ),
    "early": Explanation(
        "Further left is faster, higher is more accurate: a line that stays high up to the left loses little by "
        "early exit. The service and hdlif run with --confidence stop in this way.",
        "how_to/serving",
    ),
    "validation-accuracy": Explanation(
        "The x axis shows the progress of training; higher is better. A line that has become flat gains little "
        "from more epochs; the saved network is that of the best epoch, among equal ones the one with the least "
        "validation loss. A thin line far above the other one of its colour means overfitting; below it is normal, "
        "because training batches are augmented, and measured while the network still learns.",
        "how_to/experiments",
    ),
    "validation-metric": Explanation(
        "The x axis shows the progress of training. A line that has become flat gains little from more epochs; the "
        "saved network is that of the best epoch, among equal ones the one with the least validation loss.",
        "how_to/experiments",
    ),
    "loss": Explanation(
        "The x axis shows the progress of training. The loss should fall and level off. A validation loss that rises "
        "while the thin line falls means overfitting; a thin line that rises again, or jumps, indicates that the "
        "learning rate is too high. Training may have further terms, such as label smoothing and penalties.",
        "how_to/experiments",
    ),
    "firing-rate": Explanation(
        _BY_LAYER
        + "The further left, the fewer spikes, and the fewer operations the next layer has to compute. A layer "
        "at 0 is silent and passes nothing on.",
        "explanation/spiking_neurons",
    ),
    "sops": Explanation(
        _BY_LAYER
        + "A synaptic operation is the cost of one spike at one weight: the weight is added, multiplied by the value "
        "of the spike if spikes are graded. The further left, the cheaper the layer.",
        "explanation/energy",
    ),
    "leak": Explanation(
        _BY_STEP + "The leak is the fraction of its potential that a neuron keeps from one step to the next: 1 keeps "
        "everything, 0 nothing. No value is right or wrong; a line away from the start shows what was learned.",
        "explanation/spiking_neurons",
    ),
    "threshold": Explanation(
        _BY_STEP + "A neuron fires when its membrane exceeds the threshold: a lower one means more spikes at this "
        "step. No value is right or wrong; a line away from the start shows what was learned.",
        "explanation/spiking_neurons",
    ),
    "raster": Explanation(
        "Each row is a neuron, each column a time step. Each mark is a spike; a row without marks is a silent neuron. "
        "Few marks are cheap; the next layer reads which neurons fire.",
        "explanation/spiking_neurons",
    ),
    "membranes": Explanation(
        "Each neuron has a panel; the x axis shows the time steps. The line is the accumulated input of the neuron. "
        "When it exceeds the dotted threshold the neuron fires.",
        "explanation/spiking_neurons",
    ),
    "coherence-firing-rate": Explanation(
        _BY_LAYER + "It shows the activity at which the gradients of the next figures were compared.",
        _COHERENCE,
    ),
    "coherence-dropped": Explanation(
        "Each row is a layer. At 0 the rule keeps the whole gradient; the further to the right, the more it drops.",
        _COHERENCE,
    ),
    "coherence-wrong": Explanation(
        "Each row is a layer. At 0 every entry that the rule keeps is right; further to the right, more entries are "
        "wrong.",
        _COHERENCE,
    ),
    "coherence-local": Explanation(f"Each row is a layer. {_GRADIENT}Each layer is compared alone.", _COHERENCE),
    "coherence-end-to-end": Explanation(
        f"Each row is a layer of weights. {_GRADIENT}Deviations of all later layers add up here.", _COHERENCE
    ),
    "coherence-step": Explanation(
        _BY_STEP + "0 is the gradient of full back-propagation through time (STBP); the higher a line, the more the "
        "rule deviates from it at that step.",
        _COHERENCE,
    ),
    "ablation-results": Explanation(
        "Each cell shows the result of the training that its row and column describe. The figure after ± is the "
        "standard deviation over the seeds: smaller differences may be chance.",
        "how_to/experiments",
    ),
    "by-column": Explanation(
        "Each line is a row of the table; higher is better. If bars overlap, the difference may be chance.",
        "how_to/experiments",
    ),
    "by-operations": Explanation(
        "Further left is cheaper, higher is more accurate: the best place is the upper left corner.",
        "explanation/energy",
    ),
    "over-time": Explanation(
        "Each panel is a column of the table; the x axis shows the time steps of one input. Higher is "
        "better, and a line that is high from the first step on means that the network can exit early.",
        "explanation/spiking_neurons",
    ),
    "shown": Explanation(
        "The x axis shows the time of the recording, in steps of the network. The figure shows the input of the "
        "network, before any layer.",
        "how_to/running",
    ),
    "said-values": Explanation(
        "The x axis shows the time of the recording. Each line is the prediction of a value so far.",
        "reference/tasks",
    ),
    "said": Explanation(
        "The x axis shows the time of the recording. The highest line is the prediction so far; a good "
        "network settles early on one line and stays there.",
        "how_to/choosing_a_rule",
    ),
    "firing": Explanation(
        "Each line is a layer of neurons. The lower it is, the fewer spikes and operations there are; "
        "a rise shows that the layer reacts to its input.",
        "explanation/spiking_neurons",
    ),
    "windows": Explanation(
        "A long recording is cut into windows, and the network predicts each separately.",
        "how_to/running",
    ),
}
"""Explanations by kind of figure or table."""
