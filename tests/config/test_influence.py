"""What is called harmless is what the digest leaves out, and what the tests of training prove harmless."""

from __future__ import annotations

import pytest

from deepdiva.config.influence import WITHOUT_INFLUENCE, cannot_change_results
from deepdiva.config.tree import Config, shared_settings


@pytest.mark.parametrize("path", [*WITHOUT_INFLUENCE, "logging.figures", "training.checkpoint_every"])
def test_settings_that_cannot_change_a_result(path: str):
    assert cannot_change_results(path)


def test_every_other_setting_can():
    paths = {setting.path for setting in shared_settings()}
    harmless = {path for path in paths if cannot_change_results(path)}
    assert harmless == {path for path in paths if path.partition(".")[0] in WITHOUT_INFLUENCE} | {
        "training.checkpoint_every",
        "training.keep_every",
    }
    assert set(Config.model_fields) >= set(WITHOUT_INFLUENCE)


def test_the_cache_of_decoded_images_is_one_of_a_known_task_only():
    assert cannot_change_results("task.cache", "image-classification")
    assert not cannot_change_results("task.cache", "my_task.py:Mine")
    assert not cannot_change_results("workers_of_mine")
