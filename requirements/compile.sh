#!/usr/bin/env bash
# Re-resolves the pinned, hashed lock files from pyproject.toml (needs uv; run it when a dependency changes).
# One resolution serves Linux and macOS and every Python from 3.11 on; no index address is written.
set -euo pipefail
cd "$(dirname "$0")/.."
lock() {
    uv pip compile pyproject.toml "$@" --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-header --quiet --constraint requirements/constraints.txt
}
lock --group build -o requirements/runtime.txt
lock --group build --group dev -o requirements/dev.txt
