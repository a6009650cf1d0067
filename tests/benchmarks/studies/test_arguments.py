"""What methods are built from: every argument is read and tells cells apart."""

from collections.abc import Mapping
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks import data, studies
from benchmarks.contenders.makers import WithAdjuster
from benchmarks.contenders.surface import DRAWS
from benchmarks.reporting import verdicts
from benchmarks.runs import cells
from benchmarks.studies import (
    aa,
    agr_label_noise,
    agr_small_matrices,
    gal_regression,
    gal_surface,
)
from benchmarks.study import Configuration, Data, Job
from benchmarks.training import loop, surface
import optaxmods

# Two values of each argument: one of them is not a method's own.
VALUES = {
    # Of two that differ for whatever is accepted.
    "accept": ("never", "always"),
    # So long a step overshoots.
    "beta": (1e4, 1.0),
    "convention": ("paper", "released"),
    "difference": ("regularized", "printed"),
    "draw": ("ones", "normal"),
    "factor": (10.0, 0.5),
    "final_factor": (100, 200),
    "floor": (0.2, 0.3),
    "gamma": (1e-3, 2e-3),
    "gradient_of": ("example", "batch"),
    "hidden_sizes": ((8,), (9,)),
    "label_smoothing": (0.1, 0.2),
    "learns": (True, False),
    "lga.decay_factor": (0.1, 0.5),
    # Of the entries' sizes some are below the second, more below the first.
    "lga.gradient_floor": (0.5, 0.05),
    "lga.log_base": (10, 2),
    "lga.lower_bound": ("ema", 0.5),
    "lga.status_every": ("epoch", "step"),
    # At every step the first window's is the first value.
    "lga.upper_bound": (None, "first_value"),
    "magnitude": (0.01, 0.02),
    "max_alpha": (0.2, 0.3),
    "max_norm": (1e3, 1e4),
    "maxval": (1.0, 2.0),
    "minval": (-1.0, -2.0),
    "network": ("noise", None),
    "optimizer.decay": (0.5, 0.6),
    "optimizer.eps": (0.1, 0.2),
    "optimizer.eps_in_sqrt": (True, False),
    "optimizer.momentum": (0.5, 0.6),
    "optimizer.power": (0.5, 0.6),
    "optimizer.rho": (0.5, 0.6),
    "optimizer.start": (0, 1),
    "rate_factor": (7, 8),
    "reduction_axes": ((0,), (1,)),
    "remainder": ("finite", "quadratic"),
    "share": (10, 20),
    "sign.falls": (True, False),
    "sign.size": (1e-3, 2e-3),
    "strength": (0.5, 0.6),
    "tentative_step": (1.0, 2.0),
    "theta_eps": (1e-8, 1e-4),
    "weight_noise": (1e-3, 2e-3),
    "widths": ((5, 2), (6, 2)),
}
# Of the optimizers in the settings of the surface.
SETTINGS = {
    "b1": (0.5, 0.6),
    "b2": (0.5, 0.6),
    "decay": (0.5, 0.6),
    "eps": (0.2, 0.3),
    "eps_in_sqrt": (True, False),
    "final_rate": (0.1, 0.2),
    "gamma": (0.1, 0.2),
    "slow_step_size": (0.1, 0.2),
    "sync_period": (2, 3),
}
# Of many methods that are made alike, one of each kind is enough.
MADE_ALIKE = (
    *("gal-ablation", "gal-cifar10", "gal-labels", "gal-noise"),
    *("gal-nuclei-boxes", "gal-words"),
)
# Three steps an epoch.
FEW = {
    **{"batch_size": 4, "epochs": 4, "weight_decay": 0.1, "gamma": 1e-3},
    "validation": 4,
}
STEPS = 12
SHARED = Configuration("", "small", {}, "", Data("", [], ""))


