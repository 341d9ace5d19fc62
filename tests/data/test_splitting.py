from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deepdiva.data.footprint import footprint
from deepdiva.data.splitting import Recipe, split
from deepdiva.errors import UserError


def make(root: Path, names: list[str]) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 30 and 60 files, by ten writers."""
    names = [f"{'a' if n < 30 else 'b'}/w{n % 10}_{n:02d}.png" for n in range(90)]
    return make(tmp_path_factory.mktemp("pages"), names)


def sizes(parts) -> dict[str, int]:
    return {split: len(names) for split, names in parts.items()}


def label_counts(names) -> Counter[str]:
    return Counter(name.split("/")[0] for name in names)


def writer(name: str) -> str:
    return name.split("/")[-1][:2]


def test_without_a_word_it_is_80_10_10_stratified(pages):
    found = split(pages, Recipe())
    (parts,) = found.folds
    assert sizes(parts) == {"train": 72, "val": 9, "test": 9}
    assert label_counts(parts["test"]) == {"a": 3, "b": 6}
    assert found.root == footprint(pages).root
    assert found.how["seed"] == 0
    assert not found.is_folded
    assert not found.labels


def test_a_copy_in_another_place_splits_the_same(pages, tmp_path):
    copy = shutil.copytree(pages, tmp_path / "copy")
    assert split(copy, Recipe(seed=4)) == split(pages, Recipe(seed=4))
    assert split(copy, Recipe(seed=4)).folds != split(pages, Recipe(seed=5)).folds


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (Recipe(fractions=(0.5, 0.5)), {"train": 45, "val": 45}),
        (Recipe(fractions=(0.8, 0.0, 0.2)), {"train": 72, "test": 18}),
        (Recipe(counts=(60, 20, 10)), {"train": 60, "val": 20, "test": 10}),
        (Recipe(counts=(None, 20, 10)), {"train": 60, "val": 20, "test": 10}),
        (Recipe(fractions=(0.998, 0.001, 0.001)), {"train": 88, "val": 1, "test": 1}),
    ],
)
def test_sizes(pages, recipe, expected):
    assert sizes(split(pages, recipe).folds[0]) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fractions": (0.5, 0.6)}, "not a split"),
        ({"fractions": (1.0,)}, "1 numbers do not say"),
        ({"counts": (60, 20, 20)}, "counts 60 20 20 do not fit 90 samples"),
        ({"counts": (60, 10)}, "one of them may be 'rest'"),
        ({"counts": (None, None)}, "counts rest rest do not fit"),
        ({"folds": 91}, "90 samples cannot be split into 91 folds"),
        ({"folds": 11, "group_by": "^(w.)"}, "10 groups cannot be split into 11 parts"),
        ({"folds": 1}, "no folds"),
        ({"folds": 3, "counts": (1, 2)}, "three ways"),
        ({"val_fraction": 1.0}, "no share"),
        ({"label": "kind"}, "needs a table"),
    ],
)
def test_what_cannot_be_is_said(pages, settings, message):
    with pytest.raises(UserError, match=message):
        split(pages, Recipe(**settings))


def test_too_few_samples(tmp_path):
    with pytest.raises(UserError, match="2 samples are too few for 3 splits"):
        split(make(tmp_path / "few", ["a/1.png", "b/2.png"]), Recipe())


def test_every_sample_is_tested_in_one_fold(pages):
    found = split(pages, Recipe(folds=5))
    assert found.is_folded
    assert [sizes(fold) for fold in found.folds] == [{"train": 65, "val": 7, "test": 18}] * 5
    assert Counter(name for fold in found.folds for name in fold["test"]).most_common(1)[0][1] == 1
    assert len({name for fold in found.folds for name in fold["test"]}) == 90
    assert all(label_counts(fold["test"]) == {"a": 6, "b": 12} for fold in found.folds)
    assert sizes(split(pages, Recipe(folds=2, val_fraction=0)).folds[0]) == {"train": 45, "test": 45}


def test_groups_stay_together_in_every_fold(pages):
    found = split(pages, Recipe(folds=5, group_by="^(w.)_"))
    for fold in found.folds:
        owners = [{writer(name) for name in names} for names in fold.values()]
        assert sum(map(len, owners)) == 10
        assert sizes(fold) == {"train": 63, "val": 9, "test": 18}
        assert label_counts(fold["test"]) == {"a": 6, "b": 12}


def made_by(root: Path, pages: list[int]) -> Path:
    """One class of files, so many by each writer."""
    return make(root, [f"a/w{owner}_{number}.png" for owner, count in enumerate(pages) for number in range(count)])


@pytest.mark.parametrize("pages", [[9, 1, 1, 1], [1, 1, 1, 9], [5, 5, 1, 1], [40, 1, 1, 1, 1]], ids=str)
def test_both_of_two_folds_leave_groups_for_train_and_val(tmp_path, pages):
    root = made_by(tmp_path / "few", pages)
    for seed in range(5):
        for fold in split(root, Recipe(folds=2, group_by="^(w.)", seed=seed)).folds:
            owners = [{writer(name) for name in names} for names in fold.values()]
            assert len(owners) == 3
            assert sum(map(len, owners)) == len(pages)
    assert split(root, Recipe(folds=2, val_fraction=0, group_by="^(w.)")).folds


@pytest.mark.parametrize(
    ("pages", "count", "hint"),
    [
        ([3, 3, 3], "3 groups", "3 folds need only 3; --val-fraction 0 makes no val"),
        ([9, 1], "2 groups", "--val-fraction 0 makes no val"),
        ([5], "1 group", "add groups"),
    ],
)
def test_too_few_groups_for_two_folds_with_val(tmp_path, pages, count, hint):
    root = made_by(tmp_path / "few", pages)
    with pytest.raises(UserError) as refused:
        split(root, Recipe(folds=2, group_by="^(w.)"))
    assert refused.value.message == (
        f"{count} cannot be split into 2 folds with a val split: in each, train and val share "
        "the groups of the other fold, so 4 are needed"
    )
    assert refused.value.hint == hint
    if len(pages) == 3:
        assert len(split(root, Recipe(folds=3, group_by="^(w.)")).folds) == 3
    if len(pages) > 1:
        assert split(root, Recipe(folds=2, val_fraction=0, group_by="^(w.)")).folds


def test_two_folds_beside_a_kept_test_split_need_two_groups(tmp_path):
    names = ["test/a/w0_0.png", *(f"train/a/w{1 + n % 2}_{n}.png" for n in range(6))]
    folds = split(make(tmp_path / "kept", names), Recipe(folds=2, group_by="^(w.)")).folds
    assert [sizes(fold) for fold in folds] == [{"train": 3, "val": 3, "test": 1}] * 2


def test_the_order_of_classes_may_be_left_to_chance(pages):
    assert label_counts(split(pages, Recipe(stratify=False, seed=1)).folds[0]["test"]) != {"a": 3, "b": 6}


@pytest.fixture
def divided(tmp_path: Path) -> Path:
    names = [f"{'test' if n % 4 == 0 else 'train'}/{'ab'[n % 2]}/w{n % 8}_{n}.png" for n in range(40)]
    return make(tmp_path / "divided", names)


def test_a_test_split_that_is_there_is_kept(divided):
    found = split(divided, Recipe())
    assert sizes(found.folds[0]) == {"train": 27, "val": 3, "test": 10}
    assert all(name.startswith("test/") for name in found.folds[0]["test"])
    folds = split(divided, Recipe(folds=3)).folds
    assert [sizes(fold) for fold in folds] == [{"train": 20, "val": 10, "test": 10}] * 3
    assert len({fold["test"] for fold in folds}) == 1
    with pytest.raises(UserError, match=r"3 numbers .*\n.*the data set has a test split"):
        split(divided, Recipe(fractions=(0.8, 0.1, 0.1)))


def test_it_is_split_anew_when_all_is_pooled(divided):
    assert sizes(split(divided, Recipe(pool=True)).folds[0]) == {"train": 32, "val": 4, "test": 4}


def test_groups_that_straddle_the_kept_test_split_are_refused(divided):
    split(divided, Recipe(group_by="^(w.)"))
    make(divided, ["train/a/w0_99.png"])
    with pytest.raises(UserError, match=r"1 groups are in the test split and outside of it: w0\n.*--pool"):
        split(divided, Recipe(group_by="^(w.)"))


def test_a_table_gives_classes_and_groups(tmp_path):
    root = make(tmp_path / "flat", [f"{n}.png" for n in range(20)])
    lines = ["file,label,author", *(f"{n}.png,{'xy'[n % 2]},{n // 4}" for n in range(20))]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    found = split(root, Recipe(table=str(tmp_path / "table.csv"), group_by="author", fractions=(0.6, 0.2, 0.2)))
    assert sizes(found.folds[0]) == {"train": 12, "val": 4, "test": 4}
    assert found.labels["3.png"] == "y"
    assert {int(name[:-4]) // 4 for name in found.folds[0]["test"]} < {0, 1, 2, 3, 4}
    assert len({int(name[:-4]) // 4 for name in found.folds[0]["test"]}) == 1


@given(
    owners=st.lists(st.integers(0, 6), min_size=12, max_size=40),
    folds=st.sampled_from([None, 2, 3]),
    is_grouped=st.booleans(),
    seed=st.integers(0, 9),
)
@example(owners=[0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3], folds=2, is_grouped=True, seed=0)
def test_whatever_the_data_nothing_is_lost_and_no_group_straddles(owners, folds, is_grouped, seed):
    with tempfile.TemporaryDirectory() as name:
        root = make(Path(name), [f"{'abc'[n % 3]}/w{owner}_{n}.png" for n, owner in enumerate(owners)])
        recipe = Recipe(folds=folds, group_by="^(w.)" if is_grouped else None, seed=seed)
        if is_grouped and len(set(owners)) < 4:
            return
        found = split(root, recipe)
    for fold in found.folds:
        assert sum(map(len, fold.values())) == len(owners) == len({n for names in fold.values() for n in names})
        if is_grouped:
            parts = [{writer(n) for n in names} for names in fold.values()]
            assert sum(map(len, parts)) == len(set(owners))
