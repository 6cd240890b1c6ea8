"""Hooks of the site (mkdocs.yml): pages from files outside docs/, and links that lead out of docs/.

On the disk, links are relative to their file, so that they work in an editor and on the repository's host. On the site,
a link to a file that is a page leads to this page, and a link to any other file of the repository becomes its name.
"""

import posixpath
import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SYSTEMS = REPOSITORY.glob("configs/*/README.md")
# page of the site: file of the repository
PAGES = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "results.md": "benchmarks/RESULTS.md",
    "data.md": "data/README.md",
    "tests.md": "tests/README.md",
    "configs.md": "configs/README.md",
    **{f"configs/{path.parent.name}.md": f"configs/{path.parent.name}/README.md" for path in SYSTEMS},
}
CODE = re.compile(r"(?<!<pre>)<code>([^<]*)</code>")  # in a sentence or a table
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files, config):
    """Return `files` with the pages of PAGES."""
    from mkdocs.structure.files import File  # the links are checked without mkdocs, too

    for page, source in PAGES.items():
        files.append(File.generated(config, page, content=(REPOSITORY / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown, page, **unused):
    """Return the page with links rewritten for the site."""
    name = page.file.src_uri
    return rewrite_links(markdown, name, PAGES.get(name, f"docs/{name}"))


def on_page_content(html, **unused):
    """Return the page with code in sentences and tables broken at the end of words, and never inside an option."""
    return CODE.sub(lambda match: f"<code>{breakable(match[1])}</code>", html)


def breakable(code: str) -> str:
    """Return the HTML of `code` with places for line breaks after _ and /, and none in options such as --out."""
    code = re.sub(r"(?<=\w_)(?=\w)|(?<=[^\s/]/)(?=[^\s/])", "<wbr>", code)
    return re.sub(r"(?<![\w-])--?\w[\w-]*", r'<span class="option">\g<0></span>', code)


def rewrite_links(markdown: str, page: str, source: str) -> str:
    """Return `markdown` with links between files of the repository as links between pages.

    Args:
        markdown: Text of the page.
        page: Path of the page in the site, such as "configs/cae.md".
        source: Path of its file in the repository, such as "configs/cae/README.md".

    Raises:
        FileNotFoundError: A link leads to a file that does not exist.
    """
    pages = {source: page for page, source in PAGES.items()}

    def rewritten(match: re.Match) -> str:
        image, text, link, anchor = match[1], match[2], match[3], match[4] or ""
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
        if not (REPOSITORY / target).exists():
            raise FileNotFoundError(f"{source} has a link to {link}, which does not exist")
        readme = posixpath.join(target, "README.md")
        found = pages.get(target) or pages.get(readme) or (target[5:] if target.startswith("docs/") else None)
        if found is None:
            return text if image else f"`{target}`" if text.strip("`") == posixpath.basename(link) else text
        return f"{image}[{text}]({posixpath.relpath(found, posixpath.dirname(page) or '.')}{anchor})"

    return LINK.sub(rewritten, markdown)
