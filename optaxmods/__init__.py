"""Published gradient modifications as Optax gradient transformations."""

import importlib
from typing import TYPE_CHECKING, Any

from optaxmods._adamw_agr import adamw_agr, scale_by_agr_adam
from optaxmods._adan import adan, adan_agr
from optaxmods._agr import AgrState, agr, agr_coefficients
from optaxmods._gal import GalState, adjuster_params, gal
from optaxmods._gradient_adjuster import GradientAdjuster
from optaxmods._lga import WithLgaState, lga, with_lga
from optaxmods._lga_status import LgaState
from optaxmods._proximal import ProximalDecayState
from optaxmods._scale_by_adan import (
    ScaleByAdanState,
    scale_by_adan,
    scale_by_agr_adan,
)

__version__ = "0.1.0"

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
    "scale_by_adan",
    "scale_by_agr_adam",
    "scale_by_agr_adan",
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