def changed(arguments, values, prefix=""):
    """Yields each argument's name, and all of them with it changed."""
    for name, value in arguments.items():
        if isinstance(value, Mapping):
            for path, inner in changed(value, values, f"{name}."):
                yield path, {**arguments, name: inner}
        else:
            path = f"{prefix}{name}"
            assert path in values, f"name two values of {path} in VALUES"
            first, second = values[path]
            other = second if value == first else first
            yield path, {**arguments, name: other}


# Of entries, so that bounds hold some and not others.
SIZES = np.array([1e-3, 0.1, 1.0, 30.0])


def numbers_of(seed, shape, sizes=1.0):
    numbers = np.random.default_rng(seed).normal(size=shape)
    return jnp.asarray(sizes * numbers, jnp.float32)


@functools.cache
def behaviour(make):
    """Returns what a method does in a few steps, as a list of arrays."""
    optimizer = optax.with_extra_args_support(make(0.01))
    params = {"kernel": numbers_of(0, (3, 4)), "bias": numbers_of(1, (4,))}
    # Falling, and in the third epoch risen.
    losses = np.linspace(3, 1, STEPS, dtype=np.float32)
    losses[6:9] += 2
    state, seen = optimizer.init(params), []
    # GAL's takes long where it is not compiled, and one tells.
    has_gal = isinstance(make, WithAdjuster)
    for step in range(1 if has_gal else STEPS):
        key = jax.random.key(step)
        extra = {"value": jnp.asarray(losses[step]), "key": key}
        if has_gal:
            grads = adjusted(make.adjuster, state, key)
            seen.append(grads)
            extra["adjuster_grads"] = grads[1]
        gradient = {
            "kernel": numbers_of(2 + step, (3, 4), SIZES),
            "bias": numbers_of(100 + step, (4,), SIZES),
        }
        updates, state = optimizer.update(gradient, state, params, **extra)
        params = optax.apply_updates(params, updates)
        seen.append(updates)
    return [np.asarray(leaf) for leaf in jax.tree.leaves((seen, state))]


def adjusted(adjuster, state, key):
    """Returns the gradients of GAL's loss, of the features and of theta."""
    theta = optaxmods.adjuster_params(state)
    features = numbers_of(7, (6, adjuster.num_features))

    def loss(features, theta):
        return adjuster.loss(
            theta, features, lambda z: jnp.sum(jnp.cosh(z), -1), key=key
        )[0]

    return jax.jit(jax.grad(loss, argnums=(0, 1)))(features, theta)


def losses_of(told):
    """Returns the losses that a study of classes minimizes, of some logits."""
    logits, labels = numbers_of(8, (6, 10)), jnp.arange(6)
    return [told["objective"].losses(None, None, logits, labels)]


def same(ours, theirs):
    return len(ours) == len(theirs) and all(map(np.array_equal, ours, theirs))


class BuiltError(Exception):
    """What a study was about to train."""


@pytest.fixture
def build(monkeypatch):
    """Returns what a study makes of a method, or what that does."""

    def weights():
        """Returns the noise that a study trains with, where it has some."""
        noise = loop.current_weight_noise()
        return {"weight_noise": noise} if noise else {}

    def stop(*args, **settings):
        raise BuiltError(*args, {**settings, **weights()})

    descents = surface.descents
    monkeypatch.setattr(loop, "epochs_of", stop)
    monkeypatch.setattr(surface, "descents", stop)
    ones = lambda key, shape, **bounds: jnp.ones(shape)  # noqa: E731
    monkeypatch.setitem(DRAWS, "ones", ones)
    examples = data.Examples(jnp.zeros((12, 2)), jnp.zeros(12, jnp.int32))
    split = data.Split(examples, examples)
    given = {
        "aa": dict.fromkeys(aa.PAGES, split),
        "agr-label-noise": {f"{s:g}": split for s in agr_label_noise.SHARES},
        "gal-regression": dict.fromkeys(gal_regression.TABLES, split),
        "gal-surface": surface.START,
        "agr-small-matrices": dict.fromkeys(agr_small_matrices.DATA, split),
        "lga-autoencoder": dict.fromkeys(("mnist", "cifar10"), split),
        "lga-gamma": dict.fromkeys(("digits", "mnist", "cifar10"), split),
        "lga-bounds": dict.fromkeys(("mnist", "cifar10"), split),
        "lga-floor": examples,
    }

    def does(name, method, arguments, settings):
        loaded = given.get(name, split)
        job = Job(method, settings, [0, 1], loaded, lambda: None, arguments)
        with pytest.raises(BuiltError) as built:
            studies.find(name).run(job)
        if name != "gal-surface":
            told = built.value.args[-1]
            noise = told.get("weight_noise", 0.0)
            minimized = losses_of(told) if name == "gal-labels" else []
            return [
                *behaviour(built.value.args[1]),
                np.asarray(noise),
                *minimized,
            ]
        (told,) = built.value.args
        path = descents(**{**told, "steps": 5})
        return behaviour(told["make"]) + jax.tree.leaves(path)

    return does


