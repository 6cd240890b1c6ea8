"""Test COCO AP: agreement of both libraries, known values, crowds, missing entries."""

import contextlib
import copy
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vislab.datasets.coco import CocoDataset
from vislab.datasets.transforms import LoadAnnotations, LoadImage, PackInputs
from vislab.errors import ConfigError, DataError
from vislab.evaluation.coco import CocoMetric
from vislab.structures import DataSample


def sample(seed: int, size=(60, 80), exact: bool = False) -> dict:
    rng = np.random.default_rng(seed)
    truth, found = InstanceData(), InstanceData()
    n = int(rng.integers(1, 6))
    corner = rng.uniform(0, 30, (n, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(4, 30, (n, 2))], 1)
    labels = rng.integers(0, 3, n)
    moved = boxes if exact else boxes + rng.normal(0, 2, boxes.shape)
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)

    def masks(of):
        out = np.zeros((len(of), *size), np.uint8)
        for mask, (x0, y0, x1, y1) in zip(out, of.round().astype(int).clip(0), strict=True):
            mask[y0:y1, x0:x1] = 1
        return torch.from_numpy(out)

    truth.labels, truth.bboxes, truth.masks = torch.from_numpy(labels), torch.from_numpy(boxes), masks(boxes)
    truth.ignore = torch.from_numpy(rng.random(n) < (0.0 if exact else 0.2))
    found.labels, found.bboxes, found.masks = torch.from_numpy(labels), torch.from_numpy(moved), masks(moved)
    found.scores = torch.from_numpy(rng.random(n))
    out = DataSample(metainfo={"img_path": f"{seed}.jpg", "ori_shape": size})
    out.gt_instances, out.pred_instances = truth, found
    return out.to_dict()


def evaluate(samples, **options) -> dict:
    metric = CocoMetric(iou_types=("bbox", "segm"), **options)
    metric.process({}, samples)
    return metric.compute_metrics(metric.results)


def test_both_libraries_agree():
    samples = [sample(seed) for seed in range(12)]
    fast, slow = evaluate(samples, backend="faster"), evaluate(samples, backend="pycocotools")
    assert fast.keys() == slow.keys() and 0 < slow["segm_mAP"] < 100
    for key, value in slow.items():
        assert fast[key] == pytest.approx(value, abs=1e-9), key


def test_perfect_predictions_score_100_and_none_score_0():
    samples = [sample(seed, exact=True) for seed in range(3)]
    assert evaluate(samples)["bbox_mAP"] == pytest.approx(100) and evaluate(samples)["segm_mAP"] == pytest.approx(100)
    for item in samples:
        item["pred_instances"] = {k: v[:0] for k, v in item["pred_instances"].items()}
    assert evaluate(samples)["segm_mAP"] == 0


def test_run_lengths_equal_masks():
    from vislab.evaluation.coco import encode_masks

    samples = [sample(seed) for seed in range(4)]
    expected = evaluate(samples)
    for item in samples:
        item["pred_instances"]["masks"] = encode_masks(item["pred_instances"]["masks"], (60, 80), "x")
    assert evaluate(samples) == expected


def test_without_ground_truth_there_is_no_number():
    item = sample(0)
    item["gt_instances"] = {k: v[:0] for k, v in item["gt_instances"].items()}
    assert evaluate([item]) == {}


def test_what_is_missing_is_named():
    item = sample(0)
    del item["pred_instances"]["masks"]
    with pytest.raises(DataError, match=r"0\.jpg has instances without masks"):
        evaluate([item])
    with pytest.raises(ConfigError, match="iou_types"):
        CocoMetric(iou_types=("boxes",))


# ------------------------------------------------------------------------ against pycocotools, fed from its own files


