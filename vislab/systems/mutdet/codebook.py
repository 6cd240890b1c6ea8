"""PCA and k-means of object embeddings: fitted once, stored, and applied to any set."""

from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from vislab.errors import ConfigError, DataError
from vislab.io.atomic import write_atomically

_KEYS = ("mean", "components", "centroids")


class Codebook:
    """Projects embeddings to fewer dimensions and unit length, and assigns them to clusters.

    Args:
        mean: (D,) mean of the embeddings.
        components: (C, D) principal components.
        centroids: (K, C) centers of the clusters, of unit length.
    """

    def __init__(self, mean: np.ndarray, components: np.ndarray, centroids: np.ndarray) -> None:
        self.mean, self.components, self.centroids = (np.asarray(a, np.float32) for a in (mean, components, centroids))

    @classmethod
    def fit(cls, features: np.ndarray, *, dims: int = 256, clusters: int = 256, seed: int = 0) -> "Codebook":
        """Fit PCA and k-means.

        Args:
            features: (N, D) embeddings.
            dims: Number of principal components; at most D.
            clusters: Number of clusters.
            seed: Random seed.

        Raises:
            ConfigError: There are more components or clusters than embeddings, or more components than channels.
        """
        features = np.asarray(features, np.float32)
        count, channels = features.shape
        if dims > channels or max(dims, clusters) > count:
            raise ConfigError(
                f"{dims} components and {clusters} clusters of {count} embeddings with {channels} channels: there must "
                "be at least as many embeddings as either, and as many channels as components. Set fewer"
            )
        pca = PCA(dims, random_state=seed).fit(features)
        projected = _unit((features - pca.mean_) @ pca.components_.T)
        centers = KMeans(clusters, n_init=1, random_state=seed).fit(projected).cluster_centers_
        return cls(pca.mean_, pca.components_, _unit(centers))

    def apply(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return embeddings (N, C) float32 of unit length, and the cluster (N,) int64 of the highest cosine."""
        if features.shape[1:] != (len(self.mean),):
            raise DataError(
                f"the embeddings have shape {features.shape}, the codebook was made for {len(self.mean)} channels: use "
                "the encoder it was fitted with"
            )
        embeddings = _unit((np.asarray(features, np.float32) - self.mean) @ self.components.T)  # (N, C)
        return embeddings, (embeddings @ self.centroids.T).argmax(axis=1)

    def save(self, path: str | Path) -> None:
        """Write the arrays to a safetensors file."""
        data = save({key: np.ascontiguousarray(getattr(self, key)) for key in _KEYS})
        write_atomically(path, lambda file: file.write(data))

    @classmethod
    def load(cls, path: str | Path) -> "Codebook":
        """Read a file of `save`.

        Raises:
            DataError: The file is missing or not a codebook.
        """
        try:
            with safe_open(path, "np") as file:
                return cls(*(file.get_tensor(key) for key in _KEYS))
        except (OSError, SafetensorError) as error:
            raise DataError(f"{path} is not a codebook file with {', '.join(_KEYS)}: {error}") from error


def _unit(rows: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.maximum(norm, 1e-12)).astype(np.float32)
