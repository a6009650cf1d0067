"""AGR on CIFAR-10 with ResNet-18, for an accelerator."""

from benchmarks.models import ResNet18
from benchmarks.studies._agr_images import CIFAR, cifar_study, limits
from benchmarks.study import Preset

STUDY = cifar_study(
    "ResNet-18",
    ResNet18,
    10,
    # Sized by operations, as tests/benchmarks/training/test_operations.py has.
    device=Preset(
        {**CIFAR, "epochs": 6, **limits(None, None), "vmapped": False},
        seeds=2,
        methods=["adamw", "adamw_agr", "clip+adamw"],
        accelerator=True,
    ),
)
