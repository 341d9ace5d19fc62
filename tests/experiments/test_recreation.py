from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from deepdiva.errors import UserError
from deepdiva.experiments.checkout import Checkout
from deepdiva.experiments.recreation import find_python, link_packages, recreate
from deepdiva.runs.folder import RunFolder
from deepdiva.runs.packages import Package, installed_packages, pylock
from deepdiva.runs.run import Run

Recorded = Callable[..., RunFolder]


def wheel(folder: Path, name: str, version: str) -> Path:
    """A wheel with one module that knows its version."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{file},sha256=x,1\n" for file in [*files, f"{info}/RECORD"]))
    return path


def installed(site: Path, name: str, version: str) -> Package:
    """A package with a module, a folder and a compiled file, as an installer would have left it."""
    info = site / f"{name}-{version}.dist-info"
    (site / name).mkdir(parents=True)
    info.mkdir()
    (site / name / "__init__.py").write_text(f"VERSION = {version!r}\n")
    digest = hashlib.sha256((site / name / "__init__.py").read_bytes()).hexdigest()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [f"{name}/__init__.py,sha256={digest},9", f"{name}/gone.pyc,,", "../../bin/tool,sha256=y,1"]
    lines += [f"{info.name}/METADATA,sha256=z,9", f"{info.name}/RECORD,,"]
    (info / "RECORD").write_text("\n".join(lines))
    return next(package for package in installed_packages([str(site)]) if package.name == name)


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place that packages are fetched from."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for tool in ("PIP", "UV"):
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def recorded(project: Path) -> Recorded:
    """A run that says it had these packages: `recorded(Package("six", "1.0"), python="3.11.7")`."""

    def call(*packages: Package, python: str = platform.python_version()) -> RunFolder:
        with Run.create("story", config={"task": "points"}, tensorboard=False) as run:
            pass
        (run.path / "environment" / "pylock.toml").write_text(pylock(packages, python=python))
        (run.path / "manifest.json").unlink(missing_ok=True)
        return RunFolder.open(run.path)

    return call


def code_at(root: Path) -> Checkout:
    return Checkout(root, root, (), {}, (), {})


def ask(program: Path, code: str) -> str:
    return subprocess.run([program, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_what_is_here_is_linked_and_what_is_not_is_fetched(recorded, wheels: Path, tmp_path: Path, monkeypatch):
    here = tmp_path / "here"
    same = installed(here, "same", "1.0")
    installed(here, "other", "1.0")  # the same version with other files
    installed(here, "extra", "1.0")
    wheel(wheels, "other", "1.0")
    monkeypatch.syspath_prepend(str(here))
    said: list[str] = []
    run = recorded(same, Package("other", "1.0", "0" * 64))
    program = recreate(run, code_at(tmp_path), said.append)
    assert ask(program, "import same, other; print(same.VERSION, other.VERSION)") == "1.0 1.0"
    assert "/here/" not in ask(program, "import other; print(other.__file__)")
    assert ask(program, "import importlib.util as u; print(u.find_spec('extra'), u.find_spec('torch'))") == "None None"
    assert "1 packages are here already, 1 are fetched" in said
    # The second time everything is there, and nothing is asked of anybody.
    shutil.rmtree(wheels)
    assert recreate(run, code_at(tmp_path)) == program


def test_what_cannot_be_fetched_is_named_and_nothing_half_built_stays(recorded, wheels: Path, tmp_path: Path):
    wheel(wheels, "other", "2.0")
    wheel(wheels, "fine", "1.0")
    run = recorded(Package("other", "1.0", "0" * 64), Package("fine", "1.0", "0" * 64))
    with pytest.raises(UserError, match=r"other 1\.0 cannot be installed") as caught:
        recreate(run, code_at(tmp_path))
    assert "fine" not in caught.value.message
    assert "other==1.0" in caught.value.__notes__[0]
    environments = Path(os.environ["XDG_CACHE_HOME"]) / "deepdiva" / "environments"
    assert not [path for path in environments.glob("*") if path.is_dir()]


def test_another_python_is_named(recorded, tmp_path: Path):
    with pytest.raises(UserError, match=r"needs Python 3\.11\.999") as caught:
        recreate(recorded(Package("a", "1"), python="3.11.999"), code_at(tmp_path))
    assert caught.value.hint is not None
    assert "--environment current" in caught.value.hint


def test_this_python_is_found():
    assert find_python(platform.python_version()).exists()


def test_a_package_from_a_folder_that_is_no_part_of_the_code_cannot_be_had(recorded, tmp_path: Path):
    origin = {"url": "file:///elsewhere/lib", "dir_info": {"editable": True}}
    with pytest.raises(UserError, match="lib 3 was installed from the folder /elsewhere/lib"):
        recreate(recorded(Package("lib", "3", origin=origin)), code_at(tmp_path))


def test_the_project_itself_is_known_by_name_and_comes_from_the_restored_code(recorded, tmp_path, project, monkeypatch):
    (project / "pyproject.toml").write_text('[project]\nname = "mine"\nversion = "3"\n')
    subprocess.run(["git", "add", "."], cwd=project, check=True)
    subprocess.run(["git", "commit", "--quiet", "-m", "Name it"], cwd=project, check=True)
    fine = installed(tmp_path / "here", "fine", "1.0")
    monkeypatch.syspath_prepend(str(tmp_path / "here"))
    origin = {"url": "file:///elsewhere/mine", "dir_info": {"editable": True}}
    run = recorded(Package("mine", "3", origin=origin), fine)
    program = recreate(run, code_at(project))
    assert ask(program, "from importlib.metadata import version; print(version('mine'))") == "3"
    site = next(
        Path(entry) for entry in json.loads(ask(program, "import sys, json; print(json.dumps(sys.path))"))[::-1]
    )
    [mine] = [package for package in installed_packages([str(site)]) if package.name == "mine"]
    assert mine.editable


def test_a_run_that_lists_no_packages_is_refused(recorded, tmp_path: Path):
    with pytest.raises(UserError, match="does not list the packages"):
        recreate(recorded(), code_at(tmp_path))


def test_a_folder_of_several_packages_is_linked_file_by_file(tmp_path: Path):
    here, site = tmp_path / "here", tmp_path / "site"
    for name in ("shared/a.py", "shared/b.py", "own/c.py"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text("")
    site.mkdir()
    link_packages({"a": (here, ["shared/a.py", "own/c.py"]), "b": (here, ["shared/b.py"])}, site)
    assert (site / "own").is_symlink()
    assert not (site / "shared").is_symlink()
    assert sorted(path.name for path in (site / "shared").iterdir()) == ["a.py", "b.py"]
