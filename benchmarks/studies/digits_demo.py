"""The demo: five optimizers side by side on handwritten digits.

Data: scikit-learn's 8x8 digits. Model: a small convolutional network. Metric:
test accuracy and loss after the last epoch, never those of the best one.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import optax

from benchmarks import data, models, train
import optaxmods

LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-4
BATCH_SIZE = 32
DEFAULT_EPOCHS = 20
DEFAULT_SEEDS = 5


class Method(NamedTuple):
    """One row of the table."""

    description: str
    optimizer: optax.GradientTransformation


METHODS = {
    "adamw": Method(
        "AdamW, as optax has it",
        optax.adamw(LEARNING_RATE, weight_decay=WEIGHT_DECAY),
    ),
    "agr+adamw": Method(
        "optax.chain(agr(), optax.adamw(...)), AGR in both moments",
        optax.chain(
            optaxmods.agr(),
            optax.adamw(LEARNING_RATE, weight_decay=WEIGHT_DECAY),
        ),
    ),
    "adamw_agr": Method(
        "AdamW with AGR in the first moment only",
        optaxmods.adamw_agr(LEARNING_RATE, weight_decay=WEIGHT_DECAY),
    ),
    "adan": Method(
        "Adan, as published",
        optaxmods.adan(LEARNING_RATE, weight_decay=WEIGHT_DECAY),
    ),
    "adan_agr": Method(
        "Adan with AGR in the first moment and the difference",
        optaxmods.adan_agr(LEARNING_RATE, weight_decay=WEIGHT_DECAY),
    ),
}


def run(
    methods: Sequence[str],
    *,
    seeds: Sequence[int],
    epochs: int,
    on_progress: Callable[[str, int], None],
) -> dict[str, train.Curves]:
    """Trains every method from the same starts on the same batches.

    Args:
        methods: Keys of ``METHODS``.
        seeds: One run of each method for each.
        epochs: Passes over the training images.
        on_progress: Called with the method that is running and the number of
            epochs done since the last call.

    Returns:
        The curves of each method.
    """
    split = data.digits()
    model = models.SmallCNN()
    curves = {}
    for name in methods:
        on_progress(name, 0)
        curves[name] = train.train(
            model,
            METHODS[name].optimizer,
            split,
            seeds=seeds,
            epochs=epochs,
            batch_size=BATCH_SIZE,
            on_epoch=lambda name=name: on_progress(name, 1),
        )
    return curves


def configuration(
    methods: Sequence[str], *, seeds: Sequence[int], epochs: int
) -> dict[str, Any]:
    """Returns all that a reader needs to know to repeat the run."""
    model = models.SmallCNN()
    return {
        "data": "scikit-learn digits: 1437 training and 360 test images, "
        "one stratified split",
        "model": f"{type(model).__name__}(channels={model.channels}, "
        f"hidden_size={model.hidden_size})",
        "methods": {name: METHODS[name].description for name in methods},
        "seeds": list(seeds),
        "epochs": epochs,
        "batch_size": BATCH_SIZE,
        "learning_rate": LEARNING_RATE,
        "weight_decay": WEIGHT_DECAY,
    }


def caption(seeds: Sequence[int], epochs: int) -> str:
    """Returns what the table shows and what it does not."""
    statistic = (
        f"mean and sample standard deviation over {len(seeds)} seeds"
        if len(seeds) > 1
        else "one seed"
    )
    return (
        "Test accuracy, test loss and training loss after epoch "
        f"{epochs}; {statistic}. All methods: learning rate "
        f"{LEARNING_RATE:g}, weight decay {WEIGHT_DECAY:g}, batches of "
        f"{BATCH_SIZE}, none of them tuned. Given a seed, all methods start "
        "from the same weights and see the same batches in the same order. "
        "The methods stand side by side here; runs this few and this small "
        "do not show that one is better than another."
    )
