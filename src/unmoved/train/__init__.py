"""Models worth certifying: training objectives and the one loop."""

from unmoved.train.adversarial import Adversarial, Trades
from unmoved.train.architectures import mlp, small_cnn
from unmoved.train.blend import Blend
from unmoved.train.certified import CcIbp, CrownIbp, ExpIbp, Ibp, MtlIbp, Sabr, Staps
from unmoved.train.checkpoint import Checkpoints
from unmoved.train.descent import Descent
from unmoved.train.initialise import default_init, interval_init
from unmoved.train.lipschitz import MarginLoss, MarginRadii, lipschitz_bound, lipschitz_cnn, margin_radii
from unmoved.train.loop import Epoch, History, Plan, fit
from unmoved.train.objective import Loss, Measured, Moment, Objective
from unmoved.train.schedule import ConstantThenCosine, SmoothRamp
from unmoved.train.smoothing import Consistency, Denoising, GaussianNoise, Macer, SmoothAdv, Stability
from unmoved.train.stopping import CertifiedShare, Stopping

__all__ = [
    "Adversarial",
    "Blend",
    "CcIbp",
    "CertifiedShare",
    "Checkpoints",
    "Consistency",
    "ConstantThenCosine",
    "CrownIbp",
    "Denoising",
    "Descent",
    "Epoch",
    "ExpIbp",
    "GaussianNoise",
    "History",
    "Ibp",
    "Loss",
    "Macer",
    "MarginLoss",
    "MarginRadii",
    "Measured",
    "Moment",
    "MtlIbp",
    "Objective",
    "Plan",
    "Sabr",
    "SmoothAdv",
    "SmoothRamp",
    "Stability",
    "Staps",
    "Stopping",
    "Trades",
    "default_init",
    "fit",
    "interval_init",
    "lipschitz_bound",
    "lipschitz_cnn",
    "margin_radii",
    "mlp",
    "small_cnn",
]
