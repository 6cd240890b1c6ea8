"""Test AP of rotated boxes: known values, messages, merged processes; peers: COCO's evaluation with shapely's IoU."""

import contextlib
import copy
import io
import math

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from tests.helpers.rotated_oracles import polygons, random_rboxes
from vislab.errors import ConfigError, DataError
from vislab.evaluation.average_precision import FORMS
from vislab.evaluation.rotated_map import RotatedMAP
from vislab.structures import DataSample

CLASSES = ("ship", "plane", "bridge", "dam")


def sample(seed: int, objects: int | None = None, detections: int | None = None) -> dict:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 9)) if objects is None else objects
    truth, found = InstanceData(), InstanceData()
    truth.rbboxes = random_rboxes(n, seed, 60, (6, 30))
    truth.labels = torch.from_numpy(rng.integers(0, 3, n))  # no object of class 3
    truth.ignore = torch.from_numpy(rng.random(n) < 0.2)
    m = int(rng.integers(0, 25)) if detections is None else detections
    if n:
        source = torch.from_numpy(rng.integers(0, n, m))
        noise = torch.from_numpy(rng.normal(0, 1, (m, 5))) * torch.tensor([1.5, 1.5, 1, 1, 0.06])
        found.rbboxes = truth.rbboxes[source] + noise * torch.from_numpy(rng.random((m, 1)))
        found.rbboxes[:, 2:4] = found.rbboxes[:, 2:4].abs()
        wrong = torch.from_numpy(rng.random(m) < 0.2)
        found.labels = torch.where(wrong, torch.from_numpy(rng.integers(0, 4, m)), truth.labels[source])
    else:
        found.rbboxes, found.labels = random_rboxes(m, seed, 60), torch.from_numpy(rng.integers(0, 4, m))
    found.scores = torch.from_numpy(rng.integers(0, 12, m) / 12)  # many ties
    out = DataSample(metainfo={"img_path": f"{seed}.png", "ori_shape": (60, 60)})
    out.gt_instances, out.pred_instances = truth, found
    return out.to_dict()


def metric(**options) -> RotatedMAP:
    made = RotatedMAP(forms=FORMS, **options)
    made.dataset_meta = {"classes": CLASSES}
    return made


def evaluate(samples, **options) -> dict:
    made = metric(**options)
    made.process({}, samples)
    return made.compute_metrics(made.results)


def test_perfect_predictions_and_none():
    samples = [sample(seed) for seed in range(8)]
    for item in samples:
        item["pred_instances"] = dict(item["gt_instances"]) | {
            "scores": torch.ones(len(item["gt_instances"]["labels"]))
        }
    values = evaluate(samples, classwise=True)
    assert set(values) <= {n.replace("*", c) for n in metric(classwise=True).result_names() for c in CLASSES}
    assert len(values) == 9 + 3 * 3 and all(value == pytest.approx(100) for value in values.values())
    for item in samples:
        item["pred_instances"] = {key: value[:0] for key, value in item["pred_instances"].items()}
    assert all(value == 0 for value in evaluate(samples).values())


def test_a_hand_worked_image():
    """Two ships of side 10; the first detection is moved by 2 (IoU 2/3), the second is a duplicate, the third exact."""
    item = sample(0, objects=2, detections=3)
    item["gt_instances"] = {
        "rbboxes": torch.tensor([[10.0, 10, 10, 10, 0], [40, 40, 10, 10, 0.5]]),
        "labels": torch.tensor([0, 0]),
        "ignore": torch.tensor([False, False]),
    }
    item["pred_instances"] = {
        "rbboxes": torch.tensor([[12.0, 10, 10, 10, 0], [10.5, 10, 10, 10, math.pi / 2], [40, 40, 10, 10, 0.5]]),
        "labels": torch.tensor([0, 0, 0]),
        "scores": torch.tensor([0.9, 0.8, 0.7]),
    }
    values = evaluate([item])
    assert values["mAP_50_all_point"] == pytest.approx(100 * 0.5 * (1 + 2 / 3))
    assert values["mAP_50_11point"] == pytest.approx(100 * (6 + 5 * 2 / 3) / 11)
    assert values["mAP_75_all_point"] == pytest.approx(100 * 2 / 3)  # the first is wrong, the others are right
    item["gt_instances"]["ignore"][0] = True
    assert evaluate([item])["mAP_50_all_point"] == pytest.approx(100)


def test_two_processes_equal_one():
    samples = [sample(seed) for seed in range(12)]
    expected = evaluate(samples)
    parts = [metric(), metric()]
    for i, item in enumerate(samples):
        parts[i % 2].process({}, [item])
    merged = [result for pair in zip(*(part.results for part in parts), strict=True) for result in pair]
    assert metric().compute_metrics(merged) == expected


