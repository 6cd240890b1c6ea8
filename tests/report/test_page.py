"""Test reports: the content of the page, its size, and its look in a browser."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from vislab.errors import DataError
from vislab.report import page
from vislab.report.page import write_report


def work_dir(folder: Path, *, lr: float = 0.1, image: tuple[int, int] = (40, 60), name: str = "<b>road</b>") -> Path:
    """Write the files of a run with two classes, one of which has a name that must be escaped."""
    log = folder / "20260101_000000" / "vis_data"
    (log / "vis_image").mkdir(parents=True)
    lines = [{"loss": 1 / step, "lr": lr, "time": 0.5, "step": step} for step in range(1, 40)]
    lines += [{"mIoU": 10.0 * k, "step": 10 * k} for k in (1, 2, 3)]
    (log / "scalars.json").write_text("\n".join(map(json.dumps, lines)))
    (log / "config.py").write_text(f"model = dict(type='vislab.M', sizes=(1, 2))\noptimizer = dict(lr={lr})\n")
    rng = np.random.default_rng(0)
    for picture in (log / "vis_image" / "val_000_30.png", log / "worst_00.png"):
        cv2.imwrite(str(picture), rng.integers(0, 255, (*image, 3), np.uint8))
    worst = [
        {"image": "/d/a.png", "score": 3.5, "index": 1, "picture": "20260101_000000/vis_data/worst_00.png"},
        {"image": "/d/b.png", "score": 9.0, "index": 2, "picture": None},
    ]
    evaluation = {
        "metric": "SemSegMetric", "classes": [{"class": name, "IoU": 30.0}, {"class": "car", "IoU": None}],
        "confusion": [[5, 1], [0, 2]], "confused": [[name, "car", 1]], "worst": worst, "score_name": "mIoU",
    }  # fmt: skip
    details = {"environment": {"torch": "2.9"}, "split": "val", "evaluation": [evaluation]}
    (folder / "details.json").write_text(json.dumps(details))
    results = {"metrics": {"mIoU": 30.0}, "config": "c.py", "checkpoint": "e.pth", "seconds": 75.0}
    (folder / "metrics.json").write_text(json.dumps(results))
    return folder


def text_of(path: Path) -> str:
    return re.sub(r"\s+", " ", path.read_text())


def test_one_run(tmp_path):
    text = text_of(write_report([work_dir(tmp_path / "run")], tmp_path / "r.html"))
    assert '<td>mIoU</td><td class="number">30</td>' in text
    assert "<td>&lt;b&gt;road&lt;/b&gt;</td>" in text and "<b>road" not in text
    assert "1 min 15 s" in text and "<td>torch</td><td>2.9</td>" in text
    assert "a.png: 3.5 (mIoU)" in text and "<li>b.png: 9 (mIoU)</li>" in text
    assert text.count('src="data:image/webp;base64,') == 2  # a sample and the worst image
    assert text.count("<svg") == 3  # mIoU, loss, confusion matrix; the constant learning rate has no chart
    assert "Settings that differ" not in text


def test_axes_have_their_unit_and_curves_are_drawn_once(tmp_path):
    """A run by epochs logs losses by steps and validations by epochs."""
    run = work_dir(tmp_path / "run")
    lines = [{"loss": 1 / k, "loss_seg": 1 / k, "lr": 3 / k, "base_lr": 2 / k, "step": k, "epoch": k // 100} for k in
             range(50, 400, 50)]  # fmt: skip
    lines += [{"mIoU": 10.0 * epoch, "step": epoch} for epoch in (1, 2, 3)]
    (run / "20260101_000000/vis_data/scalars.json").write_text("\n".join(map(json.dumps, lines)))
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "curve_chart", lambda title, *rest, unit: drawn.append((title, unit)) or "")
        write_report([run], tmp_path / "r.html")
    assert drawn == [("mIoU", "epoch"), ("loss", "step"), ("lr", "step")]


def test_file_is_complete_in_itself(tmp_path):
    class Links(HTMLParser):
        def handle_starttag(self, tag, attributes):
            assert tag not in ("script", "iframe", "object", "embed")
            for key, value in attributes:
                if key in ("src", "href", "xlink:href"):
                    assert value.startswith(("data:", "#")), (tag, key, value[:50])
                assert not key.startswith("on")

    Links().feed(write_report([work_dir(tmp_path / "run")], tmp_path / "r.html").read_text())


def test_runs_are_compared(tmp_path):
    runs = [work_dir(tmp_path / "a" / "run"), work_dir(tmp_path / "b" / "run", lr=0.2)]
    text = text_of(write_report(runs, tmp_path / "r.html"))
    assert "<td>optimizer.lr</td><td>0.1</td><td>0.2</td>" in text and "model.sizes</td>" not in text
    assert "run (1)" in text and "run (2)" in text
    with pytest.raises(DataError, match="given twice"):
        write_report([runs[0], runs[0]], tmp_path / "r.html")


def test_size_is_limited(tmp_path, monkeypatch):
    run = work_dir(tmp_path / "run", image=(600, 900))
    whole = write_report([run], tmp_path / "r.html").stat().st_size
    monkeypatch.setattr(page, "MAX_BYTES", whole // 2)
    small = write_report([run], tmp_path / "r.html")
    assert small.stat().st_size <= whole // 2 and "data:image/webp" in small.read_text()
    monkeypatch.setattr(page, "MAX_BYTES", 1000)
    assert "data:image/webp" not in write_report([run], tmp_path / "r.html").read_text()


def test_parts_may_be_missing_or_damaged(tmp_path, capsys):
    run = work_dir(tmp_path / "run")
    (run / "metrics.json").unlink()
    (run / "details.json").write_text("{")
    (run / "20260101_000000" / "vis_data" / "config.py").write_text("import os\nx = os.getcwd()")
    (run / "20260101_000000" / "vis_data" / "vis_image" / "val_000_30.png").write_bytes(b"no image")
    text = text_of(write_report([run], tmp_path / "r.html"))
    assert "run has not ended" in text and "data:image/webp" not in text
    warned = capsys.readouterr().err
    assert "details.json is damaged" in warned and "config.py is damaged" in warned
    with pytest.raises(DataError, match="does not exist"):
        write_report([tmp_path / "nothing"], tmp_path / "r.html")
    with pytest.raises(DataError, match="neither a log nor metrics.json"):
        write_report([tmp_path], tmp_path / "r.html")


BROWSER = next((found for name in ("chromium", "google-chrome", "chrome") if (found := shutil.which(name))), None)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs the browser chromium")
@pytest.mark.parametrize("width", [1280, 400])
def test_in_a_browser(tmp_path, width):
    """The page has no errors on the console, is as wide as the window, and has something on it."""
    long = "a_class_with_a_name_of_many_letters_" * 3
    file = write_report([work_dir(tmp_path / "run", name=long)], tmp_path / "r.html")
    measure = "<script>console.error('width ' + document.documentElement.scrollWidth)</script></body>"
    file.write_text(file.read_text().replace("</body>", measure))
    start = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr"]
    picture = tmp_path / "shot.png"
    # an iframe, since a window of headless chromium is at least 500 pixels wide
    frame = tmp_path / "frame.html"
    frame.write_text(f'<body style="margin: 0"><iframe src="r.html" width="{width}" height="1500" style="border: 0">')
    done = subprocess.run(
        [*start, f"--window-size={width},1500", f"--screenshot={picture}", frame.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    console = re.findall(r"CONSOLE.*?\] \"(.*?)\"", done.stderr)
    assert console == [f"width {width}"], done.stderr[-2000:]
    image = cv2.imread(str(picture))
    assert image.shape[1] == width and image[:1000].std() > 10
