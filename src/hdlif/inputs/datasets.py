"""Define properties of data sets that are known without reading data or importing PyTorch."""

SAVED_BY_DATASETS = ("dataset_info.json", "dataset_dict.json")
"""Names of files, either of which identifies a folder saved by the package `datasets`."""

SHIPPED = (
    "cifar10",
    "cifar100",
    "copy",
    "delayed_xor",
    "digits",
    "digits_events",
    "dvs_cifar10",
    "dvs_gesture",
    "fashion_mnist",
    "fashion_mnist_events",
    "imagenet",
    "mackey_glass",
    "n_mnist",
    "sines",
    "synthetic",
    "tiny_imagenet",
    "wine",
)
"""Names of the shipped sets: the keys of `hdlif.recipe.builders.DATA`, without importing it."""
WITHOUT_DOWNLOAD = ("copy", "delayed_xor", "digits", "digits_events", "mackey_glass", "sines", "synthetic", "wine")
"""Shipped sets that are bundled or generated."""
PUBLIC = (
    "exercises",
    "hapt",
    "mnist",
    "motions",
    "voices",
    "vowels",
)
"""Names of public sets that hdlif can fetch: the keys of `hdlif.data.public.SETS`, without importing PyTorch."""

DIGITS_MEAN, DIGITS_STD = (0.3054,), (0.3760,)
DIGITS_CLASSES = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")

FASHION_MNIST_MEAN, FASHION_MNIST_STD = (0.2860,), (0.3530,)
FASHION_MNIST_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

SYNTHETIC_MEAN, SYNTHETIC_STD = (0.5,), (0.33,)
SYNTHETIC_CLASSES = tuple(f"pattern {c}" for c in range(10))

SINES_SHAPE = (2, 32, 1)
SINES_MEAN, SINES_STD = (0.0, 0.0), (0.8, 0.8)
SINES_CLASSES = ("slow", "middle", "fast")

WINE_CLASSES = ("cultivar 0", "cultivar 1", "cultivar 2")
WINE_MEAN = (13.02, 2.328, 2.377, 19.67, 98.98, 2.305, 2.03, 0.3667, 1.608, 5.031, 0.9558, 2.605, 754.2)
WINE_STD = (0.8104, 1.144, 0.2791, 3.477, 13.81, 0.6087, 1.02, 0.1195, 0.5947, 2.327, 0.2212, 0.687, 323.6)
WINE_COLUMNS = (
    "alcohol",
    "malic_acid",
    "ash",
    "alcalinity_of_ash",
    "magnesium",
    "total_phenols",
    "flavanoids",
    "nonflavanoid_phenols",
    "proanthocyanins",
    "color_intensity",
    "hue",
    "od280/od315_of_diluted_wines",
    "proline",
)

CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

CIFAR100_MEAN = (129.3 / 255, 124.1 / 255, 112.4 / 255)
CIFAR100_STD = (68.2 / 255, 65.4 / 255, 70.4 / 255)
_CIFAR100_NAMES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm
"""
CIFAR100_CLASSES = tuple(_CIFAR100_NAMES.split())

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TINY_IMAGENET_MEAN, TINY_IMAGENET_STD = (0.480, 0.448, 0.398), (0.272, 0.266, 0.274)
TINY_IMAGENET_CLASSES = tuple(f"class {number}" for number in range(200))
"""Placeholder names in the order of the sorted WordNet IDs; words.txt in the set contains the actual names."""

DVS_SIDE, N_MNIST_SIDE = 128, 34
DVS_GESTURE_CLASSES = (
    "hand clapping",
    "right hand wave",
    "left hand wave",
    "right arm clockwise",
    "right arm counter-clockwise",
    "left arm clockwise",
    "left arm counter-clockwise",
    "arm roll",
    "air drums",
    "air guitar",
    "other gestures",
)


def where_had(name: str) -> str:
    """Return a suffix for error messages that explains how to fetch the public set `name`, or "" for other names."""
    return f"; `hdlif data get {name}` fetches it" if name in PUBLIC else ""
