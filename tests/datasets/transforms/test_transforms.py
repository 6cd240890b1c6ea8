"""Test the package of transforms: which of them need labels."""

import re

import pytest

from vislab.datasets import transforms

CLASSES = [getattr(transforms, name) for name in transforms.__all__]
LABELS = r"gt_|instances|segments_info|seg_map_path|panoptic_path|depth_path|\blabels?\b"


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_needs_labels_is_what_the_required_keys_say(kind):
    required = re.search(r"Required keys:(.*?)\n\s*(?:Optional|Modified) keys:", kind.__doc__, re.DOTALL)[1]
    always = re.sub(r"\S+ if [^;]*", "", required)
    assert bool(re.search(LABELS, always)) == getattr(kind, "needs_labels", False)
