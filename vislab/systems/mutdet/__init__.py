"""MutDet: pre-training of rotated-box detectors with object embeddings (Huang et al., ECCV 2024, arXiv 2407.09920).

enhancement.py   objects and features enhance each other; scores of tokens
alignment.py     contrastive loss of queries and objects, and regression
objects.py       embeddings of a batch
model.py         MutDet: the two branches and their losses
hooks.py         start of fine-tuning
"""

from vislab.systems.mutdet.alignment import ContrastiveAlignment, EmbeddingRegression
from vislab.systems.mutdet.hooks import StartFromPretraining
from vislab.systems.mutdet.model import MutDet

__all__ = ["ContrastiveAlignment", "EmbeddingRegression", "MutDet", "StartFromPretraining"]