def test_difficult_counts_for_nothing():
    samples = [sample(seed) for seed in range(8)]
    for item in samples:
        item["gt_instances"]["ignore"][:] = False
    all_counted = evaluate(samples)
    more = copy.deepcopy(samples)
    for item in more:  # an ignored object far away, and one with detections on it
        far = torch.tensor([[500.0, 500, 9, 5, 0.3], [900, 500, 9, 5, 0.3]])
        for key, value in (("rbboxes", far), ("labels", torch.tensor([1, 2])), ("ignore", torch.tensor([True, True]))):
            item["gt_instances"][key] = torch.cat(
                [item["gt_instances"][key], value.to(item["gt_instances"][key].dtype)]
            )
        found = item["pred_instances"]
        item["pred_instances"] = {
            "rbboxes": torch.cat([found["rbboxes"], far[:1].repeat(3, 1)]),
            "labels": torch.cat([found["labels"], torch.tensor([1, 1, 1])]),
            "scores": torch.cat([found["scores"], torch.tensor([2.0, 2, 2])]),
        }
    assert evaluate(more) == all_counted


def test_boxes_of_a_resized_image_are_scaled_back():
    item = sample(3, objects=4, detections=10)
    expected = evaluate([item])
    item["gt_instances"]["rbboxes"] = item["gt_instances"]["rbboxes"] * torch.tensor([2, 2, 2, 2, 1])
    item["gt_scale_factor"] = (2.0, 2.0)
    assert evaluate([item]) == pytest.approx(expected)


def test_invalid_detections_are_counted_and_skipped(said):
    item = sample(3, objects=4, detections=10)
    expected = evaluate([item])
    found = item["pred_instances"]
    bad = found["rbboxes"][:4].clone()
    bad[0, 2], bad[1, 4] = -1, math.nan
    found["rbboxes"] = torch.cat([found["rbboxes"], bad])
    found["labels"] = torch.cat([found["labels"], torch.tensor([0, 0, 0, 9])])
    found["scores"] = torch.cat([found["scores"], torch.tensor([1.0, 1, math.inf, 1])])
    assert evaluate([item]) == expected | {"invalid_detections": 4.0}
    assert any("4 detections in 1 images are skipped" in line and "3.png" in line for line in said)


def test_messages():
    def broken(field, key, value):
        item = sample(3, objects=4, detections=5)
        item[field][key] = value(item[field][key])
        return [item]

    def entry(at, value):
        def change(data):
            data = data.clone()
            data[at] = value
            return data

        return change

    cases = (
        ("gt_instances", "rbboxes", entry((0, 4), 45.0), r"angle 45\.0; angles are radians.*degrees"),
        ("pred_instances", "rbboxes", entry((0, 4), -90.0), r"angle 90\.0"),
        ("gt_instances", "rbboxes", entry((1, 3), 0.0), "has no area"),
        ("gt_instances", "rbboxes", entry((1, 0), math.nan), "not finite"),
        ("gt_instances", "labels", entry(0, 4), r"class 4; the dataset has 4 classes \(0\.\.3\)"),
        ("pred_instances", "scores", lambda x: x[:3], "pred_instances of 3.png differ in length"),
        ("gt_instances", "ignore", lambda x: x[:3], "gt_instances of 3.png differ in length"),
    )
    for field, key, value, message in cases:
        with pytest.raises(DataError, match=message):
            evaluate(broken(field, key, value))
    item = sample(3)
    del item["gt_instances"]["rbboxes"]
    with pytest.raises(DataError, match="instances without rbboxes"):
        evaluate([item])
    with pytest.raises(DataError, match="no sample was evaluated"):
        evaluate([])
    with pytest.raises(ConfigError, match="expected one or several of 11point"):
        RotatedMAP(forms=("voc",))
    with pytest.raises(ConfigError, match="max_detections=0"):
        RotatedMAP(max_detections=0)


def test_without_objects_there_is_no_number(said):
    assert evaluate([sample(0, objects=0, detections=4)]) == {}
    assert "AP is not defined" in said[0]


# ------------------------------------------------------------------------------------------------------------- peers


def shapely_matrix(first: torch.Tensor, second: torch.Tensor) -> np.ndarray:
    import shapely

    a, b = polygons(first)[:, None], polygons(second)[None]
    inter = shapely.area(shapely.intersection(a, b))
    return inter / (shapely.area(a) + shapely.area(b) - inter)