def kind_of(name, key, method):
    """Returns what tells how a method is made, whatever its numbers."""
    if name not in MADE_ALIKE:
        return key
    plain = "" if "+" in key else key
    return plain, *sorted(method.arguments), method.arguments.get("network")


def settings_of(found):
    preset, variant = found.presets["small"], next(iter(found.variants))
    return {**preset.settings, **found.variants[variant], **FEW}


def to_look_at(found):
    """Returns the methods that have arguments.

    Of a grid it is one of those that differ in numbers alone.
    """
    chosen = {
        key: method
        for key, method in found.methods.items()
        if method.arguments and not method.not_run
    }
    if not verdicts.is_grid(found):
        return chosen
    kinds = {}
    for key, method in chosen.items():
        paths = [path for path, _ in changed(method.arguments, VALUES)]
        falls = method.arguments.get("sign", {}).get("falls")
        last = key.split("+")[-1].split("-")[0]
        kinds.setdefault((*paths, falls, last), key)
    return {key: chosen[key] for key in kinds.values()}


@pytest.mark.parametrize("name", studies.names())
def test_every_argument_is_built_in_and_is_in_the_digest(name, build):
    found = studies.find(name)
    settings, variant = settings_of(found), next(iter(found.variants))
    unread, alike, built = [], [], set()
    for key, method in to_look_at(found).items():
        kind = kind_of(name, key, method)

        def digest_of(arguments, key=key, method=method):
            methods = {key: method._replace(arguments=arguments)}
            other = found._replace(methods=methods)
            return cells.digest(
                cells.configuration_of(other, SHARED, variant, key)
            )

        is_new = kind not in built
        built.add(kind)
        own = is_new and build(name, key, method.arguments, settings)
        for path, others in changed(method.arguments, VALUES):
            if is_new and same(own, build(name, key, others, settings)):
                unread.append((key, path))
            if digest_of(others) == digest_of(method.arguments):
                alike.append((key, path))
    assert (unread, alike) == ([], [])


@pytest.mark.parametrize("variant", gal_surface.VARIANTS)
def test_settings_of_the_surface_are_built_in(variant, build):
    settings = gal_surface.VARIANTS[variant] | gal_surface.COMMON
    own = build("gal-surface", "plain", {}, settings)
    for path, others in changed(settings.get("arguments", {}), SETTINGS):
        given = {**settings, "arguments": others}
        assert not same(own, build("gal-surface", "plain", {}, given)), path


def test_every_number_of_a_method_has_a_name():
    """None of the arguments above went back into code."""
    named = {
        path
        for found in studies.find_all().values()
        for method in found.methods.values()
        for path, _ in changed(method.arguments, VALUES)
    }
    assert named == set(VALUES)
    of_surface = {
        path
        for settings in gal_surface.VARIANTS.values()
        for path, _ in changed(settings.get("arguments", {}), SETTINGS)
    }
    assert of_surface == set(SETTINGS)
