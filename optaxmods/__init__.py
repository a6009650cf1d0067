"""Published gradient modifications as Optax gradient transformations."""

import importlib
from typing import TYPE_CHECKING, Any

from optaxmods._adan.moments import ScaleByAdanState
from optaxmods._adan.proximal import ProximalDecayState
from optaxmods._adan.transform import adan, scale_by_adan
from optaxmods._agr.adamw import adamw_agr, scale_by_agr_adam
from optaxmods._agr.adan import adan_agr, scale_by_agr_adan
from optaxmods._agr.transform import AgrState, agr, agr_coefficients
from optaxmods._gal.adjuster import GradientAdjuster
from optaxmods._gal.step import value_and_adjusted_grad
from optaxmods._gal.transform import GalState, adjuster_params, gal
from optaxmods._lga.status import LgaState
from optaxmods._lga.transform import WithLgaState, lga, lga_push, with_lga

__version__ = "0.2.0"

__all__ = [
    "AgrState",
    "GalState",
    "GradientAdjuster",
    "LgaState",
    "ProximalDecayState",
    "ScaleByAdanState",
    "WithLgaState",
    "adamw_agr",
    "adan",
    "adan_agr",
    "adjuster_params",
    "agr",
    "agr_coefficients",
    "gal",
    "lga",
    "lga_push",
    "scale_by_adan",
    "scale_by_agr_adam",
    "scale_by_agr_adan",
    "value_and_adjusted_grad",
    "with_lga",
]

if TYPE_CHECKING:
    from optaxmods import flax as flax
else:

    def __getattr__(name: str) -> Any:
        # Flax takes longer to import than all the rest.
        if name == "flax":
            return importlib.import_module("optaxmods.flax")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted([*__all__, "__version__", "flax"])