def coco_precision(samples, max_detections: int = 100) -> np.ndarray:
    """Precisions (IoU, recall, class) of pycocotools, which gets its IoU from shapely."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    class Rotated(COCOeval):
        def computeIoU(self, image, category):
            gt, dt = self._gts[image, category], self._dts[image, category]
            if not gt or not dt:
                return []
            dt = [dt[i] for i in np.argsort([-d["score"] for d in dt], kind="mergesort")][: self.params.maxDets[-1]]
            return shapely_matrix(*(torch.tensor([entry["rbox"] for entry in side]).double() for side in (dt, gt)))

    truth, found = COCO(), COCO()
    for side, annotations in (("gt_instances", []), ("pred_instances", [])):
        for number, item in enumerate(samples, start=1):
            data = item[side]
            rows = {"rbox": data["rbboxes"], "category_id": data["labels"] + 1}
            rows |= {"score": data["scores"]} if "scores" in data else {"iscrowd": data["ignore"].int()}
            for values in zip(*(column.tolist() for column in rows.values()), strict=True):
                entry = dict(zip(rows, values, strict=True)) | {"image_id": number, "area": 1}
                annotations.append(entry | {"id": len(annotations) + 1})
        (truth if side == "gt_instances" else found).dataset = {"annotations": annotations}
    common = {
        "images": [{"id": i + 1, "width": 60, "height": 60} for i in range(len(samples))],
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)],
    }
    truth.dataset, found.dataset = truth.dataset | common, found.dataset | common
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex(), found.createIndex()
        evaluation = Rotated(truth, found, "bbox")
        evaluation.params.maxDets = [1, 2, max_detections]
        evaluation.evaluate(), evaluation.accumulate()
    return evaluation.eval["precision"][..., 0, -1]


def images_of_all_kinds(count: int) -> list[dict]:
    """Random images with ties, difficult objects, empty ones, and one with 1000 objects."""
    extremes = [sample(9000, 0, 0), sample(9001, 0, 30), sample(9002, 1, 0), sample(9003, 1, 40), sample(9004, 30, 400)]
    crowd = sample(9005, 1000, 1500)
    crowd["gt_instances"]["rbboxes"][:, :2] *= 20
    crowd["pred_instances"]["rbboxes"][:, :2] *= 20
    return [sample(seed) for seed in range(count - 6)] + [*extremes, crowd]


@pytest.mark.peer
@pytest.mark.parametrize("max_detections", [100, 5])
def test_coco_with_the_iou_of_shapely(max_detections):
    samples = images_of_all_kinds(500)
    precision = coco_precision(samples, max_detections)
    values = evaluate(samples, max_detections=max_detections)
    each = precision[:, :, :3]
    assert (precision[:, :, 3] == -1).all() and (each > -1).all()
    for key, part in (("mAP", each), ("mAP_50", each[0]), ("mAP_75", each[5])):
        assert values[f"{key}_101point"] == pytest.approx(100 * part.mean(), abs=1e-10)  # percent
    assert 10 < values["mAP_101point"] < 80


@pytest.mark.peer
def test_supervision():
    import supervision as sv
    from supervision.metrics import MeanAveragePrecision, MetricTarget

    from vislab.structures.rotated_boxes import rboxes_to_corners, rboxes_to_hboxes

    samples = [sample(seed) for seed in range(100)]
    for item in samples:  # without difficult objects, for which the rules differ
        item["gt_instances"]["ignore"][:] = False
        if not len(item["pred_instances"]["labels"]) or not len(item["gt_instances"]["labels"]):
            item["pred_instances"] = {key: value[:0] for key, value in item["pred_instances"].items()}

    def converted(data):
        boxes = data["rbboxes"]
        return sv.Detections(
            xyxy=rboxes_to_hboxes(boxes).numpy(),
            class_id=data["labels"].numpy(),
            confidence=data["scores"].numpy() if "scores" in data else None,
            data={"xyxyxyxy": rboxes_to_corners(boxes).numpy()} if len(boxes) else {},
        )

    peer = MeanAveragePrecision(metric_target=MetricTarget.ORIENTED_BOUNDING_BOXES)
    for item in samples:
        peer.update(converted(item["pred_instances"]), converted(item["gt_instances"]))
    expected, values = peer.compute(), evaluate(samples, max_detections=100)
    for key, value in (("mAP", expected.map50_95), ("mAP_50", expected.map50), ("mAP_75", expected.map75)):
        assert values[f"{key}_101point"] == pytest.approx(100 * value, abs=0.1)


def test_details_name_the_image_with_the_missed_object():
    box = torch.tensor([[20.0, 20, 10, 6, 0.3], [40, 40, 8, 8, 0.0]])
    samples = []
    for name, found in (("all.png", box), ("half.png", box[:1])):
        entry = sample(0, objects=2, detections=2) | {"img_path": name, "sample_idx": 5}
        labels = torch.zeros(2, dtype=torch.long)
        entry["gt_instances"] = {"rbboxes": box, "labels": labels, "ignore": torch.zeros(2, dtype=torch.bool)}
        entry["pred_instances"] = {"rbboxes": found, "labels": labels[: len(found)], "scores": torch.ones(len(found))}
        samples.append(entry)
    made = metric()
    made.process(None, samples)
    made.compute_metrics(made.results)
    worst = [(s.image, s.index, round(s.score, 4)) for s in made.details.worst]
    assert worst == [("half.png", 5, round(100 * 2 / 3, 4)), ("all.png", 5, 100.0)]
    assert made.details.classes[0]["class"] == "ship" and made.details.classes[0]["objects"] == 4
