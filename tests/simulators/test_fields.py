"""Counter-based fields: the same bits everywhere, normal, and permutations that nest."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from scipy import stats

from dmseg.simulators import fields


def test_normal_table_is_frozen_and_symmetric() -> None:
    table = fields.normal_table()
    assert hashlib.sha256(table.tobytes()).hexdigest() == TABLE
    assert np.array_equal(table, -table[::-1])
    assert table.astype(float).std() / 4096 == pytest.approx(1, abs=2e-4)


TABLE = "1ea009ce409dac97d6bd609266910f809c5fb912f78e16bd89145b08174d6fc5"


def test_normals_are_frozen_bits() -> None:
    assert fields.normals(1, 6).tolist() == NORMALS


NORMALS = [-1443, 362, -3759, 687, 5852, -1073]


def test_normals_are_normal_and_independent_of_length() -> None:
    values = fields.normals(7, 200_001) / 4096
    assert stats.kstest(values[::7], "norm").pvalue > 0.001
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.01
    for n in (1, 2, 3, 5, 1000):
        assert np.array_equal(fields.normals(7, n) / 4096, values[:n])
    assert abs(np.corrcoef(values, fields.normals(8, values.size))[0, 1]) < 0.01


@pytest.mark.parametrize("size", [1, 2, 3, 17, 256, 1000, 4097])
def test_places_are_a_permutation_made_in_parts(size: int) -> None:
    whole = fields.places(3, size, 0, size)
    assert sorted(whole) == list(range(size))
    assert np.array_equal(fields.places(3, size, size // 2, size - size // 2), whole[size // 2 :])


def test_places_are_uniform() -> None:
    counts = np.zeros(64)
    for key in range(400):
        counts[fields.places(key, 64, 0, 4)] += 1
    assert stats.chisquare(counts).pvalue > 0.001
