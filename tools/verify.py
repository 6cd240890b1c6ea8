"""`vislab verify` for a checkout that is not installed: see vislab/commands/verify.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from vislab.__main__ import run_command

if __name__ == "__main__":
    run_command("verify")
