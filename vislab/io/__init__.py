"""Files on the disk and from the network: checkpoints, images, videos, archives, paths, downloads; without mmengine."""
