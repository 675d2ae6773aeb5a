"""Prints the oldest versions that setup.py allows, as constraints for pip."""

import pathlib
import re

SETUP = pathlib.Path(__file__).parent.parent / 'setup.py'


def minima(text: str) -> list[str]:
  """Returns 'name==version' for each 'name>=version' of a setup.py."""
  found = re.findall(r"'([\w.-]+)(?:\[[\w,]+\])?>=([\d.]+)'", text)
  return [f'{name}=={version}' for name, version in found]


if __name__ == '__main__':
  print(*minima(SETUP.read_text(encoding='utf-8')), sep='\n')
