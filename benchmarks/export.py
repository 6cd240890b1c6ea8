"""Exported models of every system: largest difference to the model, and time of onnxruntime against the model.

    python benchmarks/export.py [--quick] [--threads N] [--only NAME ...] [--rows FILE]

Models have random weights, which take as long as trained ones; the batch is one image. "difference" is the largest one
of any output for three inputs, as a part of the range of the output; "choices" is the number of discrete decisions
(masks, best tokens, angles) that are compared up to ties. Times are medians of interleaved runs with the same number of
threads; "ratio" is onnxruntime's time divided by that of the model in inference mode: below 1, it is faster. "export"
is the time of tracing, conversion and check. With --rows, an interrupted run is continued by the same command, and
the table is recorded when it is complete.
"""

import gc
import json
import sys
import tempfile
import time
from pathlib import Path

import _common

CONFIGS = Path(__file__).parents[1] / "configs"
RANDOM = {"model.network.encoder.pretrained": False, "model.network.decoder.pretrained": False}
BACKBONE = {"model.backbone.pretrained": False}
MODELS = {  # name: config, (height, width), exit, changed settings
    "classifier, ResNet-50": ("tract/imagenet_resnet50_30ep_plain.py", (224, 224), None, {}),
    "classifier, ViT-S": ("tract/imagenet_deit3_vit_small_400ep_plain.py", (224, 224), None, {}),
    "timesNet depth, Lite0": ("timesnet/timesnet_lite0_lite0_rgbd_kitchen.py", (256, 320), None, RANDOM),
    "timesNet segmentation, Lite0": ("timesnet/timesnet_lite0_lite0_camvid.py", (256, 320), None, RANDOM),
    "CAE encoder, ViT-B": ("cae/cae_vit_b_imagenet_300ep_pixels.py", (224, 224), None, {}),
    "HNeRV decoder 160x320": ("hnerv/hnerv_bunny_160x320_cpu.py", (160, 320), None, {}),
    "HNeRV decoder 640x1280, 3M": ("hnerv/hnerv_bunny_640x1280_3m.py", (640, 1280), None, {}),
    "Mask2Former, Swin-T": ("eco_m2f/mask2former_swin_t_coco_panoptic.py", (384, 384), None, BACKBONE),
    "ECO-M2F, Lite0, exit 2": ("eco_m2f/eco_m2f_lite0_scenes_cpu.py", (256, 256), 2, BACKBONE),
    "ECO-M2F, Lite0, exit 6": ("eco_m2f/eco_m2f_lite0_scenes_cpu.py", (256, 256), 6, BACKBONE),
    "Deformable DETR, R50": ("mutdet/deformable_detr_r50_coco.py", (384, 384), None, BACKBONE),
    "rotated DETR, R50": ("mutdet/rotated_detr_r50_dota.py", (384, 384), None, BACKBONE),
}
QUICK = ("classifier, ViT-S", "timesNet depth, Lite0", "HNeRV decoder 160x320")


def measure(name: str, folder: Path, threads: int, pairs: int) -> dict[str, str]:
    """Export a model and return its row of the table."""
    import onnxruntime
    import torch

    from vislab.apis.build import build_model, load
    from vislab.apis.exporting import export_graph, export_model

    config, size, exit, changes = MODELS[name]
    torch.manual_seed(0)
    model = build_model(load(CONFIGS / config, changes), device="cpu")
    start = time.perf_counter()
    done = export_model(model, folder / "model.onnx", size=size, exit=exit)
    seconds = time.perf_counter() - start
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(done.path, options, providers=["CPUExecutionProvider"])
    graph = export_graph(model, exit)
    inputs = graph.example(1, size, seed=0)
    fed = {graph.input_name: inputs.numpy()}

    def eager() -> None:
        with torch.inference_mode():
            graph(inputs)

    times = _common.interleave({"eager": eager, "ort": lambda: session.run(None, fed)}, pairs=pairs, warmup=1)
    gc.collect()
    return {
        "model": name,
        "size": f"{size[0]}x{size[1]}",
        "difference": f"{done.largest.relative:.1e} ({done.largest.output})",
        "choices": str(done.choices),
        "MiB": f"{done.path.stat().st_size / 2**20:.1f}",
        "eager ms": f"{_common.statistics.median(times['eager']['wall']) * 1e3:.1f}",
        "onnxruntime ms": f"{_common.statistics.median(times['ort']['wall']) * 1e3:.1f}",
        "ratio": f"{_common.ratio(times['ort']['wall'], times['eager']['wall']):.2f}",
        "cpu ratio": f"{_common.ratio(times['ort']['cpu'], times['eager']['cpu']):.2f}",
        "export s": f"{seconds:.0f}",
    }


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="models whose names contain one of these words")
    parser.add_argument("--rows", type=Path, metavar="FILE", help="keep rows in this .json file, and skip those in it")
    args = parser.parse_args()

    import torch

    torch.set_num_threads(args.threads)
    names = [name for name in (QUICK if args.quick else MODELS) if not args.only or any(x in name for x in args.only)]
    if not names:
        sys.exit(f"error: --only {' '.join(args.only)}: no such model; there are {'; '.join(MODELS)}")
    kept = json.loads(args.rows.read_text()) if args.rows and args.rows.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        for name in (name for name in names if name not in kept):
            kept[name] = measure(name, Path(folder), args.threads, pairs=5 if args.quick else 9)
            print(kept[name], flush=True)
            if args.rows:
                args.rows.write_text(json.dumps(kept, indent=1))
    rows = [kept[name] for name in names]
    table = _common.print_table(rows)
    if not args.no_record:
        _common.record(
            f"largest difference of the outputs to eager; time of onnxruntime / eager\n\n{table}", args.quick
        )
    worst = max(float(row["difference"].split()[0]) for row in rows)
    _common.result(models=len(rows), difference=worst, ratio=_common.statistics.median(float(r["ratio"]) for r in rows))


if __name__ == "__main__":
    main()
