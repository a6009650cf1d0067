"""Wrong formulas, one at a time, and the tests that have to see each.

    .venv/bin/python tests/mutants.py [NAME ...]

Each is made in a copy of the repository; the tests named beside it run until
one fails. Prints "killed" or "survived", and exits 1 where one survived that is
not marked as equal. NAME is a part of a mutant's name; without one, all are
tried, which takes about half an hour. That each still fits the source is a
test of the suite.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[1]


class Mutant(NamedTuple):
    name: str
    file: str  # In optaxmods.
    old: str  # Stands there once.
    new: str
    tests: str  # Modules of this folder, without "test_".
    # Why no test can see it, where its numbers are the same.
    equal: str | None = None


AGR = "agr/psi agr/damping agr/derivatives agr/matrices"
AGR += " every/precision"
ADAM = "agr/adamw every/narrow_moments"
ADAN = "adan/moments agr/adan every/narrow_moments every/wrappers"
LGA = "lga/status lga/transform lga/limits lga/floor"
GAL = "gal/adjustment gal/numbers gal/weights gal/limits gal/routes"
BLOCKS = "gal/blocks gal/head"
DIRECT = "gal/direct gal/routes"

MUTANTS = [
    # Eq. 1 and 2 of AGR.
    Mutant(
        "strength is left out",
        "_agr/psi.py",
        "if strength is not None:",
        "if False:",
        AGR,
    ),
    Mutant(
        "coefficients are at least the largest one",
        "_agr/psi.py",
        "return jnp.minimum(four_alpha, 4 * limit)",
        "return jnp.maximum(four_alpha, 4 * limit)",
        AGR,
    ),
    Mutant(
        "largest coefficient is a quarter",
        "_agr/psi.py",
        "return jnp.minimum(four_alpha, 4 * limit)",
        "return jnp.minimum(four_alpha, limit)",
        AGR,
    ),
    Mutant(
        "a lone entry's rest is kept",
        "_agr/psi.py",
        "kept <= rounding",
        "kept < rounding",
        AGR,
    ),
    Mutant(
        "a lone entry may change its sign",
        "_agr/psi.py",
        "kept = jax.lax.select(kept <= rounding, jnp.zeros_like(kept), kept)",
        "pass",
        AGR,
    ),
    Mutant(
        "smallest sum is tiny",
        "_agr/psi.py",
        "smallest = 2 * float(",
        "smallest = float(",
        AGR,
    ),
    Mutant(
        "a sum of 0 is divided by",
        "_agr/psi.py",
        "4 / jax.lax.select(total < smallest, jnp.ones_like(total), total)",
        "4 / total",
        AGR,
    ),
    Mutant(
        "a complex entry's size may overflow",
        "_agr/psi.py",
        "magnitude = jnp.minimum(magnitude, jnp.finfo(magnitude.dtype).max)",
        "pass",
        AGR,
    ),
    Mutant(
        "|x| has a slope at 0",
        "_agr/psi.py",
        "return jnp.sign(entries) * entries",
        "return jnp.abs(entries)",
        AGR,
    ),
    Mutant(
        "slope of alpha without its second term",
        "_agr/psi.py",
        "share - four_alpha * (total / 4)",
        "share",
        AGR,
    ),
    Mutant(
        "slope of alpha with four times its second term",
        "_agr/psi.py",
        "four_alpha * (total / 4)",
        "four_alpha * total",
        AGR,
    ),
    Mutant(
        "one strength of 0 switches all off",
        "_agr/psi.py",
        "if all(isinstance(s, float)",
        "if any(isinstance(s, float)",
        "agr/adan " + ADAN,
        equal=(
            "strengths of one call are all numbers, and then equal, or none is"
        ),
    ),
    Mutant(
        "v is kept for the previous gradient",
        "_adan/moments.py",
        "jax.lax.select(n < 0, cast(v, g.dtype), g)",
        "jax.lax.select(n > 0, cast(v, g.dtype), g)",
        ADAN,
    ),
    Mutant(
        "the previous gradient is copied",
        "_adan/moments.py",
        "_previous(gradients, v, n, g)",
        "gradients",
        "every/compiled",
    ),
    Mutant(
        "a narrow previous gradient is chosen, too",
        "_adan/moments.py",
        "if g.dtype != dtype:",
        "if False:",
        "every/compiled",
    ),
    Mutant(
        "gradients that no mesh splits are chosen from moments of its shards",
        "_adan/moments.py",
        "if not all(map(_are_alike,",
        "if not any(map(lambda *_: True,",
        "mesh/states_that_vary",
    ),
    Mutant(
        "what in_shardings split is summed in one kernel",
        "_agr/matrix_sums.py",
        "if jax.device_count() > 1:",
        "if jax.device_count() > 99:",
        "agr/small_matrices",
    ),
    Mutant(
        "nothing is divided by nothing",
        "_lga/transform.py",
        "push / jnp.maximum(phi, float(jnp.finfo(dtype).tiny))",
        "push / phi",
        "lga/loops",
    ),
    Mutant(
        "what a mesh splits is summed in one kernel",
        "_agr/matrix_sums.py",
        "return not any(mesh.axis_names for mesh in meshes)",
        "return True",
        "agr/small_matrices",
    ),
    Mutant(
        "a small matrix is damped by the sum of the next",
        "_agr/matrix_sums.py",
        "return list(totals)",
        "return [*totals[1:], totals[0]]",
        "agr/small_matrices",
    ),
    Mutant(
        "two expressions on no platform",
        "_agr/psi.py",
        "cpu=functools.partial(_sums_apart, groups)",
        "cpu=functools.partial(_sums_together, groups)",
        "agr/small_matrices every/compiled",
    ),
    Mutant(
        "strengths of two trees are mixed up",
        "_agr/psi.py",
        "in degrees\n        for _ in range(size)\n    ]",
        "in degrees * size\n    ]",
        "agr/adan " + ADAN,
    ),
    Mutant(
        "a bound of 1 stays in the program",
        "_agr/psi.py",
        "isinstance(number, float) and number == 1",
        "False",
        "agr/psi every/compiled agr/damping",
        equal="min(alpha, 1) and 1 alpha are alpha; the program is longer",
    ),
    Mutant(
        "groups of one entry",
        "_agr/matrices.py",
        "several = math.prod(shape) * shards > 1",
        "several = math.prod(shape) * shards > 0",
        "agr/matrices agr/psi",
    ),
    Mutant(
        "vectors are matrices",
        "_agr/matrices.py",
        'entry == "all" or (len(shape) >= 2 and',
        'entry == "all" or (len(shape) >= 1 and',
        "agr/matrices agr/psi",
    ),
    Mutant(
        "a bias of two axes is a matrix",
        "_agr/matrices.py",
        'len(shape) >= 2 and own_name != "bias"',
        "len(shape) >= 2",
        "agr/matrices",
    ),
    Mutant(
        "one tuple for all takes vectors, too",
        "_agr/matrices.py",
        "if entries.by_path is None and len(shape) < 2:",
        "if entries.by_path is None and len(shape) < 1:",
        "agr/matrices agr/stacked_layers",
    ),
    Mutant(
        "no lookup by full path",
        "_agr/matrices.py",
        "if names in self.by_path:",
        "if False:",
        "agr/matrices flax/nnx agr/stacked_layers",
    ),
    Mutant(
        "no lookup by bare path",
        "_agr/matrices.py",
        "if bare in self.by_bare_path:",
        "if False:",
        "agr/matrices flax/nnx agr/stacked_layers flax/train_state",
    ),
    Mutant(
        "replicated leaves are summed once a device",
        "_shared/mesh.py",
        "return tuple(name for name in names if _may_split(leaf, name))",
        "return tuple(names)",
        "mesh/sharding gal/jax_transforms",
    ),
    # Algorithm 2, AdamW with AGR.
    Mutant(
        "the first moment sees the raw gradient",
        "_agr/adamw.py",
        "update_moment(regularized, widened(mu), b1, 1)",
        "update_moment(gradients, widened(mu), b1, 1)",
        ADAM,
    ),
    Mutant(
        "the second moment sees Psi",
        "_agr/adamw.py",
        "            gradients, widened(nu), b2, 2",
        "            regularized, widened(nu), b2, 2",
        ADAM,
    ),
    Mutant(
        "Nesterov's gradient is not corrected for bias",
        "_agr/adamw.py",
        "optax.tree.bias_correction(regularized, b1, count)",
        "regularized",
        ADAM,
    ),
    Mutant(
        "Nesterov's moment is corrected a step too early",
        "_agr/adamw.py",
        "bias_correction(mu, b1, optax.safe_increment(count))",
        "bias_correction(mu, b1, count)",
        ADAM,
    ),
    Mutant(
        "Nesterov's gradient is the raw one",
        "_agr/adamw.py",
        "optax.tree.bias_correction(regularized, b1, count)",
        "optax.tree.bias_correction(gradients, b1, count)",
        ADAM,
    ),
    Mutant(
        "eps stands inside the root",
        "_shared/moments.py",
        "return jnp.sqrt(n if is_0 else n + eps_root) + eps",
        "return jnp.sqrt((n if is_0 else n + eps_root) + eps)",
        ADAM,
    ),
    Mutant(
        "Adam's moments are formed in their own dtype",
        "_agr/adamw.py",
        "gradients, regularized = widened(updates), widened(regularized)",
        "gradients = updates",
        ADAM,
    ),
    # Algorithm 1, Adan with and without AGR.
    Mutant(
        "the regularized difference takes the raw gradient",
        "_agr/adan.py",
        'if self.difference == "printed":',
        "if True:",
        ADAN,
    ),
    Mutant(
        "the second moment's difference is the first one's",
        "_adan/moments.py",
        "raw_d = d if is_plain else _difference(gradients, g, first)",
        "raw_d = d",
        ADAN,
    ),
    Mutant(
        "a restart keeps the previous gradient",
        "_adan/moments.py",
        "first = state.since_restart == 0",
        "first = state.count == 0",
        ADAN,
    ),
    Mutant(
        "the difference is weighted as optax does",
        "_adan/moments.py",
        "            b2,\n            optax.tree.bias_correction(v,",
        "            1 - b2,\n            optax.tree.bias_correction(v,",
        ADAN,
    ),
    Mutant(
        "the extrapolated gradient is the gradient",
        "_adan/moments.py",
        "extrapolated = optax.tree.add_scale(gradients, b2, raw_d)",
        "extrapolated = gradients",
        ADAN,
    ),
    Mutant(
        "the second moment is corrected by all updates",
        "_adan/moments.py",
        "optax.tree.bias_correction(n, b3, since_restart)",
        "optax.tree.bias_correction(n, b3, count)",
        ADAN,
    ),
    Mutant(
        "the previous strength is that of now",
        "_agr/adan.py",
        "jnp.maximum(state.count - 1, 0)",
        "state.count",
        ADAN,
    ),
    Mutant(
        "an injected strength is not kept",
        "_adan/moments.py",
        "agr_strength=now[0]",
        "agr_strength=state.agr_strength",
        ADAN,
    ),
    Mutant(
        "an injected largest coefficient is not kept",
        "_adan/moments.py",
        "agr_max_alpha=now[1]",
        "agr_max_alpha=state.agr_max_alpha",
        ADAN,
    ),
    Mutant(
        "the regularized gradient is kept",
        "_adan/moments.py",
        "g=stored(updates, _previous(gradients, v, n, g), state.g)",
        "g=stored(updates, _previous(regularized, v, n, g), state.g)",
        ADAN,
    ),
    Mutant(
        "the moments' dtype is that of m",
        "_adan/moments.py",
        "n=stored(updates, n, state.n)",
        "n=stored(updates, n, state.m)",
        ADAN,
    ),
    Mutant(
        "a restart keeps the second moment",
        "_adan/moments.py",
        "        n=emptied(state.n),\n",
        "",
        ADAN,
    ),
    Mutant(
        "a restart a step too early",
        "_adan/restart.py",
        "return count % restart == 0",
        "return (count + 1) % restart == 0",
        ADAN,
    ),
    Mutant(
        "the proximal decay is not divided by",
        "_adan/proximal.py",
        "/ (1 + lr * wd)",
        "/ 1",
        ADAN,
    ),
    Mutant(
        "the proximal count stands at decay 0",
        "_adan/proximal.py",
        "return updates, _advanced(state)",
        "return updates, state",
        ADAN,
    ),
    Mutant(
        "the proximal decay is formed in the narrow dtype",
        "_adan/proximal.py",
        "wide = jnp.result_type(u, theta)",
        "wide = jnp.result_type(theta)",
        ADAN + " every/precision",
    ),
    # Dtypes of both.
    Mutant(
        "a decay of 1 divides by 0",
        "_shared/moments.py",
        "return jnp.minimum(jnp.asarray(decay, jnp.float32), below_1)",
        "return jnp.asarray(decay, jnp.float32)",
        "every/narrow_moments every/wrappers",
    ),
    Mutant(
        "eps may be 0",
        "_shared/moments.py",
        "return jnp.maximum(jnp.asarray(eps, jnp.float32), least)",
        "return jnp.asarray(eps, jnp.float32)",
        "every/narrow_moments every/wrappers",
    ),
    Mutant(
        "a real moment of a complex gradient",
        "_shared/moments.py",
        "is_own = dtype is None or jnp.iscomplexobj(param) !=",
        "is_own = dtype is None or jnp.iscomplexobj(param) and not",
        "every/moments every/narrow_moments",
    ),
    Mutant(
        "second moments as narrow as the parameters",
        "_shared/moments.py",
        "return wide_dtype(param) if is_own else dtype",
        "return jnp.result_type(param) if is_own else dtype",
        "every/narrow_moments",
    ),
    Mutant(
        "steps as narrow as the gradients",
        "_shared/dtypes.py",
        "dtype = u.dtype if is_float0 else jnp.result_type(u, p)",
        "dtype = u.dtype if is_float0 else jnp.result_type(u)",
        "every/contract every/precision",
    ),
    Mutant(
        "float16 is wide enough",
        "_shared/dtypes.py",
        "jnp.finfo(dtype).bits < 32",
        "jnp.finfo(dtype).bits < 16",
        "every/precision agr/psi",
    ),
    # Eq. 3 to 5 and Algorithm 1 of LGA.
    Mutant(
        "an excess of eps does not count",
        "_lga/status.py",
        "is_active = (excess >= eps)",
        "is_active = (excess > eps)",
        LGA,
    ),
    Mutant(
        "a loss at the upper bound does not count",
        "_lga/status.py",
        "is_active &= jnp.minimum(f, LARGEST_BOUND) <= upper",
        "is_active &= jnp.minimum(f, LARGEST_BOUND) < upper",
        LGA,
    ),
    Mutant(
        "a bound of the largest loss is none",
        "_lga/status.py",
        "bound = jnp.minimum(mean, LARGEST_BOUND)",
        "bound = mean",
        LGA,
    ),
    Mutant(
        "gamma falls below its least value",
        "_lga/status.py",
        "        jnp.asarray(rule.gamma_min, jnp.float32),\n    )",
        "        0.0,\n    )",
        LGA,
    ),
    Mutant(
        "the first window decays gamma",
        "_lga/status.py",
        "rose = done & (windows >= 2)",
        "rose = done & (windows >= 1)",
        LGA,
    ),
    Mutant(
        "an equal mean decays gamma",
        "_lga/status.py",
        "(mean > state.lga_last_mean)",
        "(mean >= state.lga_last_mean)",
        LGA,
    ),
    Mutant(
        "rounding of a long window's mean is lost",
        "_lga/status.py",
        "residue = jnp.where(joins, cut_off, state.lga_window_residue)",
        "residue = jnp.zeros_like(cut_off)",
        LGA,
    ),
    Mutant(
        "losses of both signs overflow the mean",
        "_lga/status.py",
        "share = (loss / 2 - state.lga_window_mean / 2) / count * 2",
        "share = (loss - state.lga_window_mean) / count",
        LGA,
    ),
    Mutant(
        "an excess may overflow",
        "_lga/status.py",
        "excess = jnp.clip(f - lower, -LARGEST, LARGEST)",
        "excess = f - lower",
        LGA,
    ),
    Mutant(
        "a window past its size stays open",
        "_lga/status.py",
        "(size >= rule.status_every)",
        "(size == rule.status_every)",
        LGA,
    ),
    Mutant(
        "Eq. 3 counts windows from 0",
        "_lga/status.py",
        "jnp.log(k + 10)",
        "jnp.log(k + 9)",
        LGA,
    ),
    Mutant(
        "the base of the logarithm is e",
        "_lga/status.py",
        "weight = log_base / jnp.log(k + 10)",
        "weight = 1 / jnp.log(k + 10)",
        LGA,
    ),
    Mutant(
        "the average forgets",
        "_lga/status.py",
        "weight = 1 - 1 / jnp.maximum(k, 1)",
        "weight = 1 - 1 / jnp.maximum(k, 2)",
        LGA,
    ),
    Mutant(
        "Eq. 3 has its weights swapped",
        "_lga/status.py",
        "return weight * before + (1 - weight) * mean",
        "return weight * mean + (1 - weight) * before",
        LGA,
    ),
    Mutant(
        "Omega of a window takes the step's loss",
        "_lga/status.py",
        'if rule.omega_loss == "window":',
        "if False:",
        LGA,
    ),
    Mutant(
        "the push has no sign",
        "_lga/transform.py",
        "sign = jnp.sign(g)",
        "sign = jnp.ones_like(g)",
        LGA,
    ),
    Mutant(
        "an infinite entry is pushed",
        "_lga/transform.py",
        "is_pushed &= magnitude < jnp.inf",
        "pass",
        "lga/loops",
    ),
    Mutant(
        "an entry at the floor is left alone",
        "_lga/transform.py",
        "is_pushed = magnitude >= floor",
        "is_pushed = magnitude > floor",
        LGA,
    ),
    Mutant(
        "zeros are pushed the other way",
        "_lga/transform.py",
        "jnp.where(magnitude == 0, jnp.ones_like(g), sign)",
        "jnp.where(magnitude == 0, -jnp.ones_like(g), sign)",
        LGA,
    ),
    Mutant(
        "a floor of 0 lets zeros through",
        "_lga/transform.py",
        "is_pushed &= magnitude > 0",
        "pass",
        LGA,
    ),
    Mutant(
        "an infinite push",
        "_lga/transform.py",
        "jnp.minimum(used.gamma * used.omega, status.LARGEST)",
        "used.gamma * used.omega",
        "lga/loops",
    ),
    Mutant(
        "small matrices are pushed by products",
        "_lga/transform.py",
        "dtype == jnp.float32 and g.size > SMALL",
        "dtype == jnp.float32",
        "every/compiled",
    ),
    Mutant(
        "large matrices are pushed by a quotient",
        "_lga/transform.py",
        "dtype == jnp.float32 and g.size > SMALL",
        "False",
        "every/compiled",
    ),
    Mutant(
        "each moment has zeros of its own",
        "_shared/moments.py",
        "if dtype not in pairs:",
        "if True:",
        "every/compiled",
    ),
    Mutant(
        "the reciprocal of one round",
        "_lga/transform.py",
        "for _ in range(3):",
        "for _ in range(1):",
        LGA,
    ),
    # Eq. 3 to 7 of GAL.
    Mutant(
        "the layers are drawn with one key",
        "_gal/linear_stack.py",
        "key, for_kernel, for_bias = jax.random.split(key, 3)",
        "_, for_kernel, for_bias = jax.random.split(key, 3)",
        "gal/linear_stack gal/transform gal/adjustment",
    ),
    Mutant(
        "a layer's bound is by its fan out",
        "_gal/linear_stack.py",
        "bound = 1 / math.sqrt(fan_in)",
        "bound = 1 / math.sqrt(fan_out)",
        "gal/linear_stack gal/transform gal/adjustment",
    ),
    Mutant(
        "the last bias of many features counts half its slopes",
        "_gal/linear_stack.py",
        "ones = jnp.ones_like(jnp.sum(x, axis=-1, keepdims=True))",
        "ones = jnp.ones_like(jnp.sum(x, axis=-1, keepdims=True)) / 2",
        "gal/linear_stack",
    ),
    Mutant(
        "the activation of many features is not pulled back",
        "_gal/linear_stack.py",
        "(slope,) = activations[index](slope)",
        "pass",
        "gal/linear_stack",
    ),
    Mutant(
        "a shard sums the gradient of many features with the others'",
        "_gal/linear_stack.py",
        "activation, vary(theta, names), features",
        "activation, theta, features",
        "gal/linear_stack",
    ),
    Mutant(
        "many features are transposed for theta's gradient",
        "_gal/linear_stack.py",
        "if features.shape[-1] < WIDE:",
        "if features.shape[-1] < 2 * WIDE:",
        "gal/linear_stack",
    ),
    Mutant(
        "theta's gradient has a row for each of many features",
        "_gal/linear_stack.py",
        "cpu=jax.lax.optimization_barrier,",
        "cpu=lambda kernel: kernel,",
        "gal/linear_stack",
    ),
    Mutant(
        "v at eps turns",
        "_gal/adjustment.py",
        "usable = (length > adjuster.eps)",
        "usable = (length >= adjuster.eps)",
        GAL,
    ),
    Mutant(
        "a tie has improved",
        "_gal/algorithm.py",
        "improved = change(adjusted) < change(vanilla.gradient)",
        "improved = change(adjusted) <= change(vanilla.gradient)",
        GAL,
    ),
    Mutant(
        "v is not turned in its slope",
        "_gal/adjustment.py",
        "return jnp.where(size == 0, 0, size * slope) - along_v",
        "return jnp.where(size == 0, 0, size * slope)",
        GAL,
    ),
    Mutant(
        "the share of v is divided by its length once",
        "_gal/adjustment.py",
        "self.per_length**2",
        "self.per_length",
        GAL,
    ),
    Mutant(
        "the remainder has no sign in its mean's slope",
        "_gal/adjustment.py",
        "return mean, batch.used(jnp.sign(r) * batch.part)",
        "return mean, batch.used(batch.part)",
        GAL,
    ),
    Mutant(
        "released: the mean has no sign",
        "_gal/adjustment.py",
        "jnp.sign(mean) * batch.share",
        "batch.share",
        GAL,
    ),
    Mutant(
        "released: the first-order term has one 1 / N",
        "_gal/algorithm.py",
        "r = r - descent + descent / batch.count",
        "r = r",
        GAL,
    ),
    Mutant(
        "released: its slope has one 1 / N",
        "_gal/algorithm.py",
        "slope = slope - vanilla.gradient + vanilla.gradient / batch.count",
        "slope = slope",
        GAL,
    ),
    Mutant(
        "the remainder is twice the curvature's",
        "_gal/adjustment.py",
        "near, far = along_delta(slope) / 2,",
        "near, far = along_delta(slope),",
        GAL,
    ),
    Mutant(
        "cancellation is taken for a remainder",
        "_gal/adjustment.py",
        "is_noise = jnp.abs(far) <= 8 *",
        "is_noise = jnp.abs(far) < 0 *",
        GAL,
    ),
    Mutant(
        "steps are small by another example's",
        "_gal/adjustment.py",
        "jnp.max(jnp.abs(delta), axis=-1, keepdims=True)",
        "jnp.max(jnp.abs(delta), keepdims=True)",
        GAL,
    ),
    Mutant(
        "an equal loss is not accepted",
        "_gal/adjustment.py",
        'return change <= 0 if adjuster.accept == "<=" else change < 0',
        "return change < 0",
        GAL,
    ),
    Mutant(
        "accepted is what never is",
        "_gal/adjustment.py",
        'adjuster.accept == "always"',
        'adjuster.accept == "never"',
        GAL,
    ),
    Mutant(
        "a climbing example steps down",
        "_gal/adjustment.py",
        "return jnp.where(batch.climbs, -step, step)[..., None]",
        "return jnp.broadcast_to(step, batch.climbs.shape)[..., None]",
        GAL,
    ),
    Mutant(
        "a climbing example is accepted when it falls",
        "_gal/adjustment.py",
        "        change = batch.signed(change)\n",
        "        pass\n",
        GAL,
    ),
    Mutant(
        "weights' shares are of their sizes",
        "_gal/examples.py",
        "share = weights / count\n",
        "share = weights / size\n",
        GAL,
    ),
    Mutant(
        "weights of no mean give numbers",
        "_gal/examples.py",
        "jnp.where(has_mean, count, jnp.nan)",
        "jnp.where(has_mean, count, 1)",
        GAL,
    ),
    Mutant(
        "the network sees masked entries",
        "_gal/network.py",
        "is_seen = (batch.share != 0)[..., None] & ~is_mask",
        "is_seen = (batch.share != 0)[..., None]",
        GAL + " gal/vocabulary",
    ),
    Mutant(
        "theta's gradient is that of one shard",
        "_shared/mesh.py",
        "return sum_by_name(leaf, splitting_names(leaf, names))",
        "return leaf",
        "gal/jax_transforms",
    ),
    Mutant(
        "the padding has a gradient",
        "_gal/losses.py",
        "gradient = jnp.where(used[..., None], gradient, 0)",
        "pass",
        "gal/numbers gal/losses",
    ),
    Mutant(
        "what a loss closes over has no gradient",
        "_gal/losses.py",
        "return value, tangent if moved is None else tangent + moved",
        "return value, tangent",
        "gal/losses gal/weights",
    ),
    Mutant(
        "theta moves by what is not finite",
        "_gal/transform.py",
        "lambda new, old: jnp.where(is_finite, new, old)",
        "lambda new, old: new",
        "gal/transform gal/limits",
    ),
    Mutant(
        "a square may overflow in theta's optimizer",
        "_gal/transform.py",
        "all_finite((squares, theta))",
        "all_finite((gradient, theta))",
        "gal/transform gal/limits",
    ),
    # The direct route, and a step's gradients.
    Mutant(
        "gradients are made beside those that are given",
        "_gal/direct.py",
        "is_given = arguments.has_nodes(plain)",
        "is_given = False",
        DIRECT,
    ),
    Mutant(
        "an empty tree of gradients is one",
        "_gal/arguments.py",
        "return len(leaves) > 0",
        "return True",
        DIRECT,
    ),
    Mutant(
        "a shard makes its own gradients",
        "_gal/direct.py",
        "slope = sum_of_shards(arguments.plain(slope), adjuster.axis_name)",
        "slope = arguments.plain(slope)",
        DIRECT,
    ),
    Mutant(
        "an integer's gradient is the integer",
        "_gal/arguments.py",
        "return jnp.zeros_like(param) if is_number else param",
        "return param",
        DIRECT,
    ),
    Mutant(
        "a layer of integers has no gradient",
        "_gal/direct.py",
        "has_aux=True, allow_int=True",
        "has_aux=True",
        DIRECT,
    ),
    Mutant(
        "the head's params come before the features",
        "_gal/direct.py",
        "pulled_back_with_head(pullback, slopes[::-1])",
        "pulled_back_with_head(pullback, slopes)",
        DIRECT,
    ),
    Mutant(
        "blocks of given gradients are passed over",
        "_gal/direct.py",
        "arguments.check_not_in_blocks(head, block_size)",
        "pass",
        DIRECT,
    ),
    Mutant(
        "the loss of several shards is one shard's",
        "_gal/adjuster.py",
        "mean = sum_by_name(mean, self.axis_name)",
        "pass",
        "gal/jax_transforms gal/step " + BLOCKS,
    ),
    Mutant(
        "one of several arguments is no tuple",
        "_gal/step.py",
        "tuple(grads) if is_several else grads[0]",
        "tuple(grads) if len(grads) > 1 else grads[0]",
        "gal/step",
    ),
    Mutant(
        "two numbers of features are one",
        "_gal/arguments.py",
        "if of_adjuster not in (None, size):",
        "if False:",
        "gal/arguments",
    ),
    # Blocks of examples.
    Mutant(
        "an example counts again in the last block",
        "_gal/blockwise.py",
        "if not blocks.is_even:",
        "if False:",
        BLOCKS,
    ),
    Mutant(
        "the last block takes what an earlier one has put there",
        "_gal/blocks.py",
        "block = jnp.where(is_new, block, self.take(view, index))",
        "pass",
        BLOCKS,
    ),
    Mutant(
        "the gradient of a block has no shares",
        "_gal/blockwise.py",
        "share[..., None] * vanilla.gradient, 0",
        "vanilla.gradient / share.size, 0",
        BLOCKS,
    ),
    Mutant(
        "the padding of a block has a gradient",
        "_gal/blockwise.py",
        "(share != 0)[..., None], share[..., None] * vanilla.gradient, 0",
        "True, share[..., None] * vanilla.gradient, 0",
        BLOCKS,
    ),
    Mutant(
        "blocks pull the plain gradient back",
        "_gal/blockwise.py",
        "cotangent = gradient + added.cotangent",
        "cotangent = gradient",
        BLOCKS,
    ),
    Mutant(
        "all blocks have the same noise",
        "_gal/blockwise.py",
        "key = jax.random.fold_in(key, index)",
        "pass",
        BLOCKS,
    ),
    Mutant(
        "shares underflow in float16",
        "_gal/blockwise.py",
        "unit = _unit(cotangent, share.size)",
        "unit = 1",
        BLOCKS,
    ),
    Mutant(
        "a sum over many examples is infinite in float16",
        "_gal/blockwise.py",
        "return 2.0**8 / (examples * largest)",
        "return 2.0**8 / largest",
        BLOCKS,
    ),
    Mutant(
        "hidden states in float16 have no room beside wide logits",
        "_gal/blockwise.py",
        "for x in (z, block.hidden, *numbers)):",
        "for x in (z,)):",
        BLOCKS,
    ),
    Mutant(
        "a mesh of one device has the axes that are no more",
        "_gal/blocks.py",
        "spec[:num_axes] = [None]",
        "pass",
        BLOCKS,
    ),
    Mutant(
        "a mesh has as many blocks as an axis can be cut into",
        "_gal/blocks.py",
        "for count in range(wanted, min(2 * wanted, length // part) + 1)",
        "for count in range(2, length // part + 1)",
        BLOCKS,
    ),
    Mutant(
        "float16 keeps the gradients of hidden states",
        "_gal/blockwise.py",
        "return jnp.float32 if is_narrow else array.dtype",
        "return array.dtype",
        BLOCKS,
    ),
    Mutant(
        "a shard waits for the others in each block",
        "_gal/blockwise.py",
        "inputs = vary((numbers, given.hidden), names)",
        "inputs = numbers, given.hidden",
        BLOCKS,
    ),
    Mutant(
        "what a block's loss closes over has no gradient",
        "_gal/losses.py",
        "return mean, tangent if moved is None else tangent + moved",
        "return mean, tangent",
        BLOCKS,
    ),
    Mutant(
        "the known gradient has no derivative",
        "_gal/losses.py",
        "return slopes, zeros if moved is None else moved",
        "return slopes, zeros",
        BLOCKS,
    ),
    Mutant(
        "a device loses its examples",
        "_gal/blocks.py",
        "return [devices] * (array.ndim - 1)",
        "return [1] * (array.ndim - 1)",
        BLOCKS,
    ),
]


def is_there(mutant: Mutant) -> bool:
    """Whether the text to be changed stands in the source, once."""
    source = (ROOT / "optaxmods" / mutant.file).read_text()
    return source.count(mutant.old) == 1


def survives(mutant: Mutant, copy: pathlib.Path) -> bool:
    file = copy / "optaxmods" / mutant.file
    before = file.read_text()
    file.write_text(before.replace(mutant.old, mutant.new))
    try:
        return all(passes(name, copy) for name in mutant.tests.split())
    finally:
        file.write_text(before)


def module_of(name: str) -> str:
    folder, module = name.split("/")
    return f"{folder}/test_{module}.py"


def passes(name: str, copy: pathlib.Path) -> bool:
    module = copy / "tests" / module_of(name)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p"]
    command += ["no:cacheprovider", str(module)]
    environment = os.environ | {"PYTHONPATH": str(copy)}
    if "usual_compilation" not in module.read_text():  # As make test does.
        environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    done = subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True
    )
    # 1: a test failed; 2: one could not be collected, as at an error on import.
    if done.returncode not in (0, 1, 2):
        raise RuntimeError(done.stdout + done.stderr)
    return done.returncode == 0


def main(parts: list[str]) -> int:
    chosen = [
        mutant
        for mutant in MUTANTS
        if not parts or any(part in mutant.name for part in parts)
    ]
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder)
        shutil.copytree(ROOT / "optaxmods", copy / "optaxmods")
        for name in ("benchmarks", "docs", "tests"):
            shutil.copytree(
                ROOT / name,
                copy / name,
                ignore=shutil.ignore_patterns("_build", "__pycache__"),
            )
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, copy / name)
        for mutant in chosen:
            result = "survived" if survives(mutant, copy) else "killed"
            if result == "survived" and mutant.equal:
                result += f", equal: {mutant.equal}"
            elif result == "survived":
                survivors += 1
            print(f"{mutant.name} ({mutant.file}): {result}", flush=True)
    print(f"{len(chosen)} mutants, {survivors} survived that ought not to")
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
