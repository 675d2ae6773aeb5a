"""One group a file, unless a test says better."""

import pytest


def pytest_collection_modifyitems(items):
  for item in items:
    if not any(mark.name == 'xdist_group' for mark in item.iter_markers()):
      item.add_marker(pytest.mark.xdist_group(item.path.name))
