"""The command line, `cmo`. Every command takes --json and then prints JSON and nothing else on stdout.

Exit codes: 0 done, 1 failed, 2 wrong usage.
"""

from cmo.cli.app import main

__all__ = ["main"]
