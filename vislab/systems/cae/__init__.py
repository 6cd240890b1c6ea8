"""CAE: masked-image pre-training that predicts the latents of masked patches and reconstructs from them.

    masks.py      transforms that choose the masked patches: BlockMask, RandomMask, InverseBlockMask
    batch.py      from the masks of a batch to indices of patches; the data preprocessor
    targets.py    reconstruction targets: the protocol, pixels, normalized pixels
    hog.py        target: histograms of oriented gradients
    features.py   target: features of a frozen timm model
    clusters.py   target: prototypes of a moving teacher, Sinkhorn; the hook of the teacher's decay
    dvae.py       target: codes of DALL-E's dVAE; views.py has the second view of the image that it needs
    frozen.py     a network that is neither trained nor saved
    regressor.py  latent regressor and decoder
    metric.py     the mean losses of validation images
    monitor.py    statistics of the latents, and the warning when they collapse
    convert.py    whole models of the official code (two layouts) and of mmpretrain
    export.py     encoder to a file for timm and TimmEncoder
    hooks.py      reconstructions drawn during training
    model.py      CAE with modes loss | predict | tensor; CAE v2 with a target of all tokens
    controls.py   SimMIM and MAE with the same encoder, targets and monitor

Related: models/encoders/vit.py is the encoder, configs/cae has the training configs.

Papers: Chen et al., "Context Autoencoder for Self-Supervised Representation Learning", IJCV 2023, arXiv 2202.03026;
Zhang et al., "CAE v2: Context Autoencoder with CLIP Target", TMLR 2023, arXiv 2211.09799.
"""

from vislab.systems.cae.batch import MaskedImagePreprocessor, patch_ids
from vislab.systems.cae.clusters import ClusterTarget, TeacherDecayHook, sinkhorn
from vislab.systems.cae.controls import MAE, SimMIM
from vislab.systems.cae.convert import CAEWeights
from vislab.systems.cae.dvae import DalleTarget, DvaeEncoder, load_dvae
from vislab.systems.cae.export import export_encoder, timm_arguments, timm_state
from vislab.systems.cae.features import FeatureTarget
from vislab.systems.cae.frozen import Frozen
from vislab.systems.cae.hog import HogTarget
from vislab.systems.cae.hooks import ReconstructionHook
from vislab.systems.cae.masks import BlockMask, InverseBlockMask, RandomMask
from vislab.systems.cae.metric import MaskedLosses
from vislab.systems.cae.model import CAE
from vislab.systems.cae.monitor import CollapseHook, latent_statistics
from vislab.systems.cae.regressor import LatentDecoder, LatentRegressor
from vislab.systems.cae.targets import MaskedBatch, NormPixelTarget, PixelTarget, Target
from vislab.systems.cae.views import RandomResizedCropTwice

__all__ = [
    "BlockMask",
    "CAE",
    "CAEWeights",
    "ClusterTarget",
    "CollapseHook",
    "DalleTarget",
    "DvaeEncoder",
    "FeatureTarget",
    "Frozen",
    "HogTarget",
    "InverseBlockMask",
    "LatentDecoder",
    "LatentRegressor",
    "MAE",
    "MaskedBatch",
    "MaskedImagePreprocessor",
    "MaskedLosses",
    "NormPixelTarget",
    "PixelTarget",
    "RandomMask",
    "RandomResizedCropTwice",
    "ReconstructionHook",
    "SimMIM",
    "Target",
    "TeacherDecayHook",
    "export_encoder",
    "latent_statistics",
    "load_dvae",
    "patch_ids",
    "sinkhorn",
    "timm_arguments",
    "timm_state",
]
