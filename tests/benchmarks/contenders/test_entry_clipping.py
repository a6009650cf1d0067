"""Clipping of single entries."""

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.contenders.entry_clipping import clip_entries


@pytest.mark.parametrize("factor", [2.0, 10.0])
def test_entries_are_clipped_at_a_multiple_of_the_median_size(factor):
    updates = {
        "a": jnp.array([[1.0, -3.0], [100.0, -2.0], [-500.0, 0.5]]),
        "b": jnp.array([0.1, -0.1, 7.0]),
    }
    transformation = clip_entries(factor)
    clipped, _ = transformation.update(updates, transformation.init(updates))
    for name, leaf in updates.items():
        given = np.asarray(leaf)
        bound = factor * np.median(np.abs(given))
        np.testing.assert_allclose(
            clipped[name], np.clip(given, -bound, bound), rtol=1e-6
        )


def test_a_leaf_of_zeros_for_the_most_part_is_left_alone():
    updates = jnp.array([0.0, 0.0, 0.0, 5.0, -7.0])
    transformation = clip_entries(1.0)
    clipped, _ = transformation.update(updates, transformation.init(updates))
    np.testing.assert_array_equal(clipped, updates)
