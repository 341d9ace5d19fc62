#!/usr/bin/env bash
# Re-resolves the pinned, hashed lock files from pyproject.toml (needs uv; run it when a dependency changes).
set -eu
cd "$(dirname "$0")/.."
common="--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet"
# shellcheck disable=SC2086
uv pip compile pyproject.toml $common --constraint requirements/constraints.txt -o requirements/runtime.txt
# shellcheck disable=SC2086
uv pip compile pyproject.toml --group dev $common --constraint requirements/constraints.txt -o requirements/dev.txt
