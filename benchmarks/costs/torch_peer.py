"""A step of PyTorch's AdamW, on the CPU, as a contender of a step's cost.

PyTorch need not be there: the extra ``peers`` installs it.
"""

import importlib
import importlib.util
from typing import Any, NamedTuple

import jax
import numpy as np


def is_there() -> bool:
    return importlib.util.find_spec("torch") is not None


class State(NamedTuple):
    """PyTorch's own parameters, whose gradients stay."""

    optimizer: Any
    parameters: list[Any]


class AdamW(NamedTuple):
    """``torch.optim.AdamW(fused=True)``, after AGR's lines or without."""

    rate: float
    with_agr: bool

    def init(self, params: Any) -> State:
        torch = importlib.import_module("torch")
        parameters = [
            torch.nn.Parameter(torch.from_numpy(np.array(leaf)))
            for leaf in jax.tree.leaves(params)
        ]
        optimizer = torch.optim.AdamW(
            parameters, lr=self.rate, weight_decay=1e-4, fused=True
        )
        return State(optimizer, parameters)

    def step(
        self, params: Any, state: State, gradients: Any
    ) -> tuple[Any, State]:
        """A step, which changes PyTorch's parameters, not JAX's."""
        torch = importlib.import_module("torch")
        if state.parameters[0].grad is None:
            for parameter, gradient in zip(
                state.parameters, jax.tree.leaves(gradients), strict=True
            ):
                parameter.grad = torch.from_numpy(np.array(gradient))
        given = [parameter.grad for parameter in state.parameters]
        if self.with_agr:
            for parameter in state.parameters:
                size = parameter.grad.abs()
                alpha = size / size.sum()
                parameter.grad = parameter.grad - alpha * parameter.grad
        state.optimizer.step()
        for parameter, gradient in zip(state.parameters, given, strict=True):
            parameter.grad = gradient
        return params, state
