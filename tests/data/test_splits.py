from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepdiva.data.splits import counts_of, grouped, random_order, split_off, stratified
from deepdiva.errors import UserError


def test_the_order_is_a_permutation_that_never_changes():
    assert sorted(random_order(1000, seed=3).tolist()) == list(range(1000))
    # These numbers are a promise: another order would silently change every split that was ever made.
    assert random_order(10, seed=0).tolist() == [3, 2, 1, 8, 6, 0, 7, 4, 5, 9]
    assert random_order(10, seed=1).tolist() != random_order(10, seed=0).tolist()
    assert random_order(0, seed=0).tolist() == []


@pytest.mark.parametrize(
    ("size", "fractions", "counts"),
    [
        (10, (0.7, 0.2, 0.1), (7, 2, 1)),
        (10, (0.9, 0.1), (9, 1)),
        (3, (0.5, 0.5), (2, 1)),
        (0, (0.5, 0.5), (0, 0)),
        (100, (1 / 3, 1 / 3, 1 / 3), (34, 33, 33)),
        (1797, (0.8, 0.1, 0.1), (1437, 180, 180)),
    ],
)
def test_fractions_become_whole_numbers(size, fractions, counts):
    assert counts_of(size, fractions) == counts


@pytest.mark.parametrize("fractions", [(0.5, 0.4), (1.2, -0.2), (0.9, 0.2)])
def test_fractions_that_are_no_split_are_refused(fractions):
    with pytest.raises(UserError, match="not a split"):
        counts_of(10, fractions)


@given(st.lists(st.integers(0, 4), max_size=80), st.data(), st.integers(0, 2**63 - 1))
def test_parts_are_disjoint_whole_and_of_the_asked_sizes(labels, data, seed):
    first = data.draw(st.integers(0, len(labels)))
    second = data.draw(st.integers(0, len(labels) - first))
    counts = (first, second, len(labels) - first - second)
    parts = stratified(labels, counts, seed=seed)
    assert tuple(map(len, parts)) == counts
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    assert all(part.tolist() == sorted(part.tolist()) for part in parts)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=200), st.floats(0, 1), st.integers(0, 5))
def test_every_class_gets_its_share(labels, fraction, seed):
    counts = counts_of(len(labels), (fraction, 1 - fraction))
    first, _ = stratified(labels, counts, seed=seed)
    for label in set(labels):
        share = labels.count(label) * counts[0] / len(labels)
        got = sum(labels[place] == label for place in first)
        assert abs(got - share) <= len(set(labels)) / 2 + 0.5


def test_equal_classes_are_split_equally():
    labels = np.repeat(np.arange(10), 20)
    train, val, test = stratified(labels, counts_of(200, (0.8, 0.1, 0.1)), seed=5)
    assert np.bincount(labels[train]).tolist() == [16] * 10
    assert np.bincount(labels[val]).tolist() == [2] * 10
    assert np.bincount(labels[test]).tolist() == [2] * 10


def test_a_first_part_of_more_than_half_holds_every_class():
    labels = ["common"] * 50 + ["rare"]
    for seed in range(20):
        train, _ = stratified(labels, (40, 11), seed=seed)
        assert 50 in train


def test_seeds_choose_and_repeat():
    labels = np.arange(300) % 3
    one = stratified(labels, (200, 100), seed=0)
    again = stratified(labels, (200, 100), seed=0)
    other = stratified(labels, (200, 100), seed=1)
    assert all((a == b).all() for a, b in zip(one, again, strict=True))
    assert one[0].tolist() != other[0].tolist()


def test_the_names_of_classes_do_not_matter():
    numbers = np.arange(60) % 3
    texts = [("a", "b", "c")[number] for number in numbers]
    assert stratified(numbers, (40, 20), seed=2)[1].tolist() == stratified(texts, (40, 20), seed=2)[1].tolist()


def test_sizes_that_do_not_add_up_are_refused():
    with pytest.raises(UserError, match="cannot be made of 3 samples"):
        stratified([0, 1, 0], (2, 2), seed=0)
    with pytest.raises(UserError, match="cannot be made"):
        stratified([0, 1, 0], (4, -1), seed=0)


