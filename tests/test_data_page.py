"""data/README.md, where users look up the tree a dataset expects, names the classes there are."""

import re
from pathlib import Path

from vislab.registry import DATASETS

PAGE = Path(__file__).parents[1] / "data" / "README.md"


def test_every_dataset_has_its_tree_on_the_page_and_no_other_has():
    DATASETS.import_from_location()
    rows = re.findall(r"^\| (`.*?) \|", PAGE.read_text(), flags=re.MULTILINE)
    ours = {name for name, cls in DATASETS.module_dict.items() if cls.__module__.startswith("vislab.")}
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == ours  # other tests register toys
