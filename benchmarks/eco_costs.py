"""Print the cost in GMACs of each exit of the ECO-M2F CPU configs, without training or timing.

    python benchmarks/eco_costs.py

"last masks" is the product of mask embeddings and the map at stride 4 for the masks of the last output, which is "
"included in the cost of each exit. Shares are relative to the last exit,
without and with the sampling of deformable attention.

Needs VISLAB_DATA for the ImageNet weights of the configs.
"""

import os

import _common
from eco_frontier import CONFIGS, FILES

SIZES = {"mixed": (128, 128), "camvid": (192, 256), "coco_panoptic": (192, 192)}


def main() -> None:
    args = _common.parser(__doc__).parse_args()
    if not os.environ.get("VISLAB_DATA"):
        _common.skip("VISLAB_DATA, for EfficientNet-Lite0's ImageNet weights")
    from vislab.apis.build import build_model
    from vislab.systems.eco_m2f import exit_costs

    rows, added = [], {}
    for name, (height, width) in SIZES.items():
        model = build_model(str(CONFIGS / f"eco_m2f_lite0_{FILES[name]}_cpu.py"), device="cpu")
        queries, channels = model.decoder.query_feat.num_embeddings, model.pixel_decoder.mask_features.out_channels
        added[name] = queries * channels * (height // 4) * (width // 4) / 1e9
        plain, full = (exit_costs(model, height, width, model.exits, sampling=s) for s in (False, True))
        deepest = model.exits[-1]
        for k in model.exits:
            rows.append(
                {
                    "data": name,
                    "pixels": f"{height}x{width}",
                    "exit": k,
                    "GMAC": f"{plain[k]:.4f}",
                    "of it last masks": f"{added[name]:.4f}",
                    "share": f"{plain[k] / plain[deepest]:.3f}",
                    "share with sampling": f"{full[k] / full[deepest]:.3f}",
                }
            )
    note = (
        "Sections eco_frontier of 2026-11-24 and before count an exit without its last masks: their columns cost and "
        "GMAC are too low by that column, and their shares are to be read here (scenes: as mixed). Depths, qualities, "
        "gains and times do not depend on it."
    )
    print(note)
    text = note + "\n\n" + _common.print_table(rows)
    if not args.no_record:
        _common.record(text, args.quick)
    _common.result(**{f"last_masks_{name}": value for name, value in added.items()})


if __name__ == "__main__":
    main()
