"""setup.sh and the lock files: what is asked for, what is refused, and that a second call does nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = [ROOT / "requirements" / "runtime.txt", ROOT / "requirements" / "dev.txt"]
# Stands for uv: makes an environment and writes down every call; $FAIL names the installers that fail.
FAKE_UV = """#!/bin/sh
if [ "$1" = venv ]; then
    mkdir -p .venv/bin
    cp "$STAND_INS/python" "$STAND_INS/deepdiva" .venv/bin
    exit
fi
echo "uv $@" >> "$CALLS"
case "$FAIL" in *uv*) exit 7 ;; esac
"""
# Stands for the environment's Python: never the real pip, which would install into the Python that runs the tests.
FAKE_PYTHON = f"""#!/bin/sh
if [ "$1 $2" = "-m pip" ]; then
    if [ "$3" = --version ]; then exit; fi
    shift
    echo "$@" >> "$CALLS"
    case "$FAIL" in *pip*) exit 8 ;; esac
    exit
fi
exec {sys.executable} "$@"
"""
FAKE_DEEPDIVA = """#!/bin/sh
echo "deepdiva $@"
"""


class Checkout:
    """A copy of what setup.sh reads, and a PATH that begins with programs of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "a checkout"
        self.programs = folder / "bin"
        self.programs.mkdir()
        self.stand_ins = folder / "stand-ins"
        self.stand_ins.mkdir()
        self.calls = folder / "calls"
        shutil.copytree(ROOT / "requirements", self.folder / "requirements")
        for name in ("setup.sh", "pyproject.toml"):
            shutil.copy(ROOT / name, self.folder / name)
        write_program(self.stand_ins / "python", FAKE_PYTHON)
        write_program(self.stand_ins / "deepdiva", FAKE_DEEPDIVA)

    def program(self, name: str, text: str) -> None:
        """Puts a program in front of the system's of the same name."""
        write_program(self.programs / name, text)

    def setup(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "CALLS": str(self.calls),
            "STAND_INS": str(self.stand_ins),
            "FAIL": "",
            "PYTHON": sys.executable,
        }
        return subprocess.run(
            ["bash", str(self.folder / "setup.sh"), *words],
            env=environment | variables,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def installations(self) -> list[str]:
        """The packages that were asked for so far, one entry a call of the installer."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [line for line in lines if " install " in line]


def write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path)
    made.program("uv", FAKE_UV)
    return made


def test_help_and_unknown_words(checkout: Checkout):
    shown = checkout.setup("--help")
    assert shown.returncode == 0
    assert "--dev" in shown.stdout
    refused = checkout.setup("--develop")
    assert refused.returncode != 0
    assert "unknown argument '--develop'" in refused.stderr
    assert not (checkout.folder / ".venv").exists()


def test_installs_hashed_wheels_then_the_package_without_an_index(checkout: Checkout):
    done = checkout.setup()
    assert done.returncode == 0, done.stderr
    assert "deepdiva doctor" in done.stdout
    assert "deepdiva run image-classification" in done.stdout
    requirements, package = checkout.installations()
    assert "--require-hashes -r requirements/runtime.txt" in requirements
    assert "--only-binary :all:" in requirements
    assert "--no-index --no-deps --no-build-isolation -e ." in package


def test_a_second_call_installs_nothing(checkout: Checkout):
    checkout.setup()
    again = checkout.setup()
    assert "Nothing to install" in again.stdout
    assert "deepdiva doctor" in again.stdout
    assert len(checkout.installations()) == 2


def test_a_changed_lock_file_is_installed(checkout: Checkout):
    checkout.setup()
    with (checkout.folder / "requirements" / "runtime.txt").open("a") as lock:
        lock.write("# changed\n")
    checkout.setup()
    assert len(checkout.installations()) == 4


def test_dev_adds_to_an_environment_and_stays(checkout: Checkout):
    checkout.setup()
    checkout.setup("--dev")
    _, _, runtime, dev, _ = checkout.installations()
    assert "-r requirements/runtime.txt" in runtime
    assert "--require-hashes -r requirements/dev.txt" in dev
    assert "--only-binary :all: --no-binary jsonpath-rw --no-build-isolation" in dev  # the one that has no wheel
    assert "Nothing to install" in checkout.setup().stdout
    assert "Nothing to install" in checkout.setup("--dev").stdout


def test_an_interrupted_installation_is_taken_up_again(checkout: Checkout):
    assert checkout.setup(FAIL="uv pip").returncode == 8
    resumed = checkout.setup()
    assert resumed.returncode == 0
    assert "Nothing to install" not in resumed.stdout
    assert len(checkout.installations()) == 4


def test_pip_does_what_uv_cannot(checkout: Checkout):
    done = checkout.setup(FAIL="uv")
    assert done.returncode == 0
    assert "trying again with pip" in done.stdout
    assert [call.split()[0] for call in checkout.installations()] == ["uv", "pip", "pip"]
    assert "--require-hashes -r requirements/runtime.txt" in checkout.installations()[1]


def test_a_moved_checkout_gets_a_new_environment(checkout: Checkout):
    checkout.setup()
    checkout.folder = checkout.folder.rename(checkout.folder.with_name("moved"))
    moved = checkout.setup()
    assert "it was made in" in moved.stdout
    assert len(checkout.installations()) == 4


def test_a_broken_environment_of_ours_is_replaced_and_a_foreign_one_is_not(checkout: Checkout):
    checkout.setup()
    (checkout.folder / ".venv" / "bin" / "python").unlink()
    assert "no longer works" in checkout.setup().stdout
    shutil.rmtree(checkout.folder / ".venv")
    (checkout.folder / ".venv").mkdir()
    (checkout.folder / ".venv" / "precious").touch()
    foreign = checkout.setup()
    assert foreign.returncode == 1
    assert "rm -rf .venv" in foreign.stderr
    assert (checkout.folder / ".venv" / "precious").exists()


def test_an_unsuitable_python_is_refused(checkout: Checkout):
    refused = checkout.setup(PYTHON="/bin/false")
    assert refused.returncode == 1
    assert "PYTHON=/bin/false is not a working Python 3.11 to 3.14" in refused.stderr


def test_no_suitable_python_says_what_was_found_and_how_to_get_one(checkout: Checkout):
    for name in ("python3", "python3.11", "python3.12", "python3.13", "python3.14", "python"):
        checkout.program(name, '#!/bin/sh\ncase "$2" in *platform*) echo 3.10.4;; *) exit 1;; esac\n')
    checkout.program("uv", "#!/bin/sh\nexit 1\n")
    refused = checkout.setup(PYTHON="")
    assert refused.returncode == 1
    assert "python3=3.10.4" in refused.stderr
    assert "apt install python3" in refused.stderr
    assert "brew install" in refused.stderr


@pytest.mark.parametrize("name", ["python3", "python3.12", "python"])
def test_a_suitable_python_is_found_behind_old_ones(checkout: Checkout, name: str):
    for old in ("python3", "python3.13", "python3.12", "python3.11", "python3.14"):
        checkout.program(old, "#!/bin/sh\nexit 1\n")
    checkout.program(name, f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    done = checkout.setup(PYTHON="")
    assert done.returncode == 0, done.stderr
    assert f"({checkout.programs / name})" in done.stdout


def test_a_python_without_venv_is_refused(checkout: Checkout):
    checkout.program("uv", "#!/bin/sh\nexit 1\n")
    (checkout.programs / "uv").unlink()
    checkout.program("python3", f'#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\nexec {sys.executable} "$@"\n')
    refused = checkout.setup(PYTHON="python3")
    assert refused.returncode == 1
    assert "has no venv module" in refused.stderr
    assert "apt install python3-venv" in refused.stderr
    assert not (checkout.folder / ".venv").exists()


def test_a_full_disk_is_refused_before_anything_is_fetched(checkout: Checkout):
    checkout.program("df", "#!/bin/sh\nprintf 'Filesystem blocks\\n/dev/x 9000000 7000000 1500000 80%% /\\n'\n")
    refused = checkout.setup()
    assert refused.returncode == 1
    assert "1 GB free; about" in refused.stderr
    assert checkout.installations() == []


def test_an_intel_mac_is_refused(checkout: Checkout):
    checkout.program("uname", "#!/bin/sh\necho Darwin\n")
    checkout.program(
        "python3", f'#!/bin/sh\ncase "$2" in *machine*) echo x86_64; exit;; esac\nexec {sys.executable} "$@"\n'
    )
    refused = checkout.setup(PYTHON="python3")
    assert refused.returncode == 1
    assert "no build for Macs with an Intel processor" in refused.stderr


def test_nothing_is_written_outside_the_checkout(checkout: Checkout, tmp_path: Path):
    home = tmp_path / "somebody"
    home.mkdir()
    assert checkout.setup(HOME=str(home)).returncode == 0
    assert list(home.iterdir()) == []


def pins(lock: Path) -> set[str]:
    return set(re.findall(r"^([A-Za-z0-9_.-]+==[^\\]+?) *\\$", lock.read_text(), re.MULTILINE))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_every_requirement_is_pinned_and_hashed_and_no_address_is_written(lock: Path):
    text = lock.read_text()
    assert "://" not in text
    assert "--index" not in text
    blocks = re.split(r"\n(?=\S)", text.strip())
    requirements = [block for block in blocks if not block.startswith("#")]
    assert len(requirements) > 50
    for block in requirements:
        assert "==" in block.splitlines()[0]
        assert "--hash=sha256:" in block


def test_the_lock_files_agree():
    runtime, dev = (pins(lock) for lock in LOCKS)
    assert runtime < dev
    assert {"torch==2.14.1", "torchvision==0.29.1"} < runtime


def test_the_build_backend_is_locked():
    names = {pin.partition("==")[0] for pin in pins(LOCKS[0])}
    assert {"hatchling", "editables"} < names
