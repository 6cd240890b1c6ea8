"""Reading and writing of files: checkpoints, images, videos, archives, paths, downloads. Does not import mmengine."""
