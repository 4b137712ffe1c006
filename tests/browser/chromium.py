"""Headless Chromium and a JupyterLab server for tests; both are absent on many machines, and tests skip there."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.real import ROOT
from tests.smoke import NUMBERED

SHOTS = ROOT / "outputs" / "browser"  # screenshots, to be looked at
PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip

FAILED = ".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']"
READY = """() => { const session = window.jupyterapp?.shell.currentWidget?.sessionContext;
  return session?.isReady && session.session?.kernel?.status === "idle" }"""
RUN = """limit => Promise.race([jupyterapp.commands.execute("notebook:run-all-cells"),
  new Promise((_, refuse) => setTimeout(() => refuse(new Error("cells still running")), limit))])"""
PROFILE = 'PROFILE: str = \\"demo\\"'  # as notebooks have it in their files
SETTINGS = "SETTINGS: list = []"
LIMIT = 120_000  # milliseconds to wait for anything: machines of a CI are slow

_lacking = "Chromium (apt-get install chromium)" if not PROGRAM else "" if find_spec("playwright") else "playwright"
needs_chromium = pytest.mark.skipif(bool(_lacking), reason=f"not at hand: {_lacking}")


class Tab:
    """A page, the addresses it asked for, and the errors in its console."""

    def __init__(self, page: Any) -> None:
        self.page, self.asked, self.errors = page, [], []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def foreign(self, *allowed: str) -> list[str]:
        """Addresses asked for that do not begin with one of `allowed`."""
        return [url for url in self.asked if not url.startswith((*allowed, "data:", "blob:"))]

    def shot(self, name: str, part: Any = None, **options: Any) -> None:
        """Keeps a screenshot of the page, or of a part of it."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        (part or self.page).screenshot(path=SHOTS / f"{name}.png", **options)


@contextmanager
def chromium() -> Iterator[Any]:
    """Starts a headless browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=PROGRAM, headless=True, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def tab(browser: Any, dark: bool = False, width: int = 1280, height: int = 1000, **options: Any) -> Iterator[Tab]:
    """Opens a page in a profile of its own.

    Args:
        browser: of `chromium`.
        dark: whether the reader prefers dark pages.
        width, height: of the window.
        options: of the profile; `offline=True` blocks the network.
    """
    size, scheme = {"width": width, "height": height}, "dark" if dark else "light"
    context = browser.new_context(viewport=size, color_scheme=scheme, **options)
    context.set_default_timeout(LIMIT)
    opened = Tab(context.new_page())
    try:
        yield opened
    except Exception:
        opened.shot("failed")
        raise
    finally:
        context.close()


def set_notebooks(folder: Path, profile: str) -> None:
    """Copies the numbered notebooks to a new folder, set to a profile."""
    folder.mkdir()
    for path in NUMBERED:
        set_notebook(path, folder / path.name, {PROFILE: PROFILE.replace("demo", profile)})


def set_notebook(path: Path, copy: Path, lines: Mapping[str, str]) -> None:
    """Copies a notebook with other values in its parameters: beginnings of its lines, and what takes their place."""
    text = path.read_text(encoding="utf-8")
    for line, other in lines.items():
        if text.count(line) != 1:
            raise ValueError(f"{path.name}: its parameters have no line {line}")
        text = text.replace(line, other)
    copy.write_text(text, encoding="utf-8")


@contextmanager
def lab(folder: Path, work: Path, outputs: Path) -> Iterator[str]:
    """Serves `folder` by JupyterLab with settings of its own under `work`; its kernels write to `outputs`.

    Yields:
        The address.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = dict(os.environ, PYTHONPATH=str(ROOT), CSLAB_OUTPUTS=str(outputs), CSLAB_OFFLINE="1")
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR"):
        (work / name).mkdir(parents=True)
        env[name] = str(work / name)
    settings = {
        "apputils-extension/notification": '{"fetchNews":"false","checkForUpdates":false}',  # pop-ups cover a corner
        "notebook-extension/tracker": '{"windowingMode":"none"}',  # else cells outside the window are not there
    }
    for name, text in settings.items():
        path = work / "JUPYTERLAB_SETTINGS_DIR" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
               "--ServerApp.port_retries=0", "--ServerApp.token=", "--ServerApp.password=",
               "--LabApp.expose_app_in_browser=True", f"--ServerApp.root_dir={folder}"]  # fmt: skip
    with open(work / "lab.log", "w") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/api/status", work / "lab.log")
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _wait_for(address: str, log: Path, limit: float = 120) -> None:
    until = time.monotonic() + limit
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return
        except OSError:
            time.sleep(0.3)
    pytest.fail(f"JupyterLab did not start in {limit} s: {log.read_text()[-2000:]}")


def open_notebook(page: Any, url: str) -> None:
    """Opens a notebook in JupyterLab and waits until its kernel is ready."""
    page.goto(url)
    page.wait_for_function(READY)
    page.wait_for_selector(".jp-Spinner", state="hidden")


def run_all(page: Any, url: str) -> None:
    """Opens a notebook in JupyterLab, runs all its cells as its menu does, and waits until the last has ended."""
    open_notebook(page, url)
    page.evaluate(RUN, 3 * LIMIT)
    failed = page.locator(FAILED)
    assert failed.count() == 0, failed.first.inner_text()[-2000:]
    page.keyboard.press("Control+b")  # the file browser goes