def test_a_part_that_would_be_empty_is_refused():
    assert split_off(20, 0.1) == (18, 2)
    with pytest.raises(UserError, match="too few"):
        split_off(4, 0.1)
    with pytest.raises(UserError, match="nothing on one side"):
        split_off(4, 0.0)


def test_a_negative_seed_is_refused():
    with pytest.raises(UserError, match="seed -1 of a split is negative"):
        stratified([0, 1], (1, 1), seed=-1)


@given(st.data(), st.integers(0, 5))
def test_groups_never_straddle_and_nothing_is_lost(data, seed):
    sizes = data.draw(st.lists(st.integers(1, 9), min_size=3, max_size=30))
    groups = np.repeat(np.arange(len(sizes)), sizes)
    labels = data.draw(st.lists(st.integers(0, 2), min_size=len(groups), max_size=len(groups)))
    counts = counts_of(len(groups), (0.6, 0.2, 0.2))
    parts = grouped(labels, groups, counts, seed=seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(groups)))
    owners = [set(groups[part].tolist()) for part in parts]
    assert not owners[0] & owners[1] | owners[0] & owners[2] | owners[1] & owners[2]
    assert all(len(part) > 0 for part, count in zip(parts, counts, strict=True) if count)
    largest = max(sizes)
    if len(sizes) > 10:
        assert all(abs(len(part) - count) <= 2 * largest for part, count in zip(parts, counts, strict=True))
    again = grouped(labels, groups, counts, seed=seed)
    assert all(np.array_equal(one, other) for one, other in zip(parts, again, strict=True))


def test_groups_of_one_size_are_split_exactly_and_stratified():
    groups = np.repeat(np.arange(40), 5)
    labels = groups % 4
    parts = grouped(labels, groups, (160, 20, 20), seed=1)
    assert [len(part) for part in parts] == [160, 20, 20]
    assert [np.bincount(labels[part]).tolist() for part in parts] == [[40] * 4, [5] * 4, [5] * 4]


def test_the_seed_chooses_among_groups_of_different_size():
    groups = np.repeat(np.arange(20), np.arange(10, 30))
    chosen = {tuple(grouped(groups * 0, groups, (300, 90), seed=seed)[1].tolist()) for seed in range(6)}
    assert len(chosen) > 3


def test_fewer_groups_than_parts_are_refused():
    with pytest.raises(UserError, match="2 groups cannot be split into 3 parts"):
        grouped([0] * 6, [0, 0, 0, 1, 1, 1], (2, 2, 2), seed=0)
    assert [part.tolist() for part in grouped([0] * 3, [0, 1, 1], (3, 0, 0), seed=0)] == [[0, 1, 2], [], []]


def groups_in(parts, groups) -> list[set[int]]:
    return [{groups[place] for place in part} for part in parts]


def test_each_part_gets_the_least_number_of_groups():
    groups = [0] * 9 + [1, 2, 3]
    assert sorted(map(len, groups_in(grouped([0] * 12, groups, (6, 6), seed=0), groups))) == [1, 3]
    for seed in range(10):
        found = groups_in(grouped([0] * 12, groups, (6, 6), seed=seed, least=2), groups)
        assert [len(owners) for owners in found] == [2, 2]
    found = groups_in(grouped([0] * 12, groups, (12, 0), seed=0, least=4), groups)
    assert found == [{0, 1, 2, 3}, set()]  # a part that should hold nothing holds nothing


@given(st.lists(st.integers(1, 9), min_size=6, max_size=30), st.integers(1, 3), st.integers(0, 5))
def test_a_least_number_that_is_met_anyway_changes_nothing(sizes, least, seed):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    counts = counts_of(len(groups), (0.5, 0.5))
    plain = grouped(groups * 0, groups, counts, seed=seed)
    found = grouped(groups * 0, groups, counts, seed=seed, least=least)
    assert sorted(np.concatenate(found).tolist()) == list(range(len(groups)))
    assert all(len(owners) >= least for owners in groups_in(found, groups))
    if all(len(owners) >= least for owners in groups_in(plain, groups)):
        assert all(np.array_equal(one, other) for one, other in zip(plain, found, strict=True))


def test_fewer_groups_than_the_least_number_are_refused():
    with pytest.raises(UserError, match="3 groups cannot be split into 2 parts of at least 2 groups"):
        grouped([0] * 6, [0, 0, 0, 1, 1, 2], (3, 3), seed=0, least=2)
