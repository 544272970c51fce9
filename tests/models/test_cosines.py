"""Cosines in parts are the cosines of the whole."""

import numpy as np
import pytest

from cmo.models.cosines import cosines


@pytest.mark.parametrize(("count", "others"), [(0, 3), (1, 1), (7, 700), (60, 60), (300, 5), (2, 3000)])
def test_cosines_are_those_of_each_with_each(count: int, others: int) -> None:
    chance = np.random.default_rng(1)
    one, other = (chance.standard_normal((n, 384)).astype(np.float32) for n in (count, others))
    one, other = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (one, other))

    found = cosines(one, other)

    assert found.shape == (count, others)
    assert np.allclose(found, np.einsum("ik,jk->ij", one, other), atol=1e-6)
