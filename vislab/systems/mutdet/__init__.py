"""MutDet: pre-training of rotated-box detectors with object embeddings (Huang et al., ECCV 2024, arXiv 2407.09920).

Stage 1, pseudo labels:
proposals.py, contour_proposer.py   boxes without labels, from contours, masks in files or a model
crops.py, codebook.py               embeddings of rotated crops; PCA and clusters
pseudo_labels.py, recall.py         all images of a folder, resumable; recall where labels exist
pseudo_file.py, pseudo_boxes.py     the file of pseudo labels, and the dataset that reads it

Stages 2 and 3, pre-training and fine-tuning:
enhancement.py   objects and features enhance each other; scores of tokens
alignment.py     contrastive loss of queries and objects, and regression
objects.py       embeddings of a batch
random_patches.py   boxes at random places, the objects of UP-DETR
model.py         MutDet: the two branches and their losses
hooks.py         start of fine-tuning
"""

from vislab.systems.mutdet.alignment import ContrastiveAlignment, EmbeddingRegression
from vislab.systems.mutdet.hooks import StartFromPretraining
from vislab.systems.mutdet.model import MutDet
from vislab.systems.mutdet.pseudo_boxes import PseudoBoxes
from vislab.systems.mutdet.random_patches import RandomPatches

__all__ = [
    "ContrastiveAlignment",
    "EmbeddingRegression",
    "MutDet",
    "PseudoBoxes",
    "RandomPatches",
    "StartFromPretraining",
]
