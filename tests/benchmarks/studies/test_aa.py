"""The A/A study: each page's baselines against themselves."""

import jax
import numpy as np

from benchmarks import studies
from benchmarks.studies import aa
from benchmarks.study import Job
from benchmarks.training import loop


def test_each_baseline_of_a_page_is_there():
    for page in aa.PAGES:
        study = studies.find(page)
        small = study.presets["small"]
        run = study.to_run(small)
        baselines = {study.methods[name].baseline for name in run}
        baselines = {
            b for b in baselines if b and study.methods[b].baseline is None
        }
        for variant in small.variants or study.variants:
            for baseline in baselines:
                where = aa.VARIANTS[aa.name_of(page, variant, baseline)]
                settings = aa.page_settings(where)
                assert settings == {
                    **small.settings,
                    **study.variants[variant],
                }
        assert baselines


def test_both_runs_are_of_the_page_and_one_has_the_noise(monkeypatch):
    name, (noisy, seen) = "agr-mnist-mlp", ([], [])
    study = studies.find(name)

    def run(job):
        noisy.append(loop.current_weight_noise())
        seen.append(job)
        return []

    monkeypatch.setattr(studies, "find", lambda _: study._replace(run=run))
    settings = aa.VARIANTS[aa.name_of(name, "lr 0.01", "adan")]
    for method in aa.STUDY.methods:
        arguments = aa.STUDY.methods[method].arguments
        job = Job(method, settings, [3], {name: "x"}, lambda: None, arguments)
        aa.run(job)
    assert noisy == [0.0, 1e-7]
    assert seen[0] == seen[1]._replace(on_progress=seen[0].on_progress)
    assert seen[0].method == "adan"
    assert seen[0].data == "x"
    assert seen[0].settings["learning_rate"] == 1e-2
    assert seen[0].settings["batch_size"] == 64


def test_noise_is_added_to_the_weights_and_to_nothing_else():
    seeds = jax.numpy.arange(2, dtype=jax.numpy.uint32)
    params = {
        "kernel": jax.numpy.ones((2, 300)),
        "bias": jax.numpy.zeros((2, 9)),
    }
    noisy = loop._with_noise(params, seeds, 1e-3)
    moved = np.asarray(noisy["kernel"] - params["kernel"])
    np.testing.assert_allclose(moved.std(), 1e-3, rtol=0.2)
    assert np.all(noisy["bias"] != 0)
    assert not np.array_equal(moved[0], moved[1])
    again = loop._with_noise(params, seeds, 1e-3)
    np.testing.assert_array_equal(again["kernel"], noisy["kernel"])
