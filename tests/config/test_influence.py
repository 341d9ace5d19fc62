"""What is called harmless is what the digest leaves out, and what the tests of training prove harmless."""

from __future__ import annotations

import pytest

from deepdiva.config.influence import WITHOUT_INFLUENCE, cannot_change_results, influential
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


def test_what_a_digest_is_of_leaves_out_only_what_is_harmless():
    config = {"task": {"class": "image-classification", "cache": "none", "size": 28}, "workers": 2, "epochs": 3}
    assert influential(config) == {"task": {"class": "image-classification", "size": 28}, "epochs": 3}
    mine = {"task": {"class": "mine.py:Mine", "cache": "none"}, "logging": {"every": 1}}
    assert influential(mine) == {"task": mine["task"]}
    assert influential({"task": "points"}) == {"task": "points"}
