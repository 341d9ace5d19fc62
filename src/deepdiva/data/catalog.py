"""The data sets that are known by name: their files, checksums, classes and protocols."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from deepdiva.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Published:
    """One file as its authors publish it: name, size in bytes, MD5 in hexadecimal.

    MD5 is what the authors give, and enough against damage. What was received is then known by its SHA-256.
    """

    name: str
    size: int
    md5: str


@dataclass(frozen=True)
class Layout:
    """One way in which a data set lies on disk.

    Args:
        form: How its files are read, a key of `formats.READERS`.
        files: The files that are needed, each with its MD5 where that is published.
        folders: Where they may lie below the folder of the data set; the first is where they are put.
    """

    form: str
    files: Mapping[str, str | None]
    folders: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class DataSet:
    """A data set that can be downloaded by its name.

    Args:
        name: What users write.
        title: What people call it.
        about: What it holds, in a few words.
        source: The class of torchvision.datasets that knows the addresses.
        published: What is downloaded: files that stay as they are, or one archive.
        layouts: What lies on disk in the end; the first is what a download gives, the others are read as well.
        archive: Whether `published` is one archive, to be unpacked.
        room: Bytes that the unpacked files take.
        classes: Class names; empty where the data set brings them.
        variants: Other ways to use it, `name:variant`, and what each is.
        extra: Further files that a variant needs.
        protocol: What to know before numbers are compared; empty where there is one common way.
    """

    name: str
    title: str
    about: str
    source: str
    published: tuple[Published, ...]
    layouts: tuple[Layout, ...]
    archive: bool = False
    room: int = 0
    classes: tuple[str, ...] = ()
    variants: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, tuple[Published, ...]] = field(default_factory=dict)
    protocol: str = ""

    def files_of(self, variant: str | None) -> tuple[Published, ...]:
        """What is downloaded for a variant."""
        return self.published + self.extra.get(variant or "", ())


def find(name: str) -> tuple[DataSet, str | None] | None:
    """The data set and variant that `name` means (`mnist`, `CIFAR-10`, `stl10:3`), or None if it is no known name.

    Raises:
        UserError: The data set is known, the variant is not.
    """
    base, colon, variant = name.partition(":")
    dataset = SETS.get("".join(sign for sign in base.lower() if sign not in "-_ "))
    if dataset is None:
        return None
    if colon and variant not in dataset.variants:
        known = ", ".join(f"{dataset.name}:{known}" for known in dataset.variants)
        hint = did_you_mean(variant, dataset.variants) or (known and f"there are {known}") or f"write {dataset.name}"
        raise UserError(f"{dataset.title} has no variant '{variant}'", hint)
    return dataset, variant if colon else None


def get(name: str) -> tuple[DataSet, str | None]:
    """As `find`, for names that must be known.

    Raises:
        UserError: The data set or variant is not known.
    """
    found = find(name)
    if found is None:
        known = ", ".join(SETS)
        raise UserError(f"there is no data set '{name}' to download", did_you_mean(name, SETS) or f"there are {known}")
    return found


DIGITS = tuple("0123456789")
CLOTHES = (
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
HIRAGANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx_files(*files: tuple[int, str]) -> tuple[Published, ...]:
    """The four files of MNIST and its relatives, from their sizes and checksums."""
    return tuple(Published(f"{name}.gz", size, md5) for name, (size, md5) in zip(IDX_NAMES, files, strict=True))


def idx_layouts(published: tuple[Published, ...], source: str) -> tuple[Layout, ...]:
    """The files as published, and unpacked; also where torchvision puts them."""
    folders = ("", f"{source}/raw", "raw")
    packed = Layout("idx", {file.name: file.md5 for file in published}, folders)
    return packed, Layout("idx", dict.fromkeys(IDX_NAMES), folders)


def _like_mnist(
    name: str, title: str, source: str, about: str, classes: tuple[str, ...], *files: tuple[int, str]
) -> DataSet:
    published = idx_files(*files)
    about = f"60,000 + 10,000 {about}, gray, 28 x 28"
    return DataSet(name, title, about, source, published, idx_layouts(published, source), classes=classes)


_ALL = (
    _like_mnist(
        "mnist",
        "MNIST",
        "MNIST",
        "handwritten digits",
        DIGITS,
        (9912422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        (28881, "d53e105ee54ea40749a09fcbcd1e9432"),
        (1648877, "9fb629c4189551a2d022fa330f9573f3"),
        (4542, "ec29112dd5afa0611ce80d1b7f02629c"),
    ),
    _like_mnist(
        "fashionmnist",
        "Fashion-MNIST",
        "FashionMNIST",
        "pieces of clothing",
        CLOTHES,
        (26421880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        (29515, "25c81989df183df01b3e8a0aad5dffbe"),
        (4422102, "bef4ecab320f06d8554ea6380940ec79"),
        (5148, "bb300cfdad3c16e7a12a480ee83cd310"),
    ),
    _like_mnist(
        "kmnist",
        "KMNIST",
        "KMNIST",
        "cursive Japanese characters",
        HIRAGANA,
        (18165135, "bdb82020997e1d708af4cf47b453dcf7"),
        (29497, "e144d726b3acfaa3e44228e80efcd344"),
        (3041136, "5c965bf0a639b31b8f53240b1b52f4d7"),
        (5120, "7320c461ea6c1c855c0b718fb2a4b134"),
    ),
    DataSet(
        name="cifar10",
        title="CIFAR-10",
        about="50,000 + 10,000 photographs of things and animals, 32 x 32",
        source="CIFAR10",
        published=(Published("cifar-10-python.tar.gz", 170498071, "c58f30108f718f92721af3b95e74349a"),),
        layouts=(
            Layout(
                "cifar-python",
                {
                    "data_batch_1": "c99cafc152244af753f735de768cd75f",
                    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
                    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
                    "data_batch_4": "634d18415352ddfa80567beed471001a",
                    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
                    "test_batch": "40351d587109b95175f43aff81a1287e",
                    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
                },
                ("cifar-10-batches-py", ""),
            ),
            Layout(
                "cifar-binary",
                dict.fromkeys(
                    (*(f"data_batch_{place}.bin" for place in range(1, 6)), "test_batch.bin", "batches.meta.txt")
                ),
                ("cifar-10-batches-bin", ""),
            ),
        ),
        archive=True,
        room=186_500_000,
    ),
    DataSet(
        name="cifar100",
        title="CIFAR-100",
        about="50,000 + 10,000 photographs in 100 classes, 32 x 32",
        source="CIFAR100",
        published=(Published("cifar-100-python.tar.gz", 169001437, "eb9058c3a382ffc7106e4002c42a8d85"),),
        layouts=(
            Layout(
                "cifar-python",
                {
                    "train": "16019d7e3df5f24257cddd939b257f8d",
                    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
                    "meta": "7973b15100ade9c7d40fb424638fde48",
                },
                ("cifar-100-python", ""),
            ),
            Layout(
                "cifar-binary",
                dict.fromkeys(("train.bin", "test.bin", "fine_label_names.txt", "coarse_label_names.txt")),
                ("cifar-100-binary", ""),
            ),
        ),
        archive=True,
        room=187_500_000,
        variants={"coarse": "the 20 superclasses"},
    ),
    DataSet(
        name="svhn",
        title="SVHN",
        about="73,257 + 26,032 house numbers cut into digits, 32 x 32",
        source="SVHN",
        published=(
            Published("train_32x32.mat", 182040794, "e26dedcc434d2e4c54c9b2d4a06d8373"),
            Published("test_32x32.mat", 64275384, "eb5a983be6a315427106f1b164d9cef3"),
        ),
        layouts=(
            Layout(
                "svhn",
                {
                    "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
                    "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
                },
            ),
        ),
        classes=DIGITS,
        variants={"extra": "531,131 easier training images besides"},
        extra={"extra": (Published("extra_32x32.mat", 1329278602, "a93ce644f1a588dc4d68dda5feec44a7"),)},
    ),
    DataSet(
        name="stl10",
        title="STL-10",
        about="5,000 + 8,000 photographs, 96 x 96, and 100,000 without labels",
        source="STL10",
        published=(Published("stl10_binary.tar.gz", 2640397119, "91f7769df0f17e558f3565bffb0c7dfb"),),
        layouts=(
            Layout(
                "stl10",
                {
                    "train_X.bin": "918c2871b30a85fa023e0c44e0bee87f",
                    "train_y.bin": "5a34089d4802c674881badbb80307741",
                    "test_X.bin": "7f263ba9f9e0b06b93213547f721ac82",
                    "test_y.bin": "36f9794fa4beb8a2c72628de14fa638e",
                    "unlabeled_X.bin": "5242ba1fed5e4be9e1e742405eb56ca4",
                    "fold_indices.txt": None,
                    "class_names.txt": None,
                },
                ("stl10_binary", ""),
            ),
        ),
        archive=True,
        room=3_125_000_000,
        variants={
            **{str(fold): f"training on fold {fold} of 10: 1,000 images" for fold in range(10)},
            "unlabelled": "the images without labels, for tasks that need none",
        },
        protocol="the published protocol trains on each of stl10:0 … stl10:9 and reports mean and deviation over the "
        "ten; plain stl10 trains on all 5,000 images, which is another protocol: say which",
    ),
)

SETS: dict[str, DataSet] = {dataset.name: dataset for dataset in _ALL}
"""All known data sets by name."""
