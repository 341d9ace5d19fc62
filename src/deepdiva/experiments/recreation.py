"""The environment of a run, built again: a virtual environment with exactly the packages that the run recorded.

A package that is installed here with the recorded version and the recorded files is not fetched again: its files are
linked into the new environment, one by one, so that nothing else of this environment can be imported there.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from deepdiva.data.manifest import cache_directory
from deepdiva.errors import Problem, UserError, UserErrors
from deepdiva.experiments.checkout import Checkout, locked_packages, own_packages
from deepdiva.runs.environment import LOCK
from deepdiva.runs.folder import RunFolder
from deepdiva.runs.packages import installed_packages

_COMPLETE = "complete.json"
_SHOWN = 15  # last lines of an installer that failed
Locked = Mapping[str, Any]


def recreate(run: RunFolder, code: Checkout, say: Callable[[str], None] = lambda _: None) -> Path:
    """The Python program of an environment with the packages of a run, built now or at an earlier time.

    It is kept in the user's cache, by the digest of the lock file, and is safe to delete. Packages come from where
    `uv`, or else `pip`, is configured to take them from. The project itself is used from the restored code.

    Args:
        run: The run.
        code: Its restored code.
        say: Gets a line for each step.

    Raises:
        UserError: Something cannot be had: this version of Python, a version of a package.
    """
    packages = [item for item in locked_packages(run) if item["name"] not in own_packages(run, code.root)]
    if not packages:
        raise UserError(f"{run.path} does not list the packages that it ran with", "use --environment current")
    version = _python_version(run)
    interpreter = find_python(version)
    folder = cache_directory() / "environments" / _key(run, interpreter)
    program = folder / "bin" / "python"
    if not (folder / _COMPLETE).is_file():
        shutil.rmtree(folder, ignore_errors=True)
        try:
            _build(folder, interpreter, packages, version, say)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        (folder / _COMPLETE).write_text(json.dumps({"run": run.id}), encoding="utf-8")
    _describe_own(_site(folder, version), run, code)
    say(f"the environment of the run is in {folder}")
    return program


def find_python(version: str) -> Path:
    """A Python of exactly this version: this one, one on the search path, or one that `uv` has.

    Raises:
        UserError: There is none.
    """
    minor = ".".join(version.split(".")[:2])
    here = Path(getattr(sys, "_base_executable", sys.executable))
    candidates = [here, *(Path(found) for found in [shutil.which(f"python{minor}")] if found)]
    if shutil.which("uv"):
        done = subprocess.run(["uv", "python", "find", version], capture_output=True, text=True, check=False)
        candidates += [Path(done.stdout.strip())] if done.returncode == 0 else []
    for candidate in candidates:
        done = subprocess.run(
            [candidate, "-c", "import platform; print(platform.python_version())"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.stdout.strip() == version:
            return candidate
    raise UserError(
        f"the run needs Python {version}, and there is none here (this is {sys.version.split()[0]})",
        f"install it (`uv python install {version}`), or compare with what is here: --environment current",
    )


def link_packages(found: Mapping[str, tuple[Path, Sequence[str]]], site: Path) -> None:
    """Links packages that are installed elsewhere into `site`, which nothing may be installed into afterwards.

    A folder that belongs to one package alone becomes one link; in folders that several share, or that are in `site`
    already, each file is linked.

    Args:
        found: For each package the folder that it is installed in, and the names of its files there.
        site: The folder `site-packages` of the new environment.
    """
    owners = Counter(top for _, names in found.values() for top in {name.partition("/")[0] for name in names})
    for place, names in found.values():
        for name in dict.fromkeys(_linked_as(name, owners, site) for name in names):
            source, target = place.resolve() / name, site / name
            if source.exists():  # compiled files may be missing: they are made anew
                target.parent.mkdir(parents=True, exist_ok=True)
                with suppress(FileExistsError):
                    target.symlink_to(source)


def _linked_as(name: str, owners: Mapping[str, int], site: Path) -> str:
    """What is linked for a file: the folder at the top where that is the package's own, or the file itself."""
    top = name.partition("/")[0]
    is_own = owners[top] == 1 and ((site / top).is_symlink() or not (site / top).exists())
    return top if is_own else name


def _files(place: Path, name: str) -> list[str]:
    """Names of the files of a package that is installed in `place`; none where it is not, or does not say."""
    for folder in place.glob("*.dist-info"):
        if _normal(folder.name.partition("-")[0]) == name and (folder / "RECORD").is_file():
            names = [line.rpartition(",")[0].rpartition(",")[0].strip('"') for line in _lines(folder / "RECORD")]
            # Scripts (`../../bin/x`) belong to the other environment.
            return [name for name in names if name and not name.startswith(("..", "/"))]
    return []


