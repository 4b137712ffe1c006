"""What tests of several folders share: one run of every notebook on the smoke profile.

Where tests run in several processes, those of a file stay together, and so do all that need the executed notebooks:
they begin first, because they take longest.
"""

import pytest

from tests.smoke import Smoke, run_smoke


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Smoke:
    """Every notebook, run headless on the smoke profile; made once, not to be changed."""
    return run_smoke(tmp_path_factory.mktemp("smoke"))


@pytest.hookimpl(tryfirst=True)  # before the plugin that shares them out looks at the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Says which tests stay together."""

    def group(item: pytest.Item) -> str:
        return "notebooks" if "smoke" in getattr(item, "fixturenames", ()) else item.location[0]

    for item in items:
        item.add_marker(pytest.mark.xdist_group(group(item)))
    items.sort(key=lambda item: group(item) != "notebooks")
