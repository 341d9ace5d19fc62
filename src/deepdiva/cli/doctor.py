"""The command `doctor`: whether this machine is ready, a line for each part, with the mend where it is not."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess

OLDEST_PYTHON = (3, 11)
OLDEST_GIT = (2, 11)
LEAST_FREE = 2**30
TORCH_SECONDS = 300
_MEND_INSTALLATION = "run `bash setup.sh` in the folder of DeepDIVA, or install deepdiva again"

# Runs in a process of its own: an installation that crashes is reported and does not take the doctor along.
_ASK_TORCH = """
import json, torch, torchvision
cuda = torch.cuda.is_available()
mps = torch.backends.mps.is_available()
print(json.dumps({
    "torch": torch.__version__, "torchvision": torchvision.__version__, "threads": torch.get_num_threads(),
    "capability": torch.backends.cpu.get_cpu_capability(), "cuda": torch.version.cuda, "mps": mps,
    "sum": float(torch.ones(8, 8).mm(torch.ones(8, 8)).sum()),
    "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else [],
}))
"""


@dataclass(frozen=True)
class Check:
    """What was found of one part.

    Args:
        name: The part.
        good: Whether it is ready.
        found: What was found.
        mend: What to do; only where it is not ready.
    """

    name: str
    good: bool
    found: str
    mend: str | None = None


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "doctor",
        help="check this machine, or whether a TASK is bit-reproducible on it",
        description="Check Python, torch, device, threads, git and disk. Exit code 1 when something must be mended. "
        "`deepdiva doctor TASK` tries a task instead: `deepdiva doctor TASK --help`.",
        allow_abbrev=False,
    )
    parser.add_argument("--runs-dir", default="runs", metavar="DIR", help="where runs will be kept (default: runs)")
    parser.add_argument("--json", action="store_true", help="print the answer for machines")
    parser.set_defaults(func=examine)


def examine(arguments: argparse.Namespace) -> int:
    """Print a green or red line for each part as soon as it is known."""
    from dataclasses import asdict, replace

    from deepdiva.cli.console import print_json

    checks = []
    for answer in all_checks(Path(arguments.runs_dir)):
        check = replace(answer, mend=None) if answer.good else answer
        checks.append(check)
        if not arguments.json:
            _print(check)
    if arguments.json:
        print_json([asdict(check) for check in checks])
    return 0 if all(check.good for check in checks) else 1


def all_checks(runs_dir: Path) -> Iterator[Check]:
    """Every check, the quick ones while torch still loads."""
    child = start_torch()
    yield check_python()
    yield check_packages()
    try:
        facts, problem = ask_torch(child)
    finally:
        child.kill()
        child.communicate()
    yield check_torch(facts, problem)
    yield check_device(facts)
    yield check_threads(facts)
    yield check_git()
    yield check_settings()
    yield check_disk(runs_dir)


def check_python() -> Check:
    """Whether Python is new enough."""
    import platform
    import sys

    found = f"{platform.python_version()} at {sys.executable}"
    oldest = ".".join(map(str, OLDEST_PYTHON))
    return Check("Python", sys.version_info >= OLDEST_PYTHON, found, f"install Python {oldest} or newer")


def check_packages() -> Check:
    """Whether all that DeepDIVA needs is installed."""
    import re
    from importlib import metadata

    from deepdiva.runs.packages import installed_packages

    installed = {package.name for package in installed_packages()}
    try:
        wanted = [item for item in metadata.requires("deepdiva") or [] if "extra ==" not in item]
    except metadata.PackageNotFoundError:
        return Check("packages", good=False, found="deepdiva is not installed", mend=_MEND_INSTALLATION)
    names = [re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", item, maxsplit=1)[0]).lower() for item in wanted]
    missing = sorted(set(names) - installed)
    found = (
        f"missing: {', '.join(missing)}" if missing else f"deepdiva {metadata.version('deepdiva')} with all it needs"
    )
    return Check("packages", not missing, found, _MEND_INSTALLATION)


def start_torch() -> subprocess.Popen[str]:
    """The process that loads torch and tells about it."""
    import subprocess
    import sys

    words = [sys.executable, "-c", _ASK_TORCH]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")


def ask_torch(child: subprocess.Popen[str]) -> tuple[Mapping[str, Any], str]:
    """What torch says of itself, or why it does not."""
    import json
    import subprocess

    try:
        out, complaints = child.communicate(timeout=TORCH_SECONDS)
    except subprocess.TimeoutExpired:
        return {}, f"did not load within {TORCH_SECONDS} s"
    if child.returncode == 0:
        facts: Mapping[str, Any] = json.loads(out.splitlines()[-1])
        return facts, ""
    lines = [line for line in complaints.splitlines() if line.strip()]
    return {}, lines[-1].strip() if lines else f"its process ended with {child.returncode}"


def check_torch(facts: Mapping[str, Any], problem: str) -> Check:
    """Whether torch and torchvision load together and multiply two matrices."""
    if not facts:
        return Check("torch", good=False, found=problem, mend=_MEND_INSTALLATION)
    found = f"{facts['torch']} with torchvision {facts['torchvision']}"
    if facts["sum"] != 512.0:
        return Check("torch", good=False, found=f"{found}, which computes a wrong product", mend=_MEND_INSTALLATION)
    return Check("torch", good=True, found=found)


def check_device(facts: Mapping[str, Any]) -> Check:
    """Where training will run; a GPU that torch cannot use is a fault."""
    import os

    from deepdiva.runs.environment import describe

    machine = describe([])
    models = machine["gpu"].get("models", [])
    if facts.get("devices"):
        return Check("device", good=True, found=f"{', '.join(facts['devices'])} (CUDA {facts['cuda']})")
    if facts and models and os.environ.get("CUDA_VISIBLE_DEVICES") not in ("", "-1"):
        found = f"{', '.join(models)} with driver {machine['gpu']['driver']}, which torch cannot use"
        return Check("device", good=False, found=found, mend="update the driver, or use --device cpu")
    if facts.get("mps"):
        return Check("device", good=True, found="the GPU of this Mac (mps)")
    model = machine["cpu"]["model"] or "CPU"
    if not facts:
        return Check("device", good=False, found=f"{model}; torch must load first", mend="mend torch first")
    return Check("device", good=True, found=f"CPU: {model} ({facts['capability']})")


def check_threads(facts: Mapping[str, Any]) -> Check:
    """Whether torch takes no more threads than there are cores for this process."""
    import os

    from deepdiva.runs.environment import describe_place

    cores = describe_place()["usable_cores"] or 1
    wish = os.environ.get("OMP_NUM_THREADS", "")
    if wish and not (wish.isdecimal() and int(wish) > 0):
        return Check("threads", good=False, found=f"OMP_NUM_THREADS is '{wish}'", mend="unset OMP_NUM_THREADS")
    threads = facts.get("threads") or int(wish or cores)
    found = f"{threads} of {cores} {'core' if cores == 1 else 'cores'}"
    if wish:
        found += " (OMP_NUM_THREADS)"
    return Check("threads", threads <= cores, found, f"set OMP_NUM_THREADS={cores} or less: more threads only wait")


def check_git() -> Check:
    """Whether git is there, and how the code in this folder stands."""
    import re
    import shutil
    import subprocess

    from deepdiva.runs.repository import GitError, find_root, read_changes

    mend = "install git: experiments are traced to the commit of their code"
    if shutil.which("git") is None:
        return Check("git", good=False, found="not found", mend=mend)
    said = subprocess.run(["git", "--version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"(\d+)\.(\d+)[\d.]*", said)
    if version is None or (int(version[1]), int(version[2])) < OLDEST_GIT:
        return Check("git", good=False, found=said.strip() or "does not start", mend="install a newer git")
    try:
        root = find_root(Path.cwd())
        changes = {} if root is None else read_changes(root)[2]
    except GitError as error:
        return Check("git", good=False, found=str(error), mend="mend this repository, or leave its folder")
    if root is None:
        return Check("git", good=True, found=f"{version[0]}; no repository here, so runs copy the source files")
    state = f"{len(changes)} uncommitted" if changes else "all committed"
    return Check("git", good=True, found=f"{version[0]}; {root.name}: {state}")


def check_settings() -> Check:
    """Whether the settings files can be read, and what they decide."""
    from deepdiva.errors import UserError
    from deepdiva.runs.settings import read_settings

    try:
        settings = read_settings(Path.cwd())
    except UserError as error:
        return Check("settings", good=False, found=error.message, mend="correct the file")
    meaning = {"commit": "code must be committed", "snapshot": "uncommitted code is copied"}
    return Check("settings", good=True, found=f"{meaning[settings.code]} ({settings.origins.get('code', 'default')})")


def check_disk(runs_dir: Path) -> Check:
    """Whether runs can be written, and some room is left."""
    import os
    import shutil

    folder = next(place for place in (runs_dir.absolute(), *runs_dir.absolute().parents) if place.exists())
    if not folder.is_dir():
        return Check("disk", good=False, found=f"{folder} is not a folder", mend="choose another with --runs-dir")
    if not os.access(folder, os.W_OK | os.X_OK):
        mend = "make it writable, or choose another with --runs-dir"
        return Check("disk", good=False, found=f"{folder} cannot be written", mend=mend)
    free = shutil.disk_usage(folder).free
    found = f"{free / 2**30:.1f} GiB free for {runs_dir}"
    return Check("disk", free >= LEAST_FREE, found, "free some space, or choose another disk with --runs-dir")


def _print(check: Check) -> None:
    from deepdiva.cli.console import printable, say, styled

    mark, style = ("✓", "green") if check.good else ("✗", "red")
    say(f"{styled(f'{mark} {check.name:<9}', style)} {printable(check.found)}")
    if not check.good and check.mend:
        say(f"  {styled('mend', 'bold'):<9}  {check.mend}")
