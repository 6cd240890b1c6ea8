"""Check figures that pages quote: run the quick command of each and say whether it is kept.

    vislab verify README.md docs/*.md
    vislab verify docs/hnerv.md --only hnerv_bunny     # commands that contain a word
    vislab verify README.md docs/*.md --list           # the marks, without running anything

A page marks a figure with a comment, `<!-- verify: python SCRIPT --quick; key = value +- tolerance -->`, or says in it
why there is no quick command. The status is 1 if a figure moved or its command failed. Run it in the repository.
"""

import argparse
import sys
from collections import Counter

from vislab.cli import at_least
from vislab.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pages", nargs="+", metavar="PAGE", help="Markdown files")
    parser.add_argument("--only", default="", metavar="WORD", help="only commands that contain it")
    parser.add_argument(
        "--timeout", type=at_least(1, float), default=600, metavar="S", help="seconds per command (default 600)"
    )
    parser.add_argument("--list", action="store_true", help="print the marks and stop")


def main(args: argparse.Namespace) -> None:
    from vislab.report.figures import read_figures, verify

    figures = [figure for figure in read_figures(args.pages) if args.only in figure.command]
    if args.only and not figures:
        raise ConfigError(f"--only {args.only}: no command of these pages contains it; --list prints them")
    if args.list:
        for figure in figures:
            print(f"{figure.place}  {figure.command or f'not here: {figure.reason}'}")
        print(f"{len(figures)} figures")
        return
    counts: Counter[str] = Counter()
    for verdict in verify(figures, ".", args.timeout):
        counts[verdict.status] += 1
        print(f"{verdict.status:<9} {verdict.figure.place}  {verdict.text}", flush=True)
    print(", ".join(f"{counts[status]} {status}" for status in ("kept", "moved", "failed", "not here")))
    if counts["moved"] or counts["failed"]:
        sys.exit(1)
