"""Time of k-NN, linear and efficient probe of 20,000 images (5,000 test images) once features are cached.

    python benchmarks/probe_time.py --threads 2
    python benchmarks/probe_time.py --quick     # 1,000 images

The features are those of the small ViT of the cae_vit_cifar10 configs (65 tokens, width 128) with random weights, on
CIFAR-10; time does not depend on the weights, apart from the iterations of the logistic regression. The aim is at most
3 minutes on two cores.

Needs VISLAB_DATA with cifar10_subset.zip.
"""

import os
import time
from pathlib import Path

import _common

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("knn", "linear", "efficient")


def main() -> None:
    args = _common.parser(__doc__).parse_args()
    if not os.environ.get("VISLAB_DATA"):
        _common.skip("VISLAB_DATA, the folder of cifar10_subset.zip")
    import torch

    from vislab.apis.probing import evaluate_features
    from vislab.apis.probing_inputs import load_data, load_encoder
    from vislab.engine.features import Extractor, cached_features

    torch.set_num_threads(args.threads)
    source = load_encoder(str(ROOT / "configs/cae/cae_vit_cifar10_norm_pixel_cpu.py"))
    count = 1000 if args.quick else 20000
    sets = load_data("$VISLAB_DATA/cifar10_subset.zip", source.side, train=count, test=count // 4)
    extractor = Extractor(source.encoder, source.preprocessor, tokens=True)
    folder = ROOT / "work_dirs" / "probe_time"
    train, test = (cached_features(folder, extractor, one, sets.settings)[0] for one in (sets.train, sets.test))
    rows, total = [], 0.0
    for kind in KINDS:
        wall, cpu = time.perf_counter(), time.process_time()
        found, _ = evaluate_features(train, test, kinds=(kind,), names=("class", "mean"))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        total += wall
        best = max(value for key, value in found.items())
        rows.append({"probe": kind, "wall s": f"{wall:.1f}", "cpu s": f"{cpu:.1f}", "highest accuracy": f"{best:.2f}"})
    table = _common.print_table([*rows, {"probe": "all", "wall s": f"{total:.1f}"}])
    if not args.no_record:
        _common.record(f"{count} + {count // 4} images, class token and mean\n\n{table}", args.quick)
    _common.result(seconds=total, images=count)


if __name__ == "__main__":
    main()
