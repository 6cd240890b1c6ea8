"""Test charts: points, axes and valid SVG."""

import xml.etree.ElementTree as ET

from vislab.report.charts import confusion_chart, curve_chart, thin


def test_long_curves_are_thinned_and_keep_their_end():
    curve = [(step, float(step)) for step in range(1, 1001)]
    points = thin(curve)
    assert len(points) <= 400 and points[-1] == (1000, 1000.0) and points[0] == (3, 2.0)
    assert thin(curve[:400]) == curve[:400]


def test_values_that_are_not_finite_are_left_out():
    chart = curve_chart("a < b & c", {"x": [(1, float("nan")), (2, 1.0), (3, float("inf"))]}, {"x": "#112233"})
    root = ET.fromstring(chart)
    assert root.attrib["aria-label"] == "a < b & c" and "#112233" in chart and "width" not in root.attrib
    assert "currentColor" in chart and "#010203" not in chart


def test_confusion_matrix():
    chart = confusion_chart(["a", "b <"], [[3, 1], [0, 0]])
    texts = [t.text for t in ET.fromstring(chart).iter("{http://www.w3.org/2000/svg}text")]
    assert {"75", "25", "a", "b <", "true", "predicted"} <= set(texts) and "0" not in texts
