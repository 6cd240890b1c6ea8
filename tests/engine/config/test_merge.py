"""Test bases that share a base: a change of one is not silently reverted by the other."""

from pathlib import Path

import pytest

from vislab.engine.config.load import load_config
from vislab.errors import ConfigError

SMALL = "from torch.nn import Linear\nmodel = dict(type=Linear, in_features=4, out_features=2)\nwork_dir = 'w'\n"
READ = "from mmengine.config import read_base\nwith read_base():\n"


def write(folder: Path, **files: str) -> Path:
    """Each file a text; lines that begin with `<` name bases. Returns the path of `leaf`."""
    for name, text in files.items():
        lines = text.splitlines()
        bases = [f"    from {line[1:].strip()}\n" for line in lines if line.startswith("<")]
        rest = "\n".join(line for line in lines if not line.startswith("<"))
        (folder / f"{name}.py").write_text((READ + "".join(bases) if bases else "") + rest + "\n")
    return folder / "leaf.py"


def load(folder: Path, **files: str):
    return load_config(write(folder, base=SMALL, **files))


LARGE = "< .base import *\nmodel.update(in_features=4000)"
DATA = "< .base import *\nrandomness = dict(seed=5)"


def test_a_change_that_would_be_lost_is_refused(tmp_path):
    with pytest.raises(
        ConfigError,
        match=r"(?s)leaf\.py, line 4: .*large\.py \(line 3\).*data\.py.*base\.py: model\.in_features = 4000 becomes 4",
    ):
        load(tmp_path, large=LARGE, data=DATA, leaf="< .large import *\n< .data import *")


def test_the_other_order_loses_nothing(tmp_path):
    cfg = load(tmp_path, large=LARGE, data=DATA, leaf="< .data import *\n< .large import *")
    assert (cfg.model.in_features, cfg.randomness.seed) == (4000, 5)


def test_the_base_itself_read_again(tmp_path):
    with pytest.raises(ConfigError, match=r"large\.py.*undone by .*base\.py: model\.in_features"):
        load(tmp_path, large=LARGE, leaf="< .large import *\n< .base import *")
    assert load(tmp_path, large=LARGE, leaf="< .base import *\n< .large import *").model.in_features == 4000


def test_two_bases_that_share_nothing(tmp_path):
    other = "model = dict(type='torch.nn.Identity')"
    with pytest.raises(ConfigError, match=r"model\.type = torch\.nn\.Linear becomes 'torch\.nn\.Identity'"):
        load(tmp_path, other=other, leaf="< .base import *\n< .other import *")


def test_names_that_are_chosen_lose_nothing(tmp_path):
    leaf = "< .large import *\n< .data import randomness"
    assert load(tmp_path, large=LARGE, data=DATA, leaf=leaf).model.in_features == 4000


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("model = dict(type='torch.nn.Identity')", False),
        ("model.update(out_features=3)", True),
        ("model = dict(**model, bias=False)", True),
        ("randomness = dict(seed=1)\nmodel = dict(type='torch.nn.Identity')", False),
    ],
)
def test_a_name_set_anew_needs_no_base(tmp_path, text, refused):
    files = {"large": LARGE, "data": DATA, "leaf": f"< .large import *\n< .data import *\n{text}"}
    if refused:
        with pytest.raises(ConfigError, match="undone"):
            load(tmp_path, **files)
    else:
        assert load(tmp_path, **files).model.to_dict() == {"type": "torch.nn.Identity"}


def test_both_change_the_same_thing_alike(tmp_path):
    cfg = load(tmp_path, large=LARGE, again=LARGE, leaf="< .large import *\n< .again import *")
    assert cfg.model.in_features == 4000


def test_variables_count_where_they_are_read(tmp_path):
    files = {"a": "< .base import *\nsize = 1\nwork_dir = f'{size}'", "b": "size = 2\nlog_level = f'L{size}'"}
    cfg = load(tmp_path, **files, leaf="< .a import *\n< .b import *")
    assert (cfg.work_dir, cfg.log_level) == ("1", "L2")  # each has used its own
    with pytest.raises(ConfigError, match="size = 1 becomes 2"):
        load(tmp_path, **files, leaf="< .a import *\n< .b import *\nload_from = f'{size}.pth'")


def test_the_fault_deep_down_is_found(tmp_path):
    middle = "< .large import *\n< .data import *"
    with pytest.raises(ConfigError, match=r"middle\.py, line 4.*undone"):
        load(tmp_path, large=LARGE, data=DATA, middle=middle, leaf="< .middle import *")


def test_shipped_bases_that_undo_each_other(tmp_path):
    bases = "< vislab.configs.eco_m2f._base_.cpu import *\n< vislab.configs.eco_m2f._base_.coco_panoptic import *"
    with pytest.raises(ConfigError, match=r"cpu\.py.*undone by .*coco_panoptic\.py.*mask2former\.py: .*max_iters"):
        load_config(write(tmp_path, leaf=bases))
