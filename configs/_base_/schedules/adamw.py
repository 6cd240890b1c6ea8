"""AdamW with weight decay 0.05. Norms, biases, tokens and positions are not decayed.

`paramwise_cfg` takes learning rates by layer (`layer_decay`) and by part of the model (`lr_mult`). Read together with
one of the schedules.
"""

from mmengine.optim import OptimWrapper
from torch.optim import AdamW

from vislab.engine.optim.layer_decay import LayerDecayOptimConstructor

optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05, fused=True),
    constructor=LayerDecayOptimConstructor,
    paramwise_cfg=dict(layer_decay=1.0),
)
