"""Groups shared out to splits: in proportion, reproducibly, no class absent, or a clear error."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr_gradcam.stratify import TooFewGroupsError, share_groups

SHARES = np.array([0.1, 0.1, 0.8])


def singles(*classes: int) -> np.ndarray:
    """Groups of one image each, so many of each class."""
    return np.repeat(np.eye(len(classes), dtype=int), classes, axis=0)


def filled(counts: np.ndarray, split_of: np.ndarray, splits: int = 3) -> np.ndarray:
    return np.array([counts[split_of == split].sum(axis=0) for split in range(splits)])


def test_single_images_are_shared_to_the_nearest_whole_number() -> None:
    counts = singles(16, 160, 1_234)
    expected = [[2, 16, 123], [2, 16, 123], [12, 128, 988]]
    assert filled(counts, share_groups(counts, SHARES, 0)).tolist() == expected


def test_a_rare_class_is_in_every_split() -> None:
    counts = singles(1_000, 3)
    assert filled(counts, share_groups(counts, SHARES, 0)).tolist()[:2] == [[100, 1], [100, 1]]


def test_large_groups_do_not_unbalance_a_split() -> None:
    # A third of the class lies in one group, which fits only into train.
    counts = np.concatenate([[[500, 0]], [[7, 0]] * 50, singles(650, 1_500)])
    for seed in range(5):
        got = filled(counts, share_groups(counts, SHARES, seed))
        assert got[:2].tolist() == [[150, 150], [150, 150]]


def test_groups_of_several_classes_are_counted_for_each() -> None:
    rng = np.random.default_rng(0)
    counts = np.concatenate([rng.integers(0, 4, (300, 3)), singles(600, 300, 900)])
    counts = counts[counts.sum(axis=1) > 0]
    got = filled(counts, share_groups(counts, SHARES, 0))
    assert np.abs(got / counts.sum(axis=0) - SHARES[:, None]).max() < 0.01


def test_the_seed_decides_and_nothing_else() -> None:
    counts = singles(50, 70)
    same = [share_groups(counts, SHARES, 3).tolist() for _ in range(2)]
    assert same[0] == same[1] != share_groups(counts, SHARES, 4).tolist()


@pytest.mark.parametrize(("counts", "groups"), [(singles(2, 9), 2), ([[5, 1], [5, 1], [0, 9]], 2)])
def test_a_class_with_fewer_groups_than_splits_is_named(counts: np.ndarray, groups: int) -> None:
    with pytest.raises(TooFewGroupsError) as caught:
        share_groups(np.array(counts), SHARES, 0)
    assert (caught.value.class_index, caught.value.groups) == (0, groups)


@given(
    sizes=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9)), min_size=30, max_size=120),
    shares=st.sampled_from([[1.0], [0.2, 0.8], [0.1, 0.1, 0.8], [0.15, 0.25, 0.6]]),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_any_folder(sizes: list[tuple[int, int]], shares: list[float], seed: int) -> None:
    groups = [*sizes, *((label, 1) for label in range(3) for _ in range(3))]
    counts = np.array([np.eye(3, dtype=int)[label] * size for label, size in groups])
    got = filled(counts, share_groups(counts, np.array(shares), seed), len(shares))
    assert (got.sum(axis=0) == counts.sum(axis=0)).all()  # each group in exactly one split
    assert (got > 0).all()
    # No split is off by more than its largest group could make it, one image of rounding aside.
    assert np.abs(got - np.outer(shares, counts.sum(axis=0))).max() <= 2 * 9 + 1
