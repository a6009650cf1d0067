"""The settings of gradient adjustment learning (GAL), and its loss.

The maths stands in :mod:`optaxmods._gal.algorithm`, Algorithm 1 and Eq. 5, and
in what it calls: :mod:`optaxmods._gal.network`, Eq. 3, and
:mod:`optaxmods._gal.adjustment`, Eq. 4, 6 and 7.
"""

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any

import jax

from optaxmods._gal import arguments, objective
from optaxmods._gal import network as networks
from optaxmods._gal.losses import injected
from optaxmods._gal.network import Theta
from optaxmods._shared.arguments import check_word
from optaxmods._shared.mesh import check_axis_names, sum_by_name

ACCEPT = ("<=", "<", "always", "never")
CONVENTIONS = ("paper", "released")
REMAINDERS = ("auto", "finite", "quadratic")


@dataclasses.dataclass(frozen=True)
class GradientAdjuster:
    r"""Adjusts dl/dz by a network that learns to shrink Taylor's remainder.

    For the features :math:`z \in R^d` of one example (logits, box
    coordinates, the last hidden layer), its loss :math:`\ell(z)`, the network
    :math:`h`, the magnitude :math:`\alpha` and the tentative step
    :math:`\tilde\eta`,

    .. math::

        v &= h(z; \theta) \qquad \text{(Eq. 3)} \\
        \tilde v &= \alpha \left\| \frac{\partial \ell}{\partial z} \right\|
            \frac{v}{\|v\|} \qquad \text{(Eq. 4)} \\
        g &= \frac{\partial \ell}{\partial z} + \tilde v
            \qquad \text{(Eq. 5)}

    and g takes the place of :math:`\partial \ell / \partial z` where it is
    accepted, that is where :math:`\ell(z - \tilde\eta g) \le \ell(z)`
    (Algorithm 1, lines 7 to 10). :math:`\theta` learns to shrink the mean of

    .. math::

        |r|, \qquad r = \ell(z - \tilde\eta g) - \ell(z) + \tilde\eta
            \left\langle \frac{\partial \ell}{\partial z}, g \right\rangle
            \qquad \text{(Eq. 6, 7)}

    :meth:`loss` is the mean loss with these gradients, and :func:`gal` the
    transformation that holds and trains :math:`\theta`.

    Args:
      hidden_sizes: the widths of the default network's hidden layers;
        (256, 64, 32), the paper's for 100 classes.
      magnitude: :math:`\alpha` in [0, 1]; 0.01 (the paper's for CIFAR), which
        is for up to a thousand features.
        Training can diverge at 0.1 and above, although nearly all adjustments
        are accepted, and where losses do not vanish the minimum moves with it.
      tentative_step: :math:`\tilde\eta`; the paper's is a multiple of the
        learning rate. 1 by default. With steps below about 0.1 give
        :func:`gal` an optimizer of smaller ``eps``.
      activation: between the default network's layers; ``None``, the default,
        makes it a stack of linear layers, as the released code has it.
      network: in place of the default one, a ``flax.linen`` module or a pair
        (init, apply): ``init(key, features)`` returns theta, and
        ``apply(theta, features)`` maps [..., d] to [..., d]. An ``apply`` with
        an argument ``key`` is given :meth:`loss`'s, a module as the stream
        "dropout".
      accept: ``"<="`` (Algorithm 1), ``"<"``, ``"always"`` or ``"never"``
        (Fig. 8a).
      convention: ``"paper"``, Algorithm 1, decides and steps for each example.
        ``"released"``, the authors' code, decides once for the batch, steps
        along the mean loss's gradient and has a second :math:`1/N` in the
        first-order term, so that it depends on how a batch is split.
      remainder: ``"finite"``: Eq. 7 as a difference of losses.
        ``"quadratic"``: from the curvature along the step, for steps so small
        that the difference is rounding. ``"auto"`` takes the latter for each
        example whose step is below 0.03 in every coordinate.
      eps: where :math:`\|v\|` is not above it, nothing is adjusted; 1e-12.
      axis_name: for ``jax.shard_map``: the mesh axes over which the examples
        are split. The loss, :math:`N`, acceptance, metrics and the gradient of
        :math:`\theta` are then those of all shards.
      num_features: d, the size of the features' last axis, for :meth:`init`
        and :func:`gal`; ``None``, the default, leaves it to them.

    Raises:
      ValueError: a number ``magnitude`` outside [0, 1], a number
        ``tentative_step`` or ``eps`` that is negative or not finite, an unknown
        ``accept``, ``convention`` or ``remainder``, or another argument of no
        known form.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from optaxmods import GradientAdjuster
      >>> adjuster = GradientAdjuster(hidden_sizes=(16,))
      >>> theta = adjuster.init(jax.random.key(0), 4)
      >>> labels = jnp.array([0, 3])
      >>> def loss_fn(logits):
      ...     return optax.softmax_cross_entropy_with_integer_labels(
      ...         logits, labels
      ...     )
      >>> @jax.jit
      ... def adjusted(theta, logits):
      ...     return adjuster.loss(theta, logits, loss_fn)
      >>> loss, metrics = adjusted(theta, jnp.zeros((2, 4)))
      >>> print(f"{loss:.4f}", sorted(metrics))
      1.3863 ['acceptance', 'cosine', 'finite', 'remainder']

    References:
      `Learning to Minimize the Remainder in Supervised Learning
      <https://arxiv.org/abs/2201.09193>`_, 2022

      In plain NumPy: :ref:`tests/oracles/gal.py <numpy-gal>`
    """

    hidden_sizes: Sequence[int] = (256, 64, 32)
    magnitude: Any = 0.01
    tentative_step: Any = 1.0
    _: dataclasses.KW_ONLY
    activation: Callable[[jax.Array], jax.Array] | None = None
    network: Any = None
    accept: str = "<="
    convention: str = "paper"
    remainder: str = "auto"
    eps: Any = 1e-12
    axis_name: Any = None
    num_features: int | None = None

    def __post_init__(self) -> None:
        sizes = arguments.checked_sizes(self.hidden_sizes)
        object.__setattr__(self, "hidden_sizes", sizes)
        for name, known in (
            ("accept", ACCEPT),
            ("convention", CONVENTIONS),
            ("remainder", REMAINDERS),
        ):
            check_word(name, getattr(self, name), known)
        networks.check(self.network)
        arguments.check_eps(self.eps)
        arguments.check_step(self.tentative_step)
        check_axis_names(self.axis_name)
        if self.num_features is not None:
            arguments.check_num_features(self.num_features)
        arguments.check_activation(self.activation)
        arguments.check_magnitude(self.magnitude)

    def init(self, key: jax.Array, num_features: int | None = None) -> Theta:
        """Returns theta for features of ``num_features`` entries.

        Args:
          key: a key of ``jax.random``.
          num_features: d, at least 2; the adjuster's if it has one.

        Raises:
          ValueError: fewer features than 2, none here nor in the adjuster,
            another number than there, or a network whose parameters are not all
            real floating-point numbers.
          TypeError: a ``key`` that is none, in JAX's own words.
        """
        num_features = arguments.checked_num_features(
            num_features, self.num_features
        )
        return networks.init(self.network, self.hidden_sizes, key, num_features)

    def apply(self, theta: Theta, features: jax.Array) -> jax.Array:
        """Returns v of Eq. 3, [..., d], neither normalized nor accepted."""
        arguments.check_features(features)
        networks.check_theta(self.network, theta)
        return networks.apply(self.network, self.activation, theta, features)

    def loss(
        self,
        theta: Theta,
        features: jax.Array,
        loss_fn: Callable[..., jax.Array],
        *,
        targets: Any = None,
        head: tuple[Callable[[Any, jax.Array], jax.Array], Any] | None = None,
        block_size: int | None = None,
        tentative_step: jax.typing.ArrayLike | None = None,
        example_weights: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        r"""The mean loss, whose gradients are GAL's.

        Its value is that of the plain mean loss. Its gradient in ``features``
        is the adjusted one, and in ``theta`` that of the mean of
        :math:`|r|`; in whatever else ``loss_fn`` closes over it is the plain
        one. One backward pass gives all of them.

        Args:
          theta: what :meth:`init` returned, or :func:`adjuster_params`.
          features: [..., d], any float dtype; entries masked by minus infinity
            take no part.
          loss_fn: maps features [..., d], upcast to float32, to losses [...],
            each of its own features alone; with ``targets``, which are its
            second argument, a block of the features at a time.
          targets: a tree of arrays [..., \*rest], such as labels: all that
            ``loss_fn`` has of each example but the features. Large work is
            then done in blocks of examples: the same loss, gradients and
            metrics but for rounding, in less memory. In the convention
            "released" and, without ``block_size``, on several devices, but for
            ``jax.shard_map``, it stays whole. A mesh that ``in_shardings`` of
            ``jax.jit`` alone bring is not seen.
          head: the layer that makes the features, as a pair (function, params)
            with ``function(params, hidden)``, and ``features`` are what it
            makes them of, hidden states [..., k]. It needs ``targets``. Where
            work is done in blocks, the features are made block by block and
            thrown away. The gradients in ``params`` and in the
            hidden states are adjusted; what ``function`` closes over gets its
            plain one. Each vector must come of its own hidden state alone.
          block_size: the most examples of a block, over all devices of a
            mesh, or of one shard under ``jax.shard_map``. By default a block
            has at most 2^21 features, or a 32nd of all if that is more.
          tentative_step: in place of the adjuster's; may be traced.
          example_weights: [...], for the weighted mean
            :math:`\sum_i w_i \ell_i / \sum_i w_i`; 0 for padding. An
            example whose weight is negative, or of another sign than their
            sum, has its loss raised, and Eq. 3 to 7 are those of
            :math:`-\ell`. Weights that are all 0 give 0 and zero
            gradients; those without a finite sum, or of the sum 0, NaN. For
            advantages multiply the losses in ``loss_fn`` instead: a mean turns
            round where its weights' sum is negative.
          key: for networks that take one.

        Returns:
          The loss and a dictionary of scalars, through which no gradient
          flows: ``acceptance``, the share of accepted adjustments;
          ``remainder``, the mean of :math:`|r|`; ``cosine``, between v and
          the gradient (Fig. 6); ``finite``, whether theta's gradient is. With
          weights they are means by :math:`|w_i|`.

        Raises:
          ValueError: losses or weights of another shape than [...], or weights
            that are no real numbers; features that are no floats, or whose last
            axis is not theta's; a network that returns no real array like the
            features; a ``block_size`` for which no axis of the examples can be
            cut where each device keeps its part; another argument of no known
            form, such as a negative ``tentative_step``.
          TypeError: a ``loss_fn`` or an ``activation`` that is no function, in
            Python's own words.

        Examples:
          The last layer inside, four tokens at a time:

          >>> import jax
          >>> import jax.numpy as jnp
          >>> import optax
          >>> from optaxmods import GradientAdjuster
          >>> adjuster = GradientAdjuster(hidden_sizes=(16,))
          >>> theta = adjuster.init(jax.random.key(0), 50)
          >>> hidden, tokens = jnp.ones((2, 6, 8)), jnp.zeros((2, 6), int)
          >>> def last_layer(kernel, hidden):
          ...     return hidden @ kernel
          >>> @jax.jit
          ... def loss_of(kernel, hidden):
          ...     return adjuster.loss(
          ...         theta,
          ...         hidden,
          ...         optax.softmax_cross_entropy_with_integer_labels,
          ...         targets=tokens,
          ...         head=(last_layer, kernel),
          ...         block_size=4,
          ...     )
          >>> loss, metrics = loss_of(jnp.zeros((8, 50)), hidden)
          >>> print(f"{loss:.4f}")
          3.9120
        """
        layer, params = arguments.checked_head(head, targets)
        mean, (gradient, metrics) = objective.mean(
            self,
            theta,
            (params, features),
            targets,
            layer,
            loss_fn,
            block_size,
            tentative_step,
            example_weights,
            key,
        )
        mean = sum_by_name(mean, self.axis_name)
        return mean + injected(gradient, theta).astype(mean.dtype), metrics

    def compare(
        self,
        theta: Theta,
        features: jax.Array,
        loss_fn: Callable[..., jax.Array],
        *,
        targets: Any = None,
        head: tuple[Callable[[Any, jax.Array], jax.Array], Any] | None = None,
        block_size: int | None = None,
        tentative_step: jax.typing.ArrayLike | None = None,
        example_weights: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> jax.Array:
        r"""The share of examples whose loss g lowers more (Fig. 8b).

        The arguments are those of :meth:`loss`. An example counts where
        :math:`\ell(z - \tilde\eta g) < \ell(z - \tilde\eta\, \partial \ell /
        \partial z)`, accepted or not; one whose loss is to be raised, by the
        sign of its weight, where it is raised more.
        """
        layer, params = arguments.checked_head(head, targets)
        return objective.share_improved(
            self,
            theta,
            (params, features),
            targets,
            layer,
            loss_fn,
            block_size,
            tentative_step,
            example_weights,
            key,
        )
