#!/usr/bin/env bash
# Makes .venv beside this file from the pinned, hashed requirements, installs DeepDIVA into it and checks the result.
# Works with bash 3.2 and BSD tools (macOS). Writes nothing outside this folder but the installer's download cache.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: bash setup.sh [--dev]

Creates the folder .venv here and installs DeepDIVA with everything it needs, in the exact versions of requirements/.
Calling it again is safe: what is already there is kept. To undo it, remove .venv.

  --dev         also install what the tests, the linters and the documentation need
  -h, --help    show this text

PYTHON=/path/to/python bash setup.sh    uses that Python (3.11 to 3.14) instead of the first suitable one
TEXT
}

say() { printf '==> %s\n' "$*"; }

# Ends with the message $1 and the lines of advice that follow it.
fail() {
    local line
    printf 'setup.sh: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '  %s\n' "$line" >&2; done
    exit 1
}

# Whether $1 is a Python that the lock files have wheels for.
suitable() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' >/dev/null 2>&1
}

version_of() { "$1" -c 'import platform; print(platform.python_version())' 2>/dev/null; }

# Sets `python` to a suitable interpreter, or says which ones were found and how to get one.
find_python() {
    local candidate found=""
    if [ -n "${PYTHON:-}" ]; then
        suitable "$PYTHON" || fail "PYTHON=$PYTHON is not a working Python 3.11 to 3.14."
        python=$PYTHON
        return
    fi
    for candidate in python3 python3.13 python3.12 python3.11 python3.14 python; do
        if command -v "$candidate" >/dev/null 2>&1; then
            if suitable "$candidate"; then
                python=$candidate
                return
            fi
            found="$found $candidate=$(version_of "$candidate" || echo broken)"
        fi
    done
    if [ -n "$uv" ] && candidate=$("$uv" python find --no-python-downloads '>=3.11,<3.15' 2>/dev/null); then
        python=$candidate
        return
    fi
    fail "Python 3.11, 3.12, 3.13 or 3.14 is needed and none was found (found:${found:- no Python at all})." \
        "Ubuntu, Debian:  sudo apt install python3 python3-venv     (Ubuntu 24.04, Debian 12 and later)" \
        "macOS:           brew install python@3.13" \
        "with uv:         uv python install 3.13" \
        "or name one:     PYTHON=/path/to/python3.12 bash setup.sh"
}

# Refuses a system that PyTorch has no build for, before gigabytes are fetched.
check_system() {
    case "$(uname -s) $("$python" -c 'import platform; print(platform.machine())')" in
        "Darwin x86_64") fail "PyTorch has no build for Macs with an Intel processor any more; use Linux or Apple silicon." ;;
        Linux* | Darwin*) ;;
        *) fail "$(uname -s) is not supported: use Linux or macOS (on Windows: inside WSL)." ;;
    esac
}

# Refuses a full disk now, rather than in the middle of the installation.
check_space() {
    local needed_gb=7 free_kb
    if [ "$(uname -s)" = Darwin ]; then needed_gb=2; fi
    free_kb=$(df -Pk . | awk 'NR == 2 { print $4 }')
    if [ "$free_kb" -lt $((needed_gb * 1024 * 1024)) ]; then
        fail "the disk of $PWD has $((free_kb / 1024 / 1024)) GB free; about $needed_gb GB are needed." \
            "Free some space, or move this folder to a larger disk and run setup.sh there."
    fi
}

# Makes .venv with uv or with Python's own venv. The stamp is written first, so that a half-made one is recognised.
make_environment() {
    say "Creating .venv with Python $(version_of "$python") ($(command -v "$python"))"
    if [ -n "$uv" ]; then
        "$uv" venv --quiet --no-python-downloads --python "$python" .venv
    else
        "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
            fail "$(command -v "$python") has no venv module." \
                "Ubuntu, Debian:  sudo apt install python3-venv   (or python3.12-venv for python3.12, and so on)"
        "$python" -m venv .venv
    fi
    printf '%s\nincomplete\n' "$PWD" >"$stamp"
}

# Keeps a .venv that works; replaces one of ours that was moved or is broken; never removes somebody else's.
check_environment() {
    local place=""
    if [ ! -e .venv ]; then return; fi
    if [ -f "$stamp" ]; then place=$(sed -n 1p "$stamp"); fi
    if [ -n "$place" ] && [ "$place" != "$PWD" ]; then
        say "Replacing .venv: it was made in $place and does not work from here"
        rm -rf .venv
    elif ! suitable .venv/bin/python; then
        if [ -z "$place" ]; then
            fail "$PWD/.venv is there, but is no working Python 3.11 to 3.14 environment." \
                "Remove it (rm -rf .venv) and run setup.sh again."
        fi
        say "Replacing .venv: its Python no longer works"
        rm -rf .venv
    fi
}

# Installs into .venv; the arguments are those that uv and pip both understand. Where uv cannot reach the packages
# (certificates and mirrors that only pip was told of), pip tries: the hashes make it the same result.
install() {
    if [ -n "$uv" ]; then
        "$uv" pip install --python .venv/bin/python "$@" && return
        say "uv could not do it; trying again with pip"
        uv=""
    fi
    .venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null
    .venv/bin/python -m pip install --disable-pip-version-check "$@"
}

mode=runtime
for argument in "$@"; do
    case "$argument" in
        --dev) mode=dev ;;
        -h | --help)
            usage
            exit 0
            ;;
        *)
            usage >&2
            fail "unknown argument '$argument'"
            ;;
    esac
done

unset CDPATH
cd "$(dirname "${BASH_SOURCE[0]}")"
# Settings that would send packages, or look for them, outside .venv.
unset PYTHONHOME PYTHONPATH PIP_TARGET PIP_PREFIX
export PIP_USER=0

stamp=.venv/deepdiva-setup
python=""
uv=$(command -v uv || true)

check_environment
if [ -f "$stamp" ] && [ "$(sed -n 2p "$stamp")" = dev ] && [ "$mode" = runtime ]; then
    mode=dev # a developer's environment stays one
fi
checksum=$(cat "requirements/$mode.txt" pyproject.toml | cksum)
wanted=$(printf '%s\n%s\n%s' "$PWD" "$mode" "$checksum")

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    say "Nothing to install: .venv is up to date"
else
    if [ ! -e .venv ]; then
        find_python
        check_system
        check_space
        make_environment
    fi
    quietly=""
    if [ ! -t 1 ]; then quietly=--quiet; fi
    say "Installing the exact versions of requirements/$mode.txt with ${uv:-pip} (up to 3 GB to fetch; some minutes)"
    # Hashes are checked, and only ready-made wheels are taken: nothing is compiled or built from the network.
    install $quietly --only-binary :all: --require-hashes -r requirements/runtime.txt
    if [ "$mode" = dev ]; then
        # One package in pure Python has no wheel: the locked setuptools, installed by now, packs it.
        install $quietly --only-binary :all: --no-binary jsonpath-rw --no-build-isolation --require-hashes \
            -r requirements/dev.txt
    fi
    say "Installing DeepDIVA itself from this folder"
    install $quietly --no-index --no-deps --no-build-isolation -e .
    printf '%s\n' "$wanted" >"$stamp"
fi

say "Checking the installation: .venv/bin/deepdiva doctor"
.venv/bin/deepdiva doctor
say "Ready. A first experiment: .venv/bin/deepdiva run image-classification"
