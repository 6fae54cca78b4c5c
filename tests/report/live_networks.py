"""A network of images for the live page, and the page."""

from deployed_graphs import CLASSES, Builder
from hdlif.graph.artefact import INPUT, Graph, InputRecord, dumps
from hdlif.report.live import live_page


def network(*, neuron: str = "hd_lif", channels: int = 1) -> Graph:
    b = Builder((channels, 8, 8), 4, 3)
    x = b.affine(b.conv(INPUT, 6, encoding="float32"))
    x = b.quantise(getattr(b, neuron)(x, per_channel=True))
    x = b.affine(b.conv(x, 8, stride=(2, 1), groups=2, encoding="ternary"), scale=0.3, per_step=True)
    x = b.add("max_pool", b.lif(x), kernel=(2, 2), stride=(2, 2), padding=(0, 0))
    graph = b.graph(b.quantise(b.program(x)))
    record = InputRecord((channels, 8, 8), (0.3,) * channels, (0.35,) * channels)
    return Graph(graph.nodes, graph.output, graph.time_steps, record, ("zero", "one & <two>", "größer")[:CLASSES])


def page(graph: Graph) -> str:
    return live_page(dumps(graph), "net.hdlif.safetensors")
