"""Runs of combinations.py: each trains a config of configs/combinations with and without what it combines."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from vislab.apis import test, train
from vislab.apis.build import build_model, load
from vislab.engine.resume.latest import find_latest_checkpoint
from vislab.io.atomic import write_text_atomically
from vislab.systems.cae import export_encoder
from vislab.systems.tract import TrActHook

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
Options = dict[str, Any]


def loop(length: int, by_epoch: bool = False, batch: int | None = None) -> Options:
    """Return the options of a run of `length` iterations or epochs in one process, validated at its end."""
    options: Options = {"train_cfg.max_epochs" if by_epoch else "train_cfg.max_iters": length}
    options |= {"train_cfg.val_interval": length, "default_hooks.checkpoint.interval": length}
    for part in ("train", "val"):
        options |= {f"{part}_dataloader.num_workers": 0, f"{part}_dataloader.persistent_workers": False}
    return options | ({} if batch is None else {"train_dataloader.batch_size": batch})


SMALL = {"size": (96, 128)}  # CamVid
LENGTHS = {  # by column: options of full runs
    "timesNet": loop(150) | SMALL,
    "ECO-M2F": loop(300) | SMALL,
    "rotated detector": loop(200, batch=2),
    "CAE": loop(1, by_epoch=True),
    "classifier": loop(1, by_epoch=True),
    "HNeRV": loop(8, by_epoch=True),
}
EXITS = {"full": loop(200, batch=2), "quick": loop(2, batch=2)}
BETAS = (0.0, 0.001, 0.005)  # gains in AP per layer that the gate asks for
QUICK = {
    "timesNet": loop(2) | SMALL,
    "ECO-M2F": loop(2) | SMALL,
    "rotated detector": loop(2, batch=2) | {"val_dataloader.dataset.indices": 4},
    "CAE": loop(1, by_epoch=True) | {"train_dataloader.dataset.indices": 256},
    "classifier": loop(1, by_epoch=True) | {"train_dataloader.dataset.indices": 256},
    "HNeRV": loop(1, by_epoch=True) | {"train_dataloader.dataset.stop": 8, "val_dataloader.dataset.stop": 8},
}
PRETRAINING = {"full": 5, "quick": 1}  # epochs of cae_vit_camvid.py
BYTES = {"camvid/val": 20_000, "camvid/train": 60_000, "hit_uav/val": 60_000}  # of the .hnv files
HEIGHTS = {"camvid": 180, "hit_uav": 256}  # pixels of their frames


@dataclass(frozen=True)
class Cell:
    """A combination.

    Args:
        row: What is added: TrAct, CAE encoder, exits or .hnv.
        column: The system.
        config: Name in configs/combinations.
        metric: Key of the result.
        unit: How it is shown.
        run: Returns {"without": value, "with": value} of a seed, from the cell and the place of its runs.
        options: Changes of the config in both runs.
    """

    row: str
    column: str
    config: str
    metric: str
    unit: str
    run: Callable[["Cell", "Place"], dict[str, float]]
    options: Options = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.row} x {self.column}"


@dataclass(frozen=True)
class Place:
    """Folder of the runs of a seed, and their length.

    Args:
        folder: Folder of all seeds.
        seed: Random seed.
        quick: Whether runs have a few steps only.
    """

    folder: Path
    seed: int
    quick: bool

    def of(self, name: str) -> Path:
        return self.folder / f"{name}_{self.seed}"

    def options(self, cell: Cell) -> Options:
        return (QUICK if self.quick else LENGTHS)[cell.column] | cell.options


# --------------------------------------------------------------------------------------------------- parts of the runs


def trained(name: str, config: Config, place: Place, load_from: Path | None = None) -> dict[str, float]:
    """Train a config, unless its metrics are stored; returns them. The last checkpoint is kept."""
    work = place.of(name)
    stored = work / "result.json"
    if not stored.exists():
        shutil.rmtree(work, ignore_errors=True)
        began = time.process_time()
        metrics = train(config, work_dir=work, seed=place.seed, load_from=load_from)
        write_text_atomically(json.dumps(metrics | {"cpu": time.process_time() - began}), stored)
        print(f"{name}, seed {place.seed}: {stored.read_text()}", flush=True)
    return json.loads(stored.read_text())


def kept(name: str, place: Place, run: Callable[[], Any]) -> Any:
    """Return what `run` has returned in this or an earlier call of the script."""
    stored = place.folder / f"{name}_{place.seed}.json"
    if not stored.exists():
        write_text_atomically(json.dumps(run()), stored)
    return json.loads(stored.read_text())


def checkpoint(name: str, place: Place) -> str:
    return str(find_latest_checkpoint(str(place.of(name))))


def combination(name: str, options: Options) -> Config:
    return load(CONFIGS / "combinations" / f"{name}.py", options)


def without_tract(config: Config) -> Config:
    """Return the config without its TrActHook."""
    config.custom_hooks = [hook for hook in config.custom_hooks if hook["type"] is not TrActHook]
    return config


def encoder_files(source: str, place: Place) -> dict[str, Path]:
    """Pre-train the ViT of cae_vit_camvid.py; returns its exported encoder "without" and "with" the pre-training.

    Args:
        source: "camvid/train", or the .hnv file of these images.
        place: Where the runs are.
    """
    name = "cae_pretraining" + ("_hnv" if source.endswith(".hnv") else "")
    files = {arm: place.folder / f"{name}_{arm}_{place.seed}.safetensors" for arm in ("without", "with")}
    if all(file.exists() for file in files.values()):
        return files
    epochs = PRETRAINING["quick" if place.quick else "full"]
    options = loop(epochs, by_epoch=True) | {"train_dataloader.dataset.dataset.source": source}
    options |= {"train_dataloader.dataset.times": 2} if place.quick else {}
    config = combination("cae_vit_camvid", options)
    torch.manual_seed(place.seed)
    start = build_model(config, device="cpu")
    mean, std = start.data_preprocessor.statistics
    export_encoder(start.encoder, files["without"], mean=mean, std=std)
    torch.save(start.state_dict(), place.folder / f"{name}_{place.seed}.pth")
    trained(name, config, place, load_from=place.folder / f"{name}_{place.seed}.pth")
    final = build_model(config, checkpoint(name, place), device="cpu")
    export_encoder(final.encoder, files["with"], mean=mean, std=std)
    return files


def video_file(images: str, place: Place) -> Path:
    """Encode the images of a folder of VISLAB_DATA, resized, as a .hnv file, unless it exists; returns its path."""
    import cv2

    from vislab.io.images import read_rgb
    from vislab.io.listing import list_images
    from vislab.io.paths import expand_path
    from vislab.systems.hnerv.codec.encoding import EncodeOptions, Encoding
    from vislab.systems.hnerv.codec.plan import Target
    from vislab.systems.hnerv.codec.source import open_source

    out = place.folder / f"{images.replace('/', '_')}.hnv"
    if out.exists():
        return out
    frames = out.with_suffix(".frames")
    shutil.rmtree(frames, ignore_errors=True)
    frames.mkdir(parents=True)
    height = HEIGHTS[images.split("/")[0]]
    for path in list_images(Path(expand_path(f"$VISLAB_DATA/{images}"))):
        img = read_rgb(str(path))
        img = cv2.resize(img, (round(img.shape[1] * height / img.shape[0]), height), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(frames / f"{path.stem}.png"), img[..., ::-1])
    options = EncodeOptions(target=Target(bytes=BYTES[images]), epochs=3 if place.quick else 40, seed=0)
    Encoding(open_source(frames), out, options).run()
    return out


# ----------------------------------------------------------------------------------------------------- kinds of cells


def run_tract(cell: Cell, place: Place, load_from: str | None = None) -> dict[str, float]:
    """Train with and without TrAct, with the same rates, batches and first weights."""
    start = None if load_from is None else Path(checkpoint(load_from, place))
    options = place.options(cell)
    return {
        "without": trained(f"{cell.config}_without", without_tract(combination(cell.config, options)), place, start)[
            cell.metric
        ],
        "with": trained(cell.config, combination(cell.config, options), place, start)[cell.metric],
    }


def run_encoder(cell: Cell, place: Place) -> dict[str, float]:
    """Train with the encoder before and after its pre-training."""
    files = encoder_files("$VISLAB_DATA/camvid/train", place)
    found = {}
    for arm, file in files.items():
        config = combination(cell.config, place.options(cell) | {"encoder_file": str(file)})
        found[arm] = trained(f"{cell.config}_{arm}", config, place)[cell.metric]
    return found


def run_video_training(cell: Cell, place: Place) -> dict[str, float]:
    """Pre-train on original and on decoded photos; the metric is that of timesNet with the encoder."""
    user = next(c for c in CELLS if c.config == "cae_timesnet_lite0_camvid")
    file = encoder_files(str(video_file("camvid/train", place)), place)["with"]
    config = combination(user.config, place.options(user) | {"encoder_file": str(file)})
    return {
        "without": run_encoder(user, place)["with"],
        "with": trained(f"{user.config}_hnv", config, place)[user.metric],
    }


def run_video_test(cell: Cell, place: Place, model: str, images: str) -> dict[str, float]:
    """Test the model that run_tract has trained without TrAct on original and on decoded images."""
    run = next(c for c in CELLS if c.config == model)
    run.run(run, place)
    options = place.options(run)
    base = without_tract(combination(model, options))
    decoded = combination(cell.config, options | {"video": str(video_file(images, place))})
    base.val_dataloader.dataset.pipeline = decoded.val_dataloader.dataset.pipeline[1:]  # without the video
    found = {}
    for arm, config in (("without", base), ("with", decoded)):
        config.model = base.model  # e.g. a backbone that is trained
        found[arm] = test(config, checkpoint(f"{model}_without", place), work_dir=place.of(cell.config))[run.metric]
    return found


def run_second_generation(cell: Cell, place: Place) -> dict[str, float]:
    """Fit a video and the .hnv file of this fit, with the same settings; PSNR of both against the original frames."""
    first = next(c for c in CELLS if c.config == "tract_hnerv_bunny_160x320")
    options = place.options(first)
    value = first.run(first, place)["without"]
    file = place.of(f"{first.config}_without") / "video.hnv"
    config = combination(cell.config, options | {"source": str(file)})
    clean = combination(first.config, options)
    config.val_dataloader.dataset = clean.val_dataloader.dataset  # compared with the original
    return {"without": value, "with": trained(cell.config, config, place)[cell.metric]}


def run_classes(cell: Cell, place: Place) -> dict[str, float]:
    """Return the share of frames of Big Buck Bunny with the same class of 1,000 after decoding, in percent."""
    from vislab.apis import Predictor
    from vislab.datasets.video_frames import VideoFrames
    from vislab.io.checkpoint import save_checkpoint
    from vislab.io.video import read_video

    first = next(c for c in CELLS if c.config == "tract_hnerv_bunny_160x320")
    first.run(first, place)
    decoded = list(read_video(place.of(f"{first.config}_without") / "video.hnv"))
    original = VideoFrames(source="bunny", crop=(640, 1280), resize=(160, 320)).frames[: len(decoded)]
    weights = {"model.pretrained": "$VISLAB_DATA/weights/tf_efficientnet_lite0_timm.safetensors"}
    config = load(CONFIGS / "classification" / f"{cell.config}.py", weights)
    file = place.folder / f"{cell.config}.pth"
    save_checkpoint({"state_dict": build_model(config, device="cpu").state_dict()}, file)
    predictor = Predictor(config, str(file))
    classes = [[r.label for r in predictor(list(frames))] for frames in (original, decoded)]
    same = sum(a == b for a, b in zip(*classes, strict=True))
    return {"without": 100.0, "with": 100 * same / len(decoded)}


def run_exits(place: Place) -> list[dict[str, Any]]:
    """Train a detector with exits, and fit its gate on the training images; returns a row for each exit and policy.

    Rows have policy, layers, gmac, ap50 (of the validation images) and quality (mean over images of their AP).
    """
    from vislab.engine.runner import Runner
    from vislab.systems.eco_m2f import derive, exit_costs, fit_gate, policies
    from vislab.systems.eco_m2f.gate import gate_choice

    config = combination("exits_rotated_detr_lite0_hit_uav", EXITS["quick" if place.quick else "full"])
    trained("exits", config, place)
    model = build_model(config, checkpoint("exits", place), device="cpu").eval()
    section = config.val_dataloader.to_dict()
    train_set = config.train_dataloader.dataset.to_dict()
    parts = {"test": {}, "gate": {key: train_set[key] for key in ("ann_file", "data_prefix", "filter_empty")}}
    loaders = {
        name: Runner.build_dataloader(
            section | {"dataset": section["dataset"] | change | ({"indices": 6} if place.quick else {})}, seed=0
        )
        for name, change in parts.items()
    }
    learned, tested = (
        derive(model, loaders[name], place.of("exits") / f"{name}.npz", measure="rotated_ap")
        for name in ("gate", "test")
    )
    height, width = next(iter(loaders["test"]))["inputs"][0].shape[-2:]
    costs = exit_costs(model, height, width, model.exits)
    gates, choices = [], []
    for beta in BETAS:
        fit_gate(model.gate, learned, beta)
        choices.append(dict(zip(tested.names, gate_choice(model.gate, tested), strict=True)))
        gates.append(policies(model.gate, tested, beta, costs=costs))
    ap = exit_precision(model, loaders["test"], choices)
    quality = tested.quality.mean(0).tolist()
    rows = [
        {"policy": f"exit {k}", "layers": float(k), "gmac": costs[k], "ap50": ap[i], "quality": quality[i]}
        for i, k in enumerate(model.exits)
    ]
    for beta, (gate, random, oracle), value in zip(BETAS, gates, ap[len(model.exits) :], strict=True):
        for row, found in ((gate, value), (random, None), (oracle, None)):
            name = f"{row['policy']}, beta {beta:g}"
            figures = {"layers": row["depth"], "gmac": row["cost"], "ap50": found, "quality": row["quality"]}
            rows.append({"policy": name, **figures})
    return rows


@torch.inference_mode()
def exit_precision(model: torch.nn.Module, batches: Any, choices: list[dict[str, int]]) -> list[float]:
    """Return AP50 in percent at each exit, and with each choice, which has the column of the exit by image."""
    from vislab.evaluation.rotated_map import RotatedMAP

    metrics = [RotatedMAP(forms=("11point",)) for _ in range(len(model.exits) + len(choices))]
    for metric in metrics:
        metric.dataset_meta = batches.dataset.metainfo
    for batch in batches:
        data = model.data_preprocessor(batch, False)
        for i, samples in enumerate(model.predict_exits(data["inputs"], data["data_samples"])[1]):
            metrics[i].process({}, [s.to_dict() for s in samples])
            for metric, choice in zip(metrics[len(model.exits) :], choices, strict=True):
                metric.process({}, [s.to_dict() for s in samples if choice[s.img_path] == i])
    return [metric.compute_metrics(metric.results)["mAP_50_11point"] for metric in metrics]


MIOU, AP = ("mIoU", "mIoU in %"), ("mAP_50_11point", "AP50 in %")
KNN, TOP1, PSNR = ("probe/knn", "k-NN accuracy in %"), ("accuracy/top1", "top-1 in %"), ("psnr", "PSNR in dB")
CELLS = [
    Cell("TrAct", "timesNet", "tract_timesnet_lite0_camvid", *MIOU, run_tract),
    Cell("TrAct", "ECO-M2F", "tract_eco_m2f_lite0_camvid", *MIOU, run_tract),
    Cell("TrAct", "rotated detector", "tract_rotated_detr_lite0_hit_uav", *AP, run_tract),
    Cell("TrAct", "CAE", "tract_cae_vit_cifar10", *KNN, run_tract),
    Cell("TrAct", "HNeRV", "tract_hnerv_bunny_160x320", *PSNR, run_tract),
    Cell("CAE encoder", "timesNet", "cae_timesnet_lite0_camvid", *MIOU, run_encoder),
    Cell("CAE encoder", "ECO-M2F", "cae_eco_m2f_camvid", *MIOU, run_encoder),
    Cell("CAE encoder", "rotated detector", "cae_rotated_detr_hit_uav", *AP, run_encoder),
    Cell(
        "CAE encoder, TrAct", "classifier", "cae_tract_vit_cifar10", *TOP1,
        partial(run_tract, load_from="tract_cae_vit_cifar10_without"),
    ),
    Cell(
        ".hnv", "timesNet", "hnv_timesnet_lite0_camvid", *MIOU,
        partial(run_video_test, model="tract_timesnet_lite0_camvid", images="camvid/val"),
    ),
    Cell(
        ".hnv", "ECO-M2F", "hnv_eco_m2f_lite0_camvid", *MIOU,
        partial(run_video_test, model="tract_eco_m2f_lite0_camvid", images="camvid/val"),
    ),
    Cell(
        ".hnv", "rotated detector", "hnv_rotated_detr_lite0_hit_uav", *AP,
        partial(run_video_test, model="tract_rotated_detr_lite0_hit_uav", images="hit_uav/val"),
    ),
    Cell(".hnv", "CAE", "hnv_cae_vit_camvid", "mIoU", "mIoU of timesNet in %", run_video_training),
    Cell(".hnv", "HNeRV", "hnv_hnerv_bunny_160x320", *PSNR, run_second_generation),
    Cell(".hnv", "classifier", "efficientnet_lite0_imagenet", "same", "frames of the same class in %", run_classes),
]  # fmt: skip
