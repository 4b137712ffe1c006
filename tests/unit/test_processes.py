"""Workers end with the process that started them, and any terminal can show what is printed."""

import os
import subprocess
import sys

import pytest

AHEAD = """
import time
from cslab.ahead import ahead
with ahead(time.sleep, [(0,), (60,), (60,)], workers=2) as made:
    next(made)
    print("working", flush=True)
    next(made)
"""
POOL = """
import os, sys, time
from cslab.pool import pool
with pool(2, sys.stdout) as run:
    run.submit(os.getpid).result()
    print("working", flush=True)
    run.submit(time.sleep, 60).result()
"""


@pytest.mark.parametrize("code", [AHEAD, POOL])
def test_workers_end_when_the_process_that_started_them_is_killed(code):
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "working\n"
    process.kill()
    # The pipe is open as long as a worker lives.
    process.communicate(timeout=20)


def test_what_a_terminal_lacks_is_printed_as_its_code():
    code = "from cslab.processes import readable_output; readable_output(); print('é → \N{CYRILLIC CAPITAL LETTER YA}')"
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert done.stdout.decode("cp1252").strip() == r"é \u2192 \u042f"
