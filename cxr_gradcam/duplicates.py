"""Near-duplicate radiographs: one perceptual hash each, and groups of those that nearly agree.

Public collections hold the same film many times: copied from paper to paper, cropped, brightened,
marked with arrows. Copies on both sides of a split make a test score worthless, so each group has
to stay together.
"""

from __future__ import annotations

from typing import Any

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cxr_gradcam.radiograph import Radiograph

Bits = npt.NDArray[np.bool_]
Numbers = npt.NDArray[Any]

HASH_SIDE = 16
HASH_BITS = HASH_SIDE**2
# Hashes that differ in at most this many bits are near-duplicates. Two films of different people
# differ in 114 bits in the middle. Of the pairs looked at by eye, among 9,530 films of the COVID-19
# Radiography Database, all but one up to 40 bits are the same film or the same patient; at 42 and
# 44 bits 11 of 14 are; at 46 bits 2 of 8, and above that chance pairs take over.
MAX_DISTANCE = 44
# Chance pairs grow with the square of the folder and could chain thousands of films together. A
# larger group than this is therefore taken apart, at ever smaller distances, until its parts fit.
MAX_GROUP = 50
TIGHTER = (32, 20, 8)
# Hashes compared at once: 16 MB of distances.
BLOCK = 2048


def perceptual_hash(radiograph: Radiograph) -> Bits:
    """Return a radiograph's pHash: which of its slow waves are stronger than their median.

    It hardly changes with size, brightness, contrast or compression. It does change with
    mirroring and with rotation, so such copies are not found.

    Returns:
        bool (HASH_BITS,).
    """
    grey = Image.fromarray(np.rint(255 * radiograph.pixels).astype(np.uint8))
    bits: Bits = imagehash.phash(grey, HASH_SIDE).hash.reshape(-1)
    return bits


def group_duplicates(hashes: Bits) -> Numbers:
    """Number the groups of near-duplicates.

    Every hash is compared with every other. 100,000 of them take 100 MB, 16 MB per block and
    9 bytes per pair found.

    Args:
        hashes: bool (N, HASH_BITS), one row per radiograph.

    Returns:
        int64 (N,): the group of each radiograph, numbered from 0 by its first member. Most groups
        hold one radiograph.
    """
    packed, copy_of = np.unique(np.packbits(hashes, axis=1), axis=0, return_inverse=True)
    copy_of = copy_of.reshape(-1)  # NumPy 2.0 gave it a second axis
    copies = np.bincount(copy_of, minlength=len(packed))
    pairs, distances = _close_pairs(packed)
    groups = _join(pairs, len(packed))
    for limit in TIGHTER:
        is_large = np.bincount(groups, weights=copies)[groups] > MAX_GROUP
        kept = (distances <= limit) | ~is_large[pairs[0]]
        pairs, distances = pairs[:, kept], distances[kept]
        groups = _join(pairs, len(packed))
    _, first, number = np.unique(groups[copy_of], return_index=True, return_inverse=True)
    by_first_member: Numbers = np.argsort(np.argsort(first))[number]
    return by_first_member


def _close_pairs(packed: Numbers) -> tuple[Numbers, Numbers]:
    """Find all pairs within `MAX_DISTANCE`: int32 (2, M) indices and uint8 (M,) distances."""
    # With bits as -1 and 1 the number of differing bits is (HASH_BITS - product) / 2, exactly, and
    # a matrix product is the fastest way there is to compare all with all.
    signs = 2 * np.unpackbits(packed, axis=1).astype(np.float32) - 1
    least = HASH_BITS - 2 * MAX_DISTANCE
    pairs, distances = [np.empty((2, 0), np.int32)], [np.empty(0, np.uint8)]
    for top in range(0, len(signs), BLOCK):
        for left in range(top, len(signs), BLOCK):
            product = signs[top : top + BLOCK] @ signs[left : left + BLOCK].T
            rows, columns = np.nonzero(product >= least)
            once = rows + top < columns + left
            rows, columns = rows[once], columns[once]
            pairs.append(np.stack([rows + top, columns + left]).astype(np.int32))
            distances.append(((HASH_BITS - product[rows, columns]) / 2).astype(np.uint8))
    return np.concatenate(pairs, axis=1), np.concatenate(distances)


def _join(pairs: Numbers, count: int) -> Numbers:
    """Number the connected components of `count` nodes."""
    links = coo_array((np.ones(pairs.shape[1], np.bool_), tuple(pairs)), shape=(count, count))
    components: Numbers = connected_components(links, directed=False)[1]
    return components
