"""Encoder that cae_vit_camvid.py has pre-trained, exported to `encoder_file`: 6 blocks of width 128, patches of 8.

`--cfg-options encoder_file=False` starts from random weights, to compare with.
"""

from vislab.models.encoders.timm_encoder import TimmEncoder

encoder_file = "cae_vit_camvid.safetensors"
vit = dict(
    type=TimmEncoder,
    name="vit_base_patch16_224",
    pretrained=encoder_file,
    img_size=64,
    model_args=dict(patch_size=8, embed_dim=128, depth=6, num_heads=4, init_values=0.1),
)
