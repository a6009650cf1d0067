"""The study of LGA on MNIST."""

import jax.numpy as jnp
import pytest

from benchmarks import data
from benchmarks.contenders import lga
from benchmarks.studies import lga_mnist
from benchmarks.study import Job


@pytest.mark.parametrize("count", [64, 127, 640])
def test_status_moves_once_an_epoch(count):
    images = jnp.zeros((count, 1, 1, 1))
    examples = data.Examples(images, jnp.zeros(count, jnp.int32))
    settings = dict(lga_mnist.STUDY.presets["small"].settings)
    assert settings["gamma"] == 1e-8
    split = data.Split(examples, examples)
    arguments = lga.METHODS["lga+sgd"].arguments
    job = Job("lga+sgd", settings, [0], split, lambda: None, arguments)
    assert lga_mnist.make(job) is lga.maker(
        "lga+sgd", 1e-8, count // 64, **arguments
    )


def test_papers_table_is_whole():
    paper = lga_mnist.STUDY.paper
    assert len(paper.rows) == 7
    for row in paper.rows:
        assert len(row) == len(paper.header)
        numbers = [float(entry.strip("*")) for entry in row[1:]]
        assert all(10 < number < 100 for number in numbers)
