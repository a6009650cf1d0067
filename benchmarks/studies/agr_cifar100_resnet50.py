"""AGR on CIFAR-100 with ResNet-50, for an accelerator."""

from benchmarks.models import ResNet50
from benchmarks.studies._agr_images import cifar_study, table_5

STUDY = cifar_study(
    "ResNet-50",
    ResNet50,
    100,
    paper=table_5(
        adamw=("61.26", "68.19", "68.80"), adamw_agr=("63.08", "68.22", "69.38")
    ),
)
