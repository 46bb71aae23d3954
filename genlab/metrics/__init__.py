"""Measures of a generator's samples; they take feature vectors and predictions, and train nothing."""

from genlab.metrics.collapse import ClassCoverage, class_coverage, diversity, least_diverse
from genlab.metrics.distribution import (
    PRDC,
    DensityCoverage,
    PrecisionRecall,
    Reference,
    density_coverage,
    frechet_distance,
    kernel_distance,
    prdc,
    precision_recall,
)

__all__ = [
    "PRDC",
    "ClassCoverage",
    "DensityCoverage",
    "PrecisionRecall",
    "Reference",
    "class_coverage",
    "density_coverage",
    "diversity",
    "frechet_distance",
    "kernel_distance",
    "least_diverse",
    "prdc",
    "precision_recall",
]
