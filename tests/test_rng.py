"""Keyed randomness: pinned values, independence of order, uniformity."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dmseg.rng import Stream, key_words

GOLDEN_WORDS = [12289479565615253224, 3753446557937054208, 15933069662755649963]
GOLDEN_UNIFORMS = [0.8368834443692775, 0.4593043917324938]
GOLDEN_INTEGERS = [11, 12, 13, 5, 10, 9, 3, 10]
GOLDEN_PERMUTATION = [1, 2, 0, 3, 5, 4, 6, 7]
GOLDEN_SAMPLE = ["b", "d", "c"]
GOLDEN_NORMAL = 2.7197239528752934


def test_key_is_blake2b_of_the_joined_parts_little_endian() -> None:
    raw = hashlib.blake2b(b"dmseg-prompt/1\x1f0\x1fmask\x1fpoint\x1f1", digest_size=16).digest()
    assert key_words("dmseg-prompt/1", 0, "mask", "point", 1) == tuple(np.frombuffer(raw, "<u8").tolist())


def test_pinned_values() -> None:
    """These numbers are part of every published benchmark and run; they may never change."""
    stream = Stream("golden", 1)
    assert stream.words(3).tolist() == GOLDEN_WORDS
    assert Stream("golden", 2).uniforms(2).tolist() == GOLDEN_UNIFORMS
    assert Stream("golden", 3).integers(-3, 17, 8).tolist() == GOLDEN_INTEGERS
    assert Stream("golden", 4).permutation(8).tolist() == GOLDEN_PERMUTATION
    assert Stream("golden", 5).sample("abcdef", 3) == GOLDEN_SAMPLE
    assert Stream("golden", 6).normal(1.0, 2.0) == pytest.approx(GOLDEN_NORMAL, abs=1e-12)


def test_reading_in_parts_equals_reading_at_once() -> None:
    parts = Stream("parts")
    assert [*parts.words(1), *parts.words(4), *parts.words(2)] == Stream("parts").words(7).tolist()


@pytest.mark.parametrize("singly", range(7))
def test_words_are_the_same_one_by_one_and_together(singly: int) -> None:
    stream, wanted = Stream("mixed", singly), Stream("mixed", singly).words(singly + 4).tolist()
    one_by_one = [stream.integer(0, 2**64 - 1) for _ in range(singly)]
    assert [*one_by_one, *stream.words(3).tolist(), stream.integer(0, 2**64 - 1)] == wanted


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    np.random.seed(0)  # noqa: NPY002 - the global state is what this test watches
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = Stream("global").uniforms(5)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    np.random.seed(7)  # noqa: NPY002
    assert np.array_equal(first, Stream("global").uniforms(5))


@given(low=st.integers(-1000, 1000), span=st.integers(0, 2000), key=st.integers())
def test_integers_stay_inside_their_closed_range(low: int, span: int, key: int) -> None:
    values = Stream("range", key).integers(low, low + span, 20)
    assert values.min() >= low and values.max() <= low + span


def test_integers_are_uniform_also_where_the_span_is_no_power_of_two() -> None:
    counts = np.bincount(Stream("uniform").integers(0, 4, 20_000), minlength=5)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_normal_is_normal() -> None:
    stream = Stream("normal")
    values = [stream.normal() for _ in range(5_000)]
    assert stats.kstest(values, "norm").pvalue > 1e-3


def test_permutation_reaches_every_order_equally() -> None:
    orders = [tuple(Stream("order", i).permutation(3).tolist()) for i in range(3_000)]
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 6 and stats.chisquare(counts).pvalue > 1e-3


def test_neighbouring_keys_are_unrelated() -> None:
    values = np.array([Stream("key", i).uniform() for i in range(2_000)])
    assert abs(values.mean() - 0.5) < 0.03
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.08


def test_bad_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="separator"):
        Stream("a\x1fb")
    with pytest.raises(ValueError, match="empty range"):
        Stream("a").integer(2, 1)
    with pytest.raises(ValueError, match="64 bits"):
        Stream("a").integer(0, 2**65)
    with pytest.raises(ValueError, match="without replacement"):
        Stream("a").sample([1, 2], 3)
    assert Stream("a").integer(5, 5) == 5
