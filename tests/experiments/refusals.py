"""Options that a cell refuses before it writes anything."""

import pathlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import pytest


def check(
  main: ModuleType,
  options: Mapping[str, Any],
  message: str,
  folder: pathlib.Path,
):
  """Asserts that a cell with bad options is refused, with one sentence.

  Args:
    main: the module of an experiment that has `Config` and `run`.
    options: fields of the Config.
    message: a pattern of the sentence.
    folder: where the cell would be written; there is nothing beside it.
  """
  with pytest.raises(ValueError, match=message) as error:
    main.run(main.Config(**options), folder)
  assert len(str(error.value).splitlines()) == 1
  assert not list(folder.parent.iterdir())
