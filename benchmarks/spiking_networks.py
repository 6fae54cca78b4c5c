"""Networks of torchvision and timm, made spiking: parameters, time to convert, bytes of the file, and of an image.

    python benchmarks/spiking_networks.py [--size 64] [--time-steps 4] [--classes 10] [--repeats 20] [--out FILE.json]

Weights are drawn at random, those of the body ternary, spikes of 4 bits; batch norms have the statistics of 16 random
images, of one of which the runtime then makes logits, again and again, in one thread.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import timm
import torch
from torchvision import models

from hdlif.deploy import export
from hdlif.graph.artefact import InputRecord
from hdlif.models import OwnNetwork, spiking
from hdlif.nn import HDLIF, SpikeQuantizer, Ternary
from hdlif.runtime import Session
from recorded import write_record

NETWORKS = {
    "torchvision resnet18": models.resnet18,
    "torchvision mobilenet_v2": models.mobilenet_v2,
    "timm mobilenetv2_035": lambda num_classes: timm.create_model("mobilenetv2_035", num_classes=num_classes),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("size", 64), ("time-steps", 4), ("classes", 10), ("repeats", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    steps, shape = given.time_steps, (3, given.size, given.size)
    print("network | parameters | converted in, s | file, bytes | ms an image: median (least to most)")
    found = {}
    for name, make in NETWORKS.items():
        torch.manual_seed(0)
        model = make(num_classes=given.classes)
        begun = time.perf_counter()
        made = spiking(model, lambda _: HDLIF(steps, quantizer=SpikeQuantizer()), quantizer=Ternary())
        seconds = time.perf_counter() - begun
        network, x = OwnNetwork(made), torch.randn(1, 16, *shape)
        with torch.no_grad():
            for _ in range(10):
                network.train()(x, None, range(steps))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.hdlif.safetensors"
            labels = tuple(map(str, range(given.classes)))
            record = InputRecord(shape, (0.0,) * 3, (1.0,) * 3)
            export(network.eval(), path, input=record, labels=labels, time_steps=steps)
            size, session = path.stat().st_size, Session(path, threads=1)
        image, times = x[:, :1].numpy(), []
        session.run(image, steps)
        for _ in range(given.repeats):
            begun = time.perf_counter()
            session.run(image, steps)
            times.append(1e3 * (time.perf_counter() - begun))
        parameters = sum(value.numel() for value in network.parameters())
        spread = f"{statistics.median(times):.1f} ({min(times):.1f} to {max(times):.1f})"
        print(f"{name} | {parameters:,} | {seconds:.2f} | {size:,} | {spread}")
        found[name] = {"parameters": parameters, "seconds": seconds, "file_bytes": size, "image_ms": times}
    if given.out is not None:
        write_record(given.out, {"shape": shape, "time_steps": steps, "networks": found}, seeds=[0])


if __name__ == "__main__":
    main()
