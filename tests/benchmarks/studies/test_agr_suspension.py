"""AGR is suspended where the study says."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks import data
from benchmarks.studies import agr_suspension
from benchmarks.study import Job
import optaxmods
from tests.helpers.agr_runs import (
    COMPOSED,
    DECAY,
    RATE,
    assert_close,
    updates_of,
)


@pytest.mark.parametrize("share", agr_suspension.SHARES)
@pytest.mark.parametrize("plain", agr_suspension.PLAIN)
def test_agr_is_suspended_at_the_right_step(share, plain):
    # 12 steps, 4 an epoch; the ninth example is in no batch.
    examples = data.Examples(jnp.zeros((9, 1)), jnp.zeros(9, jnp.int32))
    settings = {"batch_size": 2, "epochs": 3, "weight_decay": DECAY}
    name = agr_suspension.name_of(share, plain)
    job = Job(
        name,
        settings,
        [0],
        data.Split(examples, examples),
        lambda: None,
        agr_suspension.METHODS[name].arguments,
    )
    steps = 12 * share // 100
    made = updates_of(agr_suspension.make(job)(RATE), steps=12)

    def with_agr_for(steps):
        def strength(count):
            return jnp.where(count < steps, 1.0, 0.0)

        return optax.chain(optaxmods.agr(strength), COMPOSED[plain]())

    assert_close(made, updates_of(with_agr_for(steps), steps=12))
    one_less = updates_of(with_agr_for(steps - 1), steps=12)
    assert np.any(np.asarray(made[-1]["kernel"] != one_less[-1]["kernel"]))
