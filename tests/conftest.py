"""What tests of several folders share: one run of every notebook on the smoke profile.

Tests that need it begin first: where files are shared out among processes, the longest must not be left for the end.
"""

import pytest

from tests.smoke import Smoke, run_smoke


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Smoke:
    """Every notebook, run headless on the smoke profile; made once, not to be changed."""
    return run_smoke(tmp_path_factory.mktemp("smoke"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts first what takes longest."""
    items.sort(key=lambda item: "smoke" not in getattr(item, "fixturenames", ()))
