"""Images a second that one core reads, decodes, augments and normalises, from folders and from tar shards.

    OMP_NUM_THREADS=1 python benchmarks/bench_loading.py [--images N] [--batch-size N] [--rounds N] [--out FILE]

The images are synthetic JPEGs of 500x375 (noise of all scales, 110 kB on average: ImageNet's training archive has
138 GB for 1.28 million), in the two layouts of `hdlif.data.imagenet` and read by it, in this process and in one thread:
what a worker process does, less the handing over. They were just written, hence lie in the page cache.
"crop, flip" leaves AutoAugment out, "centre" is what evaluation does. Seconds are those of the CPU, in which other work
on the machine shows less than on the clock; median, least and most over rounds that alternate between all rows.
"""

import argparse
import io
import os
import statistics
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from hdlif.config import load_recipe
from hdlif.data import Samples, imagenet
from hdlif.measure.engine_times import spread
from hdlif.report.tables import aligned
from recorded import write_record

WIDTH, HEIGHT, QUALITY = 500, 375, 95
PUBLISHED = "imagenet_resnet34_hdlif"
CLASSES = ("first", "second")
HELD_OUT = 2


def jpeg(rng: np.random.Generator) -> bytes:
    """Noise whose amplitude falls with its frequency, as in photographs."""
    pixels = np.full((HEIGHT, WIDTH, 3), 128.0)
    for side in (4, 16, 64, 256, 512):
        noise = Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
        pixels += (np.asarray(noise.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)) - 128.0) * (3 / side**0.5)
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def write(root: Path, images: int) -> float:
    """`images` for training (and a few for testing) as folders and as shards; returns their mean bytes."""
    rng = np.random.default_rng(0)
    content = [jpeg(rng) for _ in range(images)]
    for part, files in (("train", content), ("val", content[:HELD_OUT])):
        shards = root / "shards" / "imagenet" / part
        shards.mkdir(parents=True)
        with tarfile.open(shards / "000000.tar", "w") as archive:
            for number, file in enumerate(files):
                label = number % len(CLASSES)
                folder = root / "folders" / "imagenet" / part / CLASSES[label]
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{number}.JPEG").write_bytes(file)
                for suffix, body in (("jpg", file), ("cls", str(label).encode())):
                    member = tarfile.TarInfo(f"{number}.{suffix}")
                    member.size = len(body)
                    archive.addfile(member, io.BytesIO(body))
    return statistics.mean(map(len, content))


def images_a_second(samples: Samples, batch_size: int, epoch: int) -> float:
    samples.set_epoch(epoch)
    start = time.process_time()
    for _ in samples.sequences(batch_size):
        pass
    return len(samples) / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=130)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()
    published = load_recipe(PUBLISHED).data.augment
    augments = {", ".join(published): published, "crop, flip": published[:2], "centre": ()}
    with tempfile.TemporaryDirectory() as folder:
        mean_bytes = write(Path(folder), arguments.images)
        rows: dict[tuple[str, str], Samples] = {
            (form, shown): imagenet(
                Path(folder) / form,
                validation=HELD_OUT,
                augment=augment,
                seed=0,
                classes=CLASSES,
                counts=(arguments.images, HELD_OUT),
            ).train
            for form in ("folders", "shards")
            for shown, augment in augments.items()
        }
        taken: dict[tuple[str, str], list[float]] = {row: [] for row in rows}
        for number in range(arguments.rounds + 1):
            for row, samples in rows.items():
                rate = images_a_second(samples, arguments.batch_size, number)
                # The first round warms up.
                if number:
                    taken[row].append(rate)
    figures = {row: spread(rates) for row, rates in taken.items()}
    cells = [
        [form, shown, *(f"{figures[form, shown][k]:.0f}" for k in ("median", "min", "max"))] for form, shown in rows
    ]
    print(f"images a second of one core; {arguments.images} JPEGs of {WIDTH}x{HEIGHT}, of {mean_bytes / 1e3:.0f} kB")
    print(aligned(["read from", "augmentation", "median", "least", "most"], cells))
    if arguments.out:
        record = [{"form": form, "augment": shown, **figures[form, shown]} for form, shown in rows]
        machine = {"mean_bytes": mean_bytes, "load_average": load}
        write_record(
            arguments.out, {**vars(arguments), "out": None, **machine, "images_per_cpu_second": record}, seeds=[0]
        )


if __name__ == "__main__":
    main()
