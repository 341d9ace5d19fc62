"""`deepdiva data generate`, `shuffle-labels`, `remove-whitespace`: new data sets; the old ones stay as they are."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parsers(commands: Any) -> None:
    """Adds `generate`, `shuffle-labels` and `remove-whitespace`."""
    made = commands.add_parser(
        "generate", help="make points in the plane, and the best rule for them", allow_abbrev=False
    )
    made.add_argument("shape", metavar="SHAPE", help="such as spirals; a wrong name lists them all")
    made.add_argument("-n", "--n", type=int, default=1000, metavar="N", help="number of points (default: 1000)")
    made.add_argument("--noise", type=float, metavar="SD", help="what is added to every coordinate (default: its own)")
    made.add_argument("--classes", type=int, metavar="K", help="number of classes (default: its own)")
    _finish(made, generate, seed="chooses the points")
    shuffled = commands.add_parser(
        "shuffle-labels", help="shuffle the labels of the training samples", allow_abbrev=False
    )
    shuffled.add_argument("path", type=Path, metavar="PATH", help="an image folder, or points with a class each")
    shuffled.add_argument("--fraction", type=float, default=1.0, metavar="P", help="share of the samples (default: 1)")
    shuffled.add_argument("--link", action="store_true", help="link images instead of copying them")
    _finish(shuffled, shuffle, seed="chooses the permutation")
    cropped = commands.add_parser("remove-whitespace", help="crop blank margins of document images", allow_abbrev=False)
    cropped.add_argument("path", type=Path, metavar="PATH", help="a folder with images, in folders of any depth")
    cropped.add_argument("--threshold", type=int, default=240, metavar="GRAY", help="blank from here on (default: 240)")
    cropped.add_argument("--margin", type=int, default=0, metavar="PIXELS", help="what stays on each side (default: 0)")
    _finish(cropped, crop, seed=None)


def generate(arguments: argparse.Namespace) -> int:
    """`deepdiva data generate SHAPE --to NEW`."""
    from deepdiva.cli.console import note, print_json, say
    from deepdiva.data.generating import write_points

    bayes = write_points(
        arguments.shape,
        arguments.to,
        n=arguments.n,
        noise=arguments.noise,
        seed=arguments.seed,
        classes=arguments.classes,
    )
    if arguments.json:
        print_json(bayes)
        return 0
    error = "unknown" if bayes["error"] is None else f"{bayes['error']:.4f}"
    wrong, count = bayes["wrong_here"]["test"], bayes["points_here"]["test"]
    say(f"wrote {arguments.to}: {arguments.n} points, {bayes['classes']} classes, noise {bayes['noise']:g}")
    say(f"the best rule: {bayes['rule']}")
    say(f"its error: {error} ({bayes['how']}); on the test points here {wrong} of {count}")
    note(f"deepdiva run points --data {arguments.to}", style="dim")
    return 0


def shuffle(arguments: argparse.Namespace) -> int:
    """`deepdiva data shuffle-labels PATH --to NEW`."""
    from deepdiva.cli.console import note, print_json, say
    from deepdiva.data.shuffle_labels import shuffle_labels

    done = shuffle_labels(
        arguments.path, arguments.to, seed=arguments.seed, fraction=arguments.fraction, link=arguments.link
    )
    if arguments.json:
        print_json(vars(done))
        return 0
    say(f"wrote {arguments.to}: {done.shuffled} of {done.samples} training labels shuffled, {done.changed} differ now")
    if not done.has_val:
        note("there is no val: what a run splits off from train will have shuffled labels, too", style="yellow")
    return 0


def crop(arguments: argparse.Namespace) -> int:
    """`deepdiva data remove-whitespace PATH --to NEW`."""
    from deepdiva.cli.console import note, print_json, printable, say
    from deepdiva.data.whitespace import remove_whitespace

    done = remove_whitespace(arguments.path, arguments.to, threshold=arguments.threshold, margin=arguments.margin)
    if arguments.json:
        print_json(vars(done))
        return 0
    share = 1 - done.pixels_after / max(1, done.pixels_before)
    say(f"wrote {arguments.to}: {done.cropped} of {done.images} images cropped, {share:.1%} of all pixels removed")
    for name in done.blank:
        note(f"{printable(name)}: is blank, and was kept as it is", style="yellow")
    for name in done.framed:
        note(f"{printable(name)}: has several frames, and was kept as it is", style="yellow")
    return 0


def _finish(parser: argparse.ArgumentParser, function: Any, *, seed: str | None) -> None:
    parser.add_argument("--to", type=Path, required=True, metavar="NEW", help="the new folder")
    if seed is not None:
        parser.add_argument("--seed", type=int, default=0, metavar="N", help=f"{seed} (default: 0)")
    parser.add_argument("--json", action="store_true", help="the answer for machines")
    parser.set_defaults(func=function)
