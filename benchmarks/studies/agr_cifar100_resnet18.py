"""AGR on CIFAR-100 with ResNet-18, for an accelerator."""

from benchmarks.models import ResNet18
from benchmarks.studies._agr_images import cifar_study, table_5

STUDY = cifar_study(
    "ResNet-18",
    ResNet18,
    100,
    paper=table_5(
        adamw=("59.31", "67.26", "67.64"), adamw_agr=("61.54", "67.91", "68.50")
    ),
)