def _independent(folder: Path, seed: int):
    """A random annotation file, detections as COCO's result lists, and the samples of our own pipeline on the same."""
    rng = np.random.default_rng(seed)
    size, images, annotations, results = (130, 170), [], [], {"bbox": [], "segm": []}
    found_by_image = {}
    for image_id in range(1, 6):
        name = f"{image_id}.png"
        Image.new("RGB", size[::-1]).save(folder / name)
        images.append({"id": image_id, "file_name": name, "height": size[0], "width": size[1]})
        found = {"labels": [], "scores": [], "bboxes": [], "masks": []}
        for _ in range(int(rng.integers(0, 7))):
            side = rng.integers(6, 125, 2)
            x, y = (int(rng.integers(0, limit - s + 1)) for limit, s in zip(size[::-1], side, strict=True))
            w, h = (int(s) for s in side)
            category = int(rng.choice([3, 7, 20]))
            crowd = int(rng.random() < 0.15)
            polygon = [x, y, x + w, y, x + w * 0.4, y + h * 0.9]  # about half of the box
            rle = coco_mask.merge(coco_mask.frPyObjects([polygon], *size))
            segmentation = {"size": list(size), "counts": rle["counts"].decode()} if crowd else [polygon]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image_id, "category_id": category, "iscrowd": crowd,
                 "bbox": [x, y, w, h], "segmentation": segmentation,
                 "area": float(rng.choice([1024, 1024.5, 300, 9216, 11000]))}
            )  # fmt: skip
            for _ in range(int(rng.integers(0, 4))):
                dx, dy, dw, dh = rng.integers(-4, 5, 4)
                box = [float(v) for v in (x + dx, y + dy, max(w + dw, 1), max(h + dh, 1))]
                dx, dy = (int(v) for v in rng.integers(-3, 4, 2))
                mask = np.roll(coco_mask.decode(rle), (dy, dx), (0, 1))
                score = float(rng.integers(1, 200)) / 200
                label = category if rng.random() < 0.9 else 7
                coded = coco_mask.encode(np.asfortranarray(mask))
                base = {"image_id": image_id, "category_id": label, "score": score}
                results["bbox"].append(base | {"bbox": box})
                results["segm"].append(base | {"segmentation": coded | {"counts": coded["counts"].decode()}})
                found["labels"].append([3, 7, 20].index(label))
                found["scores"].append(score)
                found["bboxes"].append([box[0], box[1], box[0] + box[2], box[1] + box[3]])
                found["masks"].append(mask)
        found_by_image[image_id] = found
    categories = [{"id": i, "name": n} for i, n in ((3, "a"), (7, "b"), (20, "c"))]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "a.json").write_text(json.dumps(content))
    pipeline = [LoadImage(), LoadAnnotations(with_mask=True), PackInputs()]
    dataset = CocoDataset(data_root=str(folder), ann_file="a.json", pipeline=pipeline, test_mode=True)
    samples = []
    for i in range(len(dataset)):
        packed = dataset[i]["data_samples"]
        found = found_by_image[packed.img_id]
        packed.pred_instances = InstanceData(
            labels=torch.tensor(found["labels"], dtype=torch.long),
            scores=torch.tensor(found["scores"], dtype=torch.float64),
            bboxes=torch.tensor(found["bboxes"], dtype=torch.float32).reshape(-1, 4),
            masks=torch.from_numpy(np.array(found["masks"], np.uint8).reshape(-1, *size)).bool(),
        )
        samples.append(packed.to_dict())
    return dataset, samples, results


def _official(file: Path, results: list[dict], kind: str) -> dict[str, float]:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(file))
        evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(results)), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    names = ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")
    names += ("mAR_1", "mAR_10", "mAR_100", "mAR_s", "mAR_m", "mAR_l")
    values = {f"{kind}_{n}": 100 * v for n, v in zip(names, evaluation.stats, strict=True) if v >= 0}
    for k, category in enumerate(truth.loadCats(evaluation.params.catIds)):
        table = evaluation.eval["precision"][:, :, k, 0, 2]
        if (table > -1).any():
            values[f"{kind}_AP/{category['name']}"] = 100 * table[table > -1].mean()
    return values


@pytest.mark.parametrize("seed", [0, 1])
def test_equals_pycocotools_on_the_files_themselves(tmp_path, seed):
    dataset, samples, results = _independent(tmp_path, seed)
    official = {kind: _official(tmp_path / "a.json", results[kind], kind) for kind in ("bbox", "segm")}
    assert official["bbox"]["bbox_mAP_s"] != official["segm"]["segm_mAP_s"]
    for iou_types in (("bbox",), ("segm",), ("bbox", "segm")):
        expected = {key: value for kind in iou_types for key, value in official[kind].items()}
        for backend in ("faster", "pycocotools"):
            metric = CocoMetric(iou_types=iou_types, backend=backend, classwise=True, recall=True)
            metric.dataset_meta = dataset.metainfo
            metric.process({}, samples)
            assert metric.compute_metrics(metric.results) == pytest.approx(expected, rel=0, abs=1e-10)  # percent


