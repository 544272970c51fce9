"""Stands in for `cmo index --json --progress`: `python fake_run.py STEP ...`.

A step is "print TEXT", "many LENGTH" (a line of it), "progress DONE TOTAL", "complain TEXT", "wait" (for ever),
"finish-on-term" (from here on SIGTERM ends it with the code of a cancelled run), "ignore-term" or "exit CODE".
"""

import json
import signal
import sys


def progress(done: str, total: str) -> None:
    fields = {"files_done": int(done), "files_total": int(total), "pages": 3, "passages": 7, "seconds_left": 1.5}
    print(json.dumps({"progress": {**fields, "file": "a.pdf"}}), flush=True)


def finish(*_: object) -> None:
    print(json.dumps({"files": [], "cancelled": True}), flush=True)
    sys.exit(1)


def do(step: str) -> None:
    verb, *words = step.split(" ")
    match verb:
        case "print":
            print(" ".join(words), flush=True)
        case "many":
            print("x" * int(words[0]), flush=True)
        case "progress":
            progress(*words)
        case "complain":
            print(" ".join(words), file=sys.stderr, flush=True)
        case "finish-on-term":
            signal.signal(signal.SIGTERM, finish)
        case "ignore-term":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        case "wait":
            while True:
                signal.pause()
        case "exit":
            sys.exit(int(words[0]))


for each in sys.argv[1:]:
    do(each)
