"""Test that links in README and docs lead to files, commands have the flags of their tools, and code blocks run."""

import importlib.util
import re
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.helpers import redness
from tests.helpers.warm import run_warm
from vislab.apis import models, predictor
from vislab.apis.build import build_model

REPOSITORY = Path(__file__).parents[1]
PAGES = [
    REPOSITORY / "README.md",
    *sorted(REPOSITORY.glob("docs/*.md")),
    *sorted(REPOSITORY.glob("configs/**/README.md")),
]
PAGES += [REPOSITORY / name for name in ("CONTRIBUTING.md", "data/README.md", "tests/README.md")]
COMMAND = re.compile(r"(?:python (tools/[\w/]+\.py|benchmarks/\w+\.py)|\bvislab ([a-z-]+))((?:[^\n`]|\\\n)*)")


def page_id(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("site_hooks", REPOSITORY / "docs/site_hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_links_lead_to_files(path, hooks):
    source = page_id(path)
    page = next((page for page, file in hooks.PAGES.items() if file == source), source.removeprefix("docs/"))
    hooks.rewrite_links(path.read_text(), page, source)


def test_links_between_pages(hooks):
    text = hooks.rewrite_links(
        "[a](docs/cae.md#x) [b](configs/cae/README.md) [c](vislab/cli.py)", "index.md", "README.md"
    )
    assert text == "[a](cae.md#x) [b](configs/cae.md) c"
    assert hooks.rewrite_links("[d](../data/README.md)", "reference/x.md", "docs/x.md") == "[d](../data.md)"
    with pytest.raises(FileNotFoundError, match=r"none\.md"):
        hooks.rewrite_links("[a](none.md)", "index.md", "README.md")


def test_code_breaks_between_words(hooks):
    html = "<p><code>vislab train a_b --out &lt;x&gt;/y -m</code></p><pre><code>a_b --out</code></pre>"
    assert hooks.on_page_content(html) == (
        '<p><code>vislab train a_<wbr>b <span class="option">--out</span> &lt;x&gt;/<wbr>y '
        '<span class="option">-m</span></code></p><pre><code>a_b --out</code></pre>'
    )


def slug(heading: str) -> str:
    """The anchor of a heading on GitHub."""
    return re.sub(r"[^\w\- ]", "", re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading).lower()).replace(" ", "-")


@pytest.mark.parametrize("path", [*PAGES, REPOSITORY / "benchmarks/RESULTS.md"], ids=page_id)
def test_anchors_are_headings(path):
    for target, anchor in re.findall(r"\]\(([\w./-]*)#([^)]*)\)", path.read_text()):
        page = (path.parent / target) if target else path
        headings = re.findall(r"^#+ (.*)", page.read_text(), re.MULTILINE)
        assert anchor in {slug(heading) for heading in headings}, f"{target}#{anchor}"


def test_the_site_has_the_anchors_of_github():
    assert (
        "slugify: !!python/object/apply:pymdownx.slugs.slugify {kwds: {case: lower}}"
        in (REPOSITORY / "mkdocs.yml").read_text()
    )


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_code_is_no_part_of_a_list(path):
    """A block that is indented below a list item is a paragraph on the site."""
    found = re.findall(r"^- .*\n(?:  .*\n)*\n( {4,7}\S.*)", path.read_text(), re.MULTILINE)
    assert not found


def test_every_page_is_in_the_navigation(hooks):
    navigation = (REPOSITORY / "mkdocs.yml").read_text()
    pages = [str(path.relative_to(REPOSITORY / "docs")) for path in (REPOSITORY / "docs").rglob("*.md")]
    pages += hooks.PAGES
    assert [page for page in pages if f": {page}" not in navigation] == []


@cache
def declared_flags(script: str) -> set[str]:
    """The flags that a tool, its command in the package, or a helper of it declares."""
    path = REPOSITORY / script
    sources = [
        path,
        REPOSITORY / f"vislab/commands/{path.stem}.py",
        REPOSITORY / "vislab/cli.py",
        path.parent / "_common.py",
    ]
    return {flag for source in sources if source.is_file() for flag in re.findall(r'"(--[\w-]+)"', source.read_text())}


def commands() -> list[tuple[str, str, str]]:
    found = []
    for path in PAGES:
        for match in COMMAND.finditer(path.read_text()):
            words = match[3].split("#")[0].replace("\\\n", " ")
            script = match[1] or f"tools/{match[2].replace('-', '_')}.py"
            if match[1] or (REPOSITORY / script).is_file():  # not of sentences such as "vislab is ..."
                found.append((page_id(path), script, words))
    return found


def test_commands_have_the_flags_of_their_tools():
    wrong, checked = [], 0
    for page, script, words in commands():
        if not (REPOSITORY / script).is_file():
            wrong.append(f"{page}: {script} does not exist")
            continue
        for flag in re.findall(r"(?<![\w-])--[a-z][\w-]*", words):
            checked += 1
            if flag not in declared_flags(script):
                wrong.append(f"{page}: {script} has no {flag}")
    assert not wrong
    assert checked > 40


def test_code_of_extending_runs(tmp_path):
    """The blocks of docs/extending.md are files, whose first line is their name; the config trains a step."""
    blocks = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", (REPOSITORY / "docs/extending.md").read_text(), re.DOTALL)
    assert [name for name, _ in blocks] == ["my_table.py", "my_loss.py", "my_config.py"]
    for name, code in blocks:
        (tmp_path / name).write_text(code)
    rows = ["image,label"]
    for index in range(8):
        rows.append(f"{index}.png,{'cat' if index % 2 else 'dog'}")
        (tmp_path / "photos").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / f"photos/{index}.png"), np.full((70, 80, 3), 30 * index, np.uint8))
    (tmp_path / "photos/table.csv").write_text("\n".join(rows))
    done = run_warm([REPOSITORY / "tools/train.py", "my_config.py", "--check"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "OK" in done.stdout


def test_code_of_predicting_runs(tmp_path, monkeypatch):
    """The blocks of docs/predicting.md, one after the other, with small models without weights."""
    pytest.importorskip("supervision")
    monkeypatch.setattr(predictor, "load_model", stand_in)
    monkeypatch.setattr(models, "load_model", stand_in)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in ("photo.jpg", "photos/a.png", "photos/b.png"):
        cv2.imwrite(name, np.full((48, 64, 3), (10, 100, 200), np.uint8))
    (tmp_path / "photos/broken.jpg").write_text("no image")
    blocks = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs/predicting.md").read_text(), re.DOTALL)
    names: dict = {}
    for block in blocks:
        exec(compile(block, "docs/predicting.md", "exec"), names)
    assert len(blocks) == 6 and (tmp_path / "results/photo.png").is_file() and sum(names["counts"].values()) == 2
    assert len(names["detections"]) == 1 and names["scene"].shape == (48, 64, 3)


def stand_in(config, checkpoint, **options):
    """What `load_model` returns, for a small model that predicts objects or the class of the image."""
    cfg = redness.config(metainfo={"classes": ["person", "dog", *(f"class {i}" for i in range(2, 256))]})
    cfg.model["type"] = redness.Finder if "detr" in config else redness.Redness
    return cfg, build_model(cfg, device="cpu"), {}
