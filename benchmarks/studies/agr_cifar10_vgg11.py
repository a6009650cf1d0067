"""AGR on CIFAR-10 with VGG11, for an accelerator."""

from benchmarks.models import VGG11
from benchmarks.studies._agr_images import cifar_study

STUDY = cifar_study("VGG11", VGG11, 10)