def _build(
    folder: Path, interpreter: Path, packages: list[dict[str, Any]], version: str, say: Callable[[str], None]
) -> None:
    say(f"building the environment of the run: Python {version}, {len(packages)} packages")
    words = [str(interpreter), "-m", "venv", "--without-pip", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UserError(f"no virtual environment could be made with {interpreter}: {done.stderr.strip()}")
    site = _site(folder, version)
    present = _present(packages)
    wanted = [item for item in packages if item["name"] not in present]
    say(f"{len(present)} packages are here already, {len(wanted)} are fetched")
    _install(folder / "bin" / "python", wanted)
    link_packages(present, site)
    _verify(site, packages)


def _present(packages: Iterable[Locked]) -> dict[str, tuple[Path, list[str]]]:
    """The packages that this environment has with the recorded version and files: where, and which files."""
    here = {package.name: package for package in installed_packages()}
    places = [Path(entry) for entry in sys.path if entry and Path(entry).is_dir()]
    found = {}
    for item in packages:
        package = here.get(item["name"])
        if package is None or package.version != item["version"] or not _is_same(item, package.sha256):
            continue
        of_places = ((place, _files(place, item["name"])) for place in places)
        with_files = next(((place, names) for place, names in of_places if names), None)
        if with_files is not None:
            found[item["name"]] = with_files
    return found


def _is_same(item: Locked, sha256: str | None) -> bool:
    """Whether an installed package has the recorded files; one used from its source folder has none to compare."""
    return recorded_digest(item) == sha256 and (sha256 is not None or _is_editable(item))


def recorded_digest(item: Locked) -> str | None:
    """The digest over a package's files that a run recorded."""
    digest: str | None = item.get("tool", {}).get("deepdiva", {}).get("record-sha256")
    return digest


def _is_editable(item: Locked) -> bool:
    return bool(item.get("directory", {}).get("editable"))


def _install(program: Path, wanted: Sequence[Locked]) -> None:
    """Fetches exact versions, without what they depend on: the record names that as well."""
    if not wanted:
        return
    local = [item for item in wanted if "directory" in item]
    if local:
        raise UserErrors(
            [
                Problem(f"{item['name']} {item['version']} was installed from the folder {item['directory']['path']}")
                for item in local
            ],
            "the environment cannot be built again: what is not in the record of the code cannot be fetched",
        )
    words = [*_installer(program), "--no-deps", *map(_requirement, wanted)]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        named = [item for item in wanted if re.search(rf"\b{_pattern(item['name'])}={{2,3}}", _complaints(done.stdout))]
        what = ", ".join(f"{item['name']} {item['version']}" for item in named or wanted)
        error = UserError(
            f"the environment cannot be built again: {what} cannot be installed",
            "see that the package index has them for this machine, or use --environment current",
        )
        lines = done.stdout.strip().splitlines()[-_SHOWN:]
        error.add_note("\n".join(["the installer said:", *(f"    {line}" for line in lines)]))
        raise error


def _complaints(output: str) -> str:
    return "\n".join(line for line in output.splitlines() if re.search(r"error|no solution|not found", line, re.I))


def _installer(program: Path) -> list[str]:
    if shutil.which("uv"):
        return ["uv", "pip", "install", "--quiet", "--python", str(program)]
    if importlib.util.find_spec("pip") is not None:
        quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
        return [sys.executable, "-m", "pip", "--python", str(program), "install", *quiet]
    raise UserError("neither `uv` nor `pip` is here to install packages with", "install one of them")


def _requirement(item: Locked) -> str:
    if "vcs" in item:
        vcs = item["vcs"]
        return f"{item['name']} @ {vcs['type']}+{vcs['url']}@{vcs['commit-id']}"
    if "archive" in item and "url" in item["archive"]:
        return f"{item['name']} @ {item['archive']['url']}"
    return f"{item['name']}=={item['version']}"


def _verify(site: Path, packages: Iterable[Locked]) -> None:
    """Every package is there with its version; other files of one version are a difference that is listed later."""
    found = {package.name: package.version for package in installed_packages([str(site)])}
    problems = [
        Problem(f"{item['name']}: {item['version']} was recorded, {found.get(item['name'], 'nothing')} is there")
        for item in packages
        if found.get(item["name"]) != item["version"]
    ]
    if problems:
        raise UserErrors(problems, "the environment could not be built as it was")


def _describe_own(site: Path, run: RunFolder, code: Checkout) -> None:
    """The names and versions of the project's own packages, whose modules come from the restored code."""
    for item in locked_packages(run):
        if item["name"] not in own_packages(run, code.root):
            continue
        folder = site / f"{item['name'].replace('-', '_')}-{item['version']}.dist-info"
        folder.mkdir(exist_ok=True)
        head = f"Metadata-Version: 2.1\nName: {item['name']}\nVersion: {item['version']}\n"
        (folder / "METADATA").write_text(head, encoding="utf-8")
        origin = {"url": code.root.as_uri(), "dir_info": {"editable": True}}
        (folder / "direct_url.json").write_text(json.dumps(origin), encoding="utf-8")


def _python_version(run: RunFolder) -> str:
    lock = tomllib.loads((run.content(f"environment/{LOCK}") or b"").decode())
    return str(lock.get("requires-python", "")).removeprefix("==")


def _key(run: RunFolder, interpreter: Path) -> str:
    digest = hashlib.sha256(run.content(f"environment/{LOCK}") or b"")
    digest.update(os.fsencode(interpreter.resolve()))
    return digest.hexdigest()[:32]


def _site(folder: Path, version: str) -> Path:
    return folder / "lib" / f"python{'.'.join(version.split('.')[:2])}" / "site-packages"


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pattern(name: str) -> str:
    return re.escape(name).replace(r"\-", "[-_.]")
