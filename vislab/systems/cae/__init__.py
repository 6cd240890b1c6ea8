"""CAE: masked-image pre-training that predicts the latents of masked patches (Chen et al., arXiv 2202.03026)."""
