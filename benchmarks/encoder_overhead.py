"""Overhead of TimmEncoder compared to timm's `features_only` model with the same weights, on the CPU.

Prints the maximum difference of the outputs, then interleaved times. Target: a ratio of at most 1.02.
"""

import _common


def main() -> None:
    args = _common.parser(__doc__).parse_args()
    import timm
    import torch

    from vislab.models.encoders.timm_encoder import TimmEncoder

    torch.set_num_threads(args.threads)
    names = ["resnet18", "convnext_atto", "vit_tiny_patch16_224"]
    size, pairs = (96, 9) if args.quick else (224, 21)
    rows, worst, parity = [], 0.0, 0.0
    for name in names:
        torch.manual_seed(0)
        ours = TimmEncoder(name=name, img_size=size if "vit" in name else None).eval()
        extra = {"img_size": size} if "vit" in name else {}
        theirs = timm.create_model(name, features_only=True, out_indices=ours.out_indices, **extra).eval()
        theirs.load_state_dict(_renamed(ours.model.state_dict(), theirs.state_dict()))
        images = torch.rand(2, 3, size, size)
        with torch.no_grad():
            parity = max(
                parity, *((a - b).abs().max().item() for a, b in zip(ours(images), theirs(images), strict=True))
            )
        times = _common.interleave({"timm": _step(theirs, images), "TimmEncoder": _step(ours, images)}, pairs=pairs)
        for kind, one in times.items():
            rows.append(_common.timing_row(f"{name} {kind}", one, base=times["timm"]))
        worst = max(worst, _common.ratio(times["TimmEncoder"]["cpu"], times["timm"]["cpu"]))
    line = f"parity: largest difference {parity:.1e} over {len(names)} models, {size} px, batch 2"
    print(line)
    table = _common.print_table(rows)
    if not args.no_record:
        _common.record(f"{line}\n\n{table}", quick=args.quick)
    _common.result(parity=parity, worst_cpu_ratio=worst)


def _renamed(state: dict, wanted: dict) -> dict:
    """Match parameter names with timm's wrapper, which flattens some (`stages.0` -> `stages_0`) or adds `model.`."""
    by_plain = {name.replace(".", "_"): value for name, value in state.items()}
    return {name: by_plain[name.removeprefix("model.").replace(".", "_")] for name in wanted}


def _step(model, images):
    def step():
        model.zero_grad()
        sum(m.square().mean() for m in model(images)).backward()

    return step


if __name__ == "__main__":
    main()
