"""ECO-M2F on CamVid, whose validation images are decoded from a .hnv file.

Command:  python tools/train.py configs/combinations/hnv_eco_m2f_lite0_camvid.py
          python tools/test.py configs/combinations/hnv_eco_m2f_lite0_camvid.py CHECKPOINT
          with a CHECKPOINT of this config or of configs/eco_m2f/eco_m2f_lite0_camvid_cpu.py
Data:     python tools/prepare_data.py weights camvid; VISLAB_DATA is the data folder
Hardware: 2 CPU cores, 2000 iterations
Result:   not run in this length; docs/combinations.md has the mIoU of short runs with and without
"""

from mmengine.config import read_base

from vislab.datasets.transforms import LoadVideoFrame

with read_base():
    from ..eco_m2f.eco_m2f_lite0_camvid_cpu import *

video = "camvid_val.hnv"  # vislab hnerv encode $VISLAB_DATA/camvid/val camvid_val.hnv
val_dataloader["dataset"].update(pipeline=[dict(type=LoadVideoFrame, source=video), *test_pipeline])
