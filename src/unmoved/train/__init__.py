"""Models worth certifying: training objectives and the one loop."""

from unmoved.train.architectures import mlp, small_cnn
from unmoved.train.ibp import Ibp
from unmoved.train.initialise import default_init, interval_init
from unmoved.train.loop import Epoch, History, Plan, fit
from unmoved.train.objective import Loss, Measured, Moment, Objective
from unmoved.train.schedule import ConstantThenCosine, SmoothRamp
from unmoved.train.smoothing import Consistency, Denoising, GaussianNoise, Macer, SmoothAdv, Stability

__all__ = [
    "Consistency",
    "ConstantThenCosine",
    "Denoising",
    "Epoch",
    "GaussianNoise",
    "History",
    "Ibp",
    "Loss",
    "Macer",
    "Measured",
    "Moment",
    "Objective",
    "Plan",
    "SmoothAdv",
    "SmoothRamp",
    "Stability",
    "default_init",
    "fit",
    "interval_init",
    "mlp",
    "small_cnn",
]
