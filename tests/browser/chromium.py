"""Headless Chromium and a JupyterLab server for tests; both are absent on many machines, and tests skip there."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.real import ROOT

SHOTS = ROOT / "outputs" / "browser"  # screenshots, to be looked at
PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip

LIMIT = 120_000  # milliseconds to wait for anything: machines of a CI are slow

_lacking = "Chromium (apt-get install chromium)" if not PROGRAM else "" if find_spec("playwright") else "playwright"
needs_chromium = pytest.mark.skipif(bool(_lacking), reason=f"not at hand: {_lacking}")


class Tab:
    """A page, the addresses it asked for, and the errors in its console."""

    def __init__(self, page) -> None:
        self.page, self.asked, self.errors = page, [], []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def foreign(self, *allowed: str) -> list[str]:
        """Addresses asked for that do not begin with one of `allowed`."""
        return [url for url in self.asked if not url.startswith((*allowed, "data:", "blob:"))]

    def shot(self, name: str, **options) -> None:
        """Keeps a screenshot."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png", **options)


@contextmanager
def tab(folder: Path, dark: bool = False, width: int = 1280, height: int = 1000) -> Iterator[Tab]:
    """Opens a browser with a fresh profile in `folder`."""
    from playwright.sync_api import sync_playwright

    size, scheme = {"width": width, "height": height}, "dark" if dark else "light"
    with sync_playwright() as driver:
        browser = driver.chromium.launch_persistent_context(
            str(folder), executable_path=PROGRAM, headless=True, args=FLAGS, viewport=size, color_scheme=scheme
        )
        browser.set_default_timeout(LIMIT)
        opened = Tab(browser.new_page())
        try:
            yield opened
        except Exception:
            opened.shot("failed")
            raise
        finally:
            browser.close()


@contextmanager
def lab(folder: Path, work: Path) -> Iterator[str]:
    """Serves `folder` by JupyterLab with settings of its own under `work`; yields the address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = dict(os.environ, PYTHONPATH=str(ROOT))
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


def run_all(page, url: str) -> None:
    """Opens a notebook in JupyterLab and starts all its cells; does not wait for them."""
    page.goto(url)
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]")
    page.wait_for_selector(".jp-Spinner", state="hidden")
    page.wait_for_timeout(3000)  # commands given at the first idle are lost
    page.locator(".jp-Notebook .jp-Cell").first.click()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
