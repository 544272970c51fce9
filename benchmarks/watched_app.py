"""The application as Chainlit serves it, with a watch on its event loop: `chainlit run benchmarks/watched_app.py`.

What the watch sees goes into the file named by LOOP_WATCH_FILE when the process gets SIGUSR1. For measuring only.
"""

from __future__ import annotations

import asyncio
import os
import runpy
import signal
from pathlib import Path

from chainlit.config import config

from benchmarks.loop_watch import LoopWatch, write

runpy.run_path(str(Path(__file__).resolve().parents[1] / "app.py"))

_start_application = config.code.on_app_startup


async def _start() -> None:
    watch = LoopWatch()
    await watch.start()
    file = Path(os.environ["LOOP_WATCH_FILE"])
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, write, watch, file)
    if _start_application is not None:
        await _start_application()


config.code.on_app_startup = _start
