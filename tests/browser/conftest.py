"""One Chromium and one JupyterLab for all browser tests: starting them takes longer than most of the tests."""

import shutil

import pytest

from tests.browser.chromium import chromium, lab, set_notebooks


@pytest.fixture(scope="package")
def browser():
    """A headless Chromium."""
    with chromium() as found:
        yield found


@pytest.fixture(scope="package")
def served(smoke, tmp_path_factory) -> str:
    """The address of a JupyterLab with the notebooks, set to a copy of what the smoke profile has made."""
    assert smoke.done.returncode == 0, smoke.done.stdout[-3000:]
    work = tmp_path_factory.mktemp("lab")
    shutil.copytree(smoke.outputs, work / "outputs")
    set_notebooks(work / "notebooks", "smoke")
    with lab(work / "notebooks", work, work / "outputs") as address:
        yield address