def test_area_comes_from_the_file_whatever_is_measured():
    item = sample(0, exact=True)
    count = len(item["gt_instances"]["labels"])
    item["gt_instances"]["areas"] = np.full(count, 10_000.0)  # though all boxes have under 1,000 pixels
    item["gt_instances"]["ignore"] = torch.zeros(count, dtype=torch.bool)
    for iou_types in (("bbox",), ("bbox", "segm")):
        metric = CocoMetric(iou_types=iou_types)
        metric.process({}, [item])
        assert metric.compute_metrics(metric.results).keys() >= {"bbox_mAP_l"}
        assert "bbox_mAP_s" not in metric.compute_metrics(metric.results)
    # without it, the masks' areas sort boxes too, measured or not
    del item["gt_instances"]["areas"]
    item["gt_instances"]["masks"][:] = 1  # 60 x 80 = 4,800 pixels: medium
    metric = CocoMetric()
    metric.process({}, [item])
    assert {"bbox_mAP_s", "bbox_mAP_m"} & metric.compute_metrics(metric.results).keys() == {"bbox_mAP_m"}


def test_no_detection_at_all_counts_only_sizes_that_exist():
    item = sample(0, exact=True)
    item["pred_instances"] = {k: v[:0] for k, v in item["pred_instances"].items()}
    for backend in ("faster", "pycocotools"):
        result = evaluate([item], backend=backend)
        assert result["bbox_mAP"] == result["segm_mAP_s"] == 0 and "bbox_mAP_l" not in result


def test_broken_detections_are_counted_and_said(said):
    whole = [sample(seed, exact=True) for seed in range(4)]
    expected = evaluate(whole)
    broken = copy.deepcopy(whole)
    found = broken[1]["pred_instances"]
    n = len(found["labels"])
    for key, value in found.items():
        found[key] = torch.cat([value, value[:1], value[:1], value[:1], value[:1]])
    found["scores"][n], found["bboxes"][n + 1, 2], found["labels"][n + 2] = float("nan"), float("inf"), -1
    found["bboxes"][n + 3] = found["bboxes"][n + 3][[2, 3, 0, 1]]
    result = evaluate(broken)
    assert result.pop("invalid_detections") == 4 and result == expected
    assert len(said) == 1 and "4 of " in said[0] and "1.jpg" in said[0]


def test_ground_truth_of_no_class_is_refused_and_absent_classes_are_named(said):
    metric = CocoMetric()
    metric.dataset_meta = {"classes": ("a", "b", "c", "kite")}
    metric.process({}, [sample(seed) for seed in range(6)])
    metric.compute_metrics(metric.results)
    assert "1 of 4 classes have no labeled instance in this set: 'kite'" in said[0]
    metric.dataset_meta = {"classes": ("a",)}
    with pytest.raises(DataError, match=r"ground-truth instance of class [12]; the dataset has 1 classes"):
        metric.process({}, [sample(seed) for seed in range(6)])
    metric.dataset_meta = None
    item = sample(0)
    item["pred_instances"]["scores"] = item["pred_instances"]["scores"][:-1]
    with pytest.raises(DataError, match="differ in length"):
        metric.process({}, [item])


def test_soft_masks_are_refused():
    item = sample(0)
    item["pred_instances"]["masks"] = item["pred_instances"]["masks"].float() * 0.7
    with pytest.raises(DataError, match=r"masks of 0\.jpg are float32.*threshold"):
        evaluate([item])


def test_an_empty_set_has_no_figure():
    with pytest.raises(DataError, match="no sample was evaluated"):
        CocoMetric().compute_metrics([])


def test_details_equal_the_metrics_of_the_classes():
    samples = [sample(seed) for seed in range(4)] + [sample(9, exact=True)]
    metric = CocoMetric(iou_types=("bbox", "segm"), classwise=True)
    metric.process(None, samples)
    metrics = metric.compute_metrics(metric.results)
    for row in metric.details.classes:
        for kind in ("bbox", "segm"):
            assert row[f"{kind} AP"] == metrics.get(f"{kind}_AP/{row['class']}")
    scores = [image.score for image in metric.details.worst]
    assert len(scores) == 5 and scores == sorted(scores) and scores[-1] == 100 and scores[0] < 100
