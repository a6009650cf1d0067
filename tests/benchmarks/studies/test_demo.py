"""The demo's methods are what it says of them."""

import numpy as np
import optax

from benchmarks.contenders.makers import WithAdjuster
from benchmarks.studies import demo
from benchmarks.study import Job
import optaxmods
from tests.helpers.baseline_runs import trajectory


def test_demo_has_gal_before_adamw():
    settings = demo.STUDY.presets["small"].settings
    job = Job("gal+adamw", settings, [0], None, lambda: None)
    job = job._replace(arguments=demo.METHODS["gal+adamw"].arguments)
    made = demo.make(job)
    assert made is demo.make(job)
    assert isinstance(made, WithAdjuster)
    assert made.adjuster == optaxmods.GradientAdjuster(
        (100, 32, 16), 0.01, 1.0, num_features=10
    )
    assert demo.METHODS["gal+adamw"].baseline == "adamw"


def test_demo_has_lga_around_sgd_and_before_adamw():
    made = {}
    for name in ("sgd", "lga+sgd", "lga+adamw"):
        settings = demo.STUDY.presets["small"].settings
        loaded = demo.STUDY.load(settings, None)
        job = Job(name, settings, [0], loaded, lambda: None)
        job = job._replace(arguments=demo.METHODS[name].arguments)
        made[name] = trajectory(demo.make(job)(1e-3))
        assert demo.make(job) is demo.make(job)
    # 1,437 images in batches of 32.
    composed = {
        "sgd": optax.sgd(1e-3),
        "lga+sgd": optaxmods.with_lga(optax.sgd(1e-3), 2e-7, status_every=44),
        "lga+adamw": optax.chain(
            optaxmods.lga(2e-4, status_every=44),
            optax.adamw(1e-3, weight_decay=1e-4),
        ),
    }
    for name, optimizer in composed.items():
        np.testing.assert_allclose(made[name], trajectory(optimizer), rtol=1e-6)
