"""Write runs as one HTML file: curves, results, pictures, classes, settings that differ, conditions.

    vislab report work_dirs/a                          # writes work_dirs/a/report.html
    vislab report work_dirs/a work_dirs/b --out ab.html

The file has at most 2 MB and opens without a server, network or scripts. Training writes it at its end.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="WORK_DIR", help="work directories")
    parser.add_argument("--out", metavar="F", help="HTML file (default: report.html in the first work directory)")


def main(args: argparse.Namespace) -> None:
    from vislab.report.page import write_report

    print(f"report: {write_report(args.runs, args.out or Path(args.runs[0], 'report.html'))}")
