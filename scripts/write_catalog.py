"""Writes the pages that are made from catalogues and committed tables.

    python -m scripts.write_catalog

docs/mixers.md has the table of mixers, docs/tasks.md the tasks,
docs/experiments.md the questions, docs/limits.md the benchmark.
"""

import pathlib
from typing import Any

from experiments import folders
from experiments.peers import benchmark
from seqjax.nn import catalog as mixers
from seqjax.results import table
from seqjax.tasks import overview as tasks

ROOT = pathlib.Path(__file__).parent.parent
TITLE = """# The tasks

Made from `seqjax.tasks.TASKS` by `scripts/write_catalog.py`, at the defaults of
every entry. Chance is the expected score of the best prediction that ignores
the inputs, the ceiling that of the best prediction (in `regbench`, of someone
who knows the automaton); a test confirms both by sampling. Accuracies are
better when higher; bits, and squared errors, when lower.

"""


def between(text: str, mark: str, content: str) -> str:
  """Puts content between the two marks of a page."""
  begin, end = f'<!-- {mark} -->\n', f'<!-- end of {mark} -->\n'
  before, rest = text.split(begin)
  _, after = rest.split(end)
  return f'{before}{begin}{content}\n{end}{after}'


def questions() -> str:
  """Returns a table of the experiments."""
  return table.markdown(
    [
      {'folder': f'`{name}`', 'question': folders.find(name).question}
      for name in folders.names()
    ],
    ('folder', 'question'),
  )


def benchmark_table() -> str:
  """Returns the ten rows of the committed benchmark."""
  return benchmark.markdown(benchmark.lines(_measured()))


def whole_benchmark() -> str:
  """Returns the rows of all sizes of the committed benchmark."""
  return benchmark.markdown(benchmark.every_line(_measured()))


def _measured() -> list[dict[str, Any]]:
  return table.read(folders.ROOT / 'peers' / 'results.csv')


def tasks_page() -> str:
  """Returns the page of tasks, with its title."""
  return TITLE + tasks.markdown()


TABLES = {
  'mixers': ('mixers.md', mixers.markdown),
  'experiments': ('experiments.md', questions),
  'benchmark': ('limits.md', benchmark_table),
  'benchmark of all sizes': ('limits.md', whole_benchmark),
}


def main():
  docs = ROOT / 'docs'
  for mark, (name, content) in TABLES.items():
    page = docs / name
    page.write_text(between(page.read_text(), mark, content()))
  (docs / 'tasks.md').write_text(tasks_page())


if __name__ == '__main__':
  main()
