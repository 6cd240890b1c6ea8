"""Test PCA and clusters: separated groups become clusters, the file holds all, wrong sizes are refused."""

import numpy as np
import pytest

from vislab.errors import ConfigError, DataError
from vislab.systems.mutdet.codebook import Codebook


@pytest.fixture(scope="module")
def groups() -> tuple[np.ndarray, np.ndarray]:
    """120 embeddings of 40 channels around 6 centers, and their group."""
    rng = np.random.default_rng(0)
    group = np.arange(120) % 6
    return rng.normal(0, 1, (6, 40))[group] * 5 + rng.normal(0, 0.1, (120, 40)), group


def test_groups_become_clusters(groups):
    features, group = groups
    embeddings, labels = Codebook.fit(features, dims=8, clusters=6).apply(features)
    assert embeddings.shape == (120, 8) and embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    assert len({(a, b) for a, b in zip(group.tolist(), labels.tolist(), strict=True)}) == 6
    assert labels.tolist() == Codebook.fit(features, dims=8, clusters=6).apply(features)[1].tolist()


def test_file(groups, tmp_path):
    book = Codebook.fit(groups[0], dims=8, clusters=6)
    np.testing.assert_allclose(np.linalg.norm(book.centroids, axis=1), 1, atol=1e-5)
    book.save(tmp_path / "a.safetensors")
    for a, b in zip(Codebook.load(tmp_path / "a.safetensors").apply(groups[0]), book.apply(groups[0]), strict=True):
        np.testing.assert_array_equal(a, b)
    (tmp_path / "b.safetensors").write_bytes(b"no file")
    for name in ("b", "none"):
        with pytest.raises(DataError, match="is not a codebook file"):
            Codebook.load(tmp_path / f"{name}.safetensors")


@pytest.mark.parametrize("dims, clusters", [(41, 6), (8, 121), (121, 6)])
def test_more_than_there_is(groups, dims, clusters):
    with pytest.raises(ConfigError, match=f"{dims} components and {clusters} clusters of 120 embeddings with 40"):
        Codebook.fit(groups[0], dims=dims, clusters=clusters)


def test_embeddings_of_another_encoder(groups):
    book = Codebook.fit(groups[0], dims=8, clusters=6)
    with pytest.raises(DataError, match="made for 40 channels"):
        book.apply(groups[0][:, :39])
    assert book.apply(groups[0][:0])[0].shape == (0, 8)
