"""MutDet: pre-training of rotated-box detectors with object embeddings (Huang et al., arXiv 2407.09920)."""
