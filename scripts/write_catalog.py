"""Writes the pages that are made from the catalogues of mixers and tasks.

    python scripts/write_catalog.py

The table of mixers goes into README.md, the tasks into docs/tasks.md.
"""

import pathlib

from seqjax.nn import catalog as mixers
from seqjax.tasks import overview as tasks

ROOT = pathlib.Path(__file__).parent.parent
BEGIN, END = '<!-- mixers -->\n', '<!-- end of mixers -->\n'
TITLE = """# The tasks

Made from `seqjax.tasks.TASKS` by `scripts/write_catalog.py`, at the defaults of
every entry. Chance is the expected score of the best prediction that ignores
the inputs, the ceiling that of the best prediction; a test confirms both by
sampling. Accuracies are better when higher; bits, and squared errors, when
lower.

"""


def with_table(readme: str) -> str:
  """Puts the table of mixers between the two marks of a page."""
  before, rest = readme.split(BEGIN)
  _, after = rest.split(END)
  return before + BEGIN + mixers.markdown() + '\n' + END + after


def tasks_page() -> str:
  """Returns the page of tasks, with its title."""
  return TITLE + tasks.markdown()


def main():
  readme = ROOT / 'README.md'
  readme.write_text(with_table(readme.read_text()))
  page = ROOT / 'docs' / 'tasks.md'
  page.parent.mkdir(exist_ok=True)
  page.write_text(tasks_page())


if __name__ == '__main__':
  main()
