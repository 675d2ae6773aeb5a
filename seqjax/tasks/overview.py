"""The catalogue of tasks as a page: shape, chance, ceiling, source, example."""

import inspect
import re
from itertools import takewhile

from seqjax.tasks.catalog import TASKS

HEADER = ('task', 'shape', 'score', 'chance', 'ceiling', 'source')


def table() -> list[tuple[str, ...]]:
  """Returns HEADER, and a row for every entry of the catalogue."""
  return [HEADER, *map(_row, TASKS)]


def markdown() -> str:
  """Returns the table, and below it every task with an example."""
  header, *rows = table()
  lines = [header, ('---',) * len(header), *rows]
  body = '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)
  return '\n\n'.join([body, *map(_section, TASKS)]) + '\n'


def _row(name):
  task = TASKS[name]()
  return (
    f'[`{name}`](#{name})',
    task.shape.value,
    task.metric.value,
    task.chance_name or _number(task.chance),
    _number(task.ceiling),
    task.reference,
  )


def _number(value: float | None) -> str:
  return 'unknown' if value is None else f'{value:.4g}'


def _section(name):
  doc = inspect.getdoc(type(TASKS[name]()))
  summary, *_ = doc.split('\n')
  return '\n\n'.join([f'## {name}', summary, *_example(doc)])


def _example(doc: str) -> list[str]:
  """Returns the drawing of inputs over targets, as a block of code."""
  drawn = re.search(r'^ *(\w+ +)?(inputs?|source|series) .*', doc, re.MULTILINE)
  if drawn is None:
    return []
  lines = takewhile(str.strip, doc[drawn.start() :].split('\n'))
  return ['```\n' + inspect.cleandoc('\n'.join(['', *lines])) + '\n```']
