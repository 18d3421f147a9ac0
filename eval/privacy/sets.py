"""Whose pictures: a folder a person, LFW (people, or its pairs), CelebA. A clip's persons are its tracks (`tracks.py`).

    DIR                 DIR/NAME/*.jpg
    lfw:ROOT            ROOT/NAME/NAME_0001.jpg; people with at least two pictures
    lfw-pairs:ROOT      the pictures and pairs of ROOT/pairs.txt
    celeba:ROOT         ROOT/identity_CelebA.txt and ROOT/img_align_celeba (or img_celeba)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from eval.datasets.folder import SUFFIXES


@dataclass(frozen=True)
class Portrait:
    """One picture of one person (other faces may be in it; the largest is the person's)."""

    path: Path
    person: str


@dataclass(frozen=True)
class Portraits:
    """A set. pairs: (first, second, same person), indices of items, where a protocol fixes them."""

    name: str
    items: tuple[Portrait, ...]
    pairs: tuple[tuple[int, int, bool], ...] | None = None

    def take(self, count: int) -> Portraits:
        """About `count` pictures, whole persons, spread evenly over the sorted names."""
        if count >= len(self.items) or self.pairs is not None:
            return self
        sizes = Counter(item.person for item in self.items)
        names = sorted(sizes)
        wanted = max(2, round(len(names) * count / len(self.items)))
        kept = {names[i * len(names) // wanted] for i in range(min(wanted, len(names)))}
        return Portraits(self.name, tuple(item for item in self.items if item.person in kept))


def folder(root: Path) -> Portraits:
    """A folder a person."""
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder; give --faces a folder with one folder a person, or a clip")
    items = [Portrait(path, person.name) for person in sorted(root.iterdir())
             if person.is_dir() and not person.name.startswith(".")
             for path in sorted(person.iterdir()) if path.suffix.lower() in SUFFIXES]  # fmt: skip
    if not items:
        raise ValueError(f"{root}: holds no DIR/NAME/*.jpg; put each person's pictures into a folder of their own")
    return Portraits(root.resolve().name, tuple(items))


def lfw(root: Path) -> Portraits:
    """People with two pictures or more: nobody else can be found again."""
    everyone = folder(_lfw_root(root))
    sizes = Counter(item.person for item in everyone.items)
    return Portraits("lfw", tuple(item for item in everyone.items if sizes[item.person] > 1))


def lfw_pairs(root: Path) -> Portraits:
    """The pairs of pairs.txt: "NAME i j" are one person, "NAME i NAME j" two; numbers alone head the sets."""
    listing, pictures = root / "pairs.txt", _lfw_root(root)
    items: dict[Path, int] = {}
    kept: list[Portrait] = []
    pairs = []

    def index(person: str, number: str) -> int:
        path = pictures / person / f"{person}_{int(number):04d}.jpg"
        if path not in items:
            items[path] = len(kept)
            kept.append(Portrait(path, person))
        return items[path]

    for at, line in enumerate(_lines(listing), 1):
        words = line.split()
        try:
            if len(words) == 3:
                pairs.append((index(words[0], words[1]), index(words[0], words[2]), True))
            elif len(words) == 4:
                pairs.append((index(words[0], words[1]), index(words[2], words[3]), False))
            elif words and not all(word.isdigit() for word in words):
                raise ValueError
        except ValueError:
            raise ValueError(f"{listing}: line {at} is no pair: {line.strip()!r}") from None
    if not pairs:
        raise ValueError(f"{listing}: lists no pairs")
    return Portraits("lfw-pairs", tuple(kept), tuple(pairs))


def celeba(root: Path) -> Portraits:
    """identity_CelebA.txt has "000001.jpg 2880" a line; persons with one picture are left out."""
    listing = root / "identity_CelebA.txt"
    pictures = next((root / name for name in ("img_align_celeba", "img_celeba") if (root / name).is_dir()), None)
    if pictures is None:
        raise ValueError(f"{root}: has no folder img_align_celeba or img_celeba; unpack CelebA's pictures there")
    rows = []
    for at, line in enumerate(_lines(listing), 1):
        words = line.split()
        if len(words) != 2 or not words[1].isdigit() or "/" in words[0]:
            raise ValueError(f"{listing}: line {at} is not `PICTURE IDENTITY`: {line.strip()!r}")
        rows.append((words[0], words[1]))
    sizes = Counter(person for _, person in rows)
    items = tuple(Portrait(pictures / name, person) for name, person in rows if sizes[person] > 1)
    if not items:
        raise ValueError(f"{listing}: lists nobody with two pictures")
    return Portraits("celeba", items)


SETS: dict[str, Callable[[Path], Portraits]] = {"lfw": lfw, "lfw-pairs": lfw_pairs, "celeba": celeba}


def load(spec: str) -> Portraits:
    """The set that `--faces` names; ValueError or OSError, one line."""
    kind, sign, place = spec.partition(":")
    if sign and kind in SETS:
        return SETS[kind](Path(place))
    return folder(Path(spec))


def check(portraits: Portraits) -> None:
    """ValueError where nobody could be told from anybody."""
    sizes = Counter(item.person for item in portraits.items)
    if portraits.pairs is not None:
        return
    if len(sizes) < 2:
        raise ValueError(f"{portraits.name}: one identity only ({next(iter(sizes), 'nobody')}); re-identification "
                         "needs at least two persons, each in a folder of their own")  # fmt: skip
    if max(sizes.values()) < 2:
        raise ValueError(f"{portraits.name}: nobody has two pictures; re-identification needs one to find another by")


def _lfw_root(root: Path) -> Path:
    return next((root / name for name in ("lfw", "lfw_funneled", "lfw-deepfunneled") if (root / name).is_dir()), root)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; it comes with the data set") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not text") from None
