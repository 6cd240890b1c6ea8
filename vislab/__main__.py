"""The command `vislab`, also `python -m vislab`: `vislab train CONFIG` calls vislab/commands/train.py."""

import argparse
import sys
from importlib import import_module
from pathlib import Path

from vislab import __version__
from vislab.cli import run
from vislab.errors import did_you_mean

COMMANDS = sorted(path.stem.replace("_", "-") for path in Path(__file__).parent.glob("commands/[a-z]*.py"))


def main() -> None:
    """Run the command that the first argument names."""
    name, rest = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("--help", [])
    if name in ("-h", "--help"):
        print(overview())
    elif name == "--version":
        print(__version__)
    elif name not in COMMANDS:
        hint = did_you_mean(name, COMMANDS, ".")
        sys.exit(f"error: vislab has no command {name!r}{hint} `vislab --help` lists them")
    else:
        run_command(name, rest, prog=f"vislab {name}")


def run_command(name: str, arguments: list[str] | None = None, prog: str | None = None) -> None:
    """Parse the arguments of a command and run it; exits with its status.

    Args:
        name: One of COMMANDS.
        arguments: Default: those of the process.
        prog: Name of the program in messages. Default: that of the script.
    """
    command = import_module(f"vislab.commands.{name.replace('-', '_')}")
    parser = argparse.ArgumentParser(
        prog=prog, description=command.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_arguments(parser)
    args = parser.parse_args(arguments)
    run(lambda: command.main(args))


def overview() -> str:
    """Return the list of commands with their first sentences."""
    lines = ["usage: vislab COMMAND ...", "", "commands (`vislab COMMAND --help` for each):"]
    for name in COMMANDS:
        about = import_module(f"vislab.commands.{name.replace('-', '_')}").__doc__.splitlines()[0]
        lines.append(f"  {name:<16}{about}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
