"""AGR on CIFAR-100 with VGG11, for an accelerator."""

from benchmarks.models import VGG11
from benchmarks.studies._agr_images import cifar_study, table_5

STUDY = cifar_study(
    "VGG11",
    VGG11,
    100,
    paper=table_5(
        adamw=("61.95", "65.09", "65.40"), adamw_agr=("61.45", "65.48", "65.73")
    ),
)
