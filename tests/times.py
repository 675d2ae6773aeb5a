"""Records where the seconds of the suite go: tests, compilation, laws.

    scripts/test.sh --times                      records and prints a summary
    python -m tests.times runs/test_times.jsonl  prints the summary again
    python -m tests.times runs/test_times.jsonl --laws
                                                 prints the laws of every entry

Every worker appends a JSON line per test: its seconds by the clock and of the
processor, how many functions it compiled and the seconds of that, and each law
that a contract checked.
"""

import collections
import functools
import json
import os
import pathlib
import sys
import time

import jax
import pytest

PHASES = {
  '/jax/core/compile/jaxpr_trace_duration': 'trace',
  '/jax/core/compile/jaxpr_to_mlir_module_duration': 'lower',
  '/jax/core/compile/backend_compile_duration': 'compile',
}
LAW = '_check_'  # begins the names of functions that check one


class Times:
  """A pytest plugin that appends to a file."""

  def __init__(self, path: str):
    self._path = pathlib.Path(path)
    self._path.parent.mkdir(parents=True, exist_ok=True)
    self._phases, self._laws = collections.Counter(), []
    jax.monitoring.register_event_duration_secs_listener(self._listen)

  def _listen(self, event: str, seconds: float, **_):
    if event in PHASES:
      self._phases[PHASES[event]] += seconds
      self._phases[f'{PHASES[event]} count'] += 1

  def pytest_collection_finish(self):
    """Wraps the functions that check laws, to time each."""
    # Imported here, once the types of the package are checked by its hook.
    from seqjax.testing import mixers, tasks

    for module in (mixers, tasks):
      for name, function in list(vars(module).items()):
        if name.startswith(LAW) and callable(function):
          setattr(module, name, self._timed(name.removeprefix(LAW), function))

  def _timed(self, law: str, function):
    @functools.wraps(function)
    def check(*args, **kwargs):
      began = time.perf_counter()
      try:
        return function(*args, **kwargs)
      finally:
        self._laws.append([law, time.perf_counter() - began])

    return check

  @pytest.hookimpl(wrapper=True)
  def pytest_runtest_protocol(self, item, nextitem):
    self._phases.clear()
    self._laws.clear()
    began, spent = time.perf_counter(), processor_seconds()
    try:
      return (yield)
    finally:
      line = {
        'test': item.nodeid,
        'seconds': time.perf_counter() - began,
        'processor': processor_seconds() - spent,
        'phases': dict(self._phases),
        'laws': list(self._laws),
      }
      with self._path.open('a') as file:
        file.write(json.dumps(line) + '\n')


def processor_seconds() -> float:
  """Returns those of this process and of its children that have ended."""
  return sum(os.times()[:4])


def summary(lines: list[dict], most: int = 25) -> str:
  """Returns tables of seconds by file and by law, and the longest tests."""
  files = collections.defaultdict(collections.Counter)
  laws = collections.Counter()
  for line in lines:
    file = files[line['test'].partition('::')[0]]
    file.update(line['phases'])
    file['tests'] += 1
    file['seconds'] += line['seconds']
    file['processor'] += line['processor']
    for law, seconds in line['laws']:
      laws[law] += seconds
  whole = sum(files.values(), collections.Counter())
  files = {'all': whole, **dict(_by(files, lambda part: -part['seconds']))}
  parts = [
    'seconds  processor  tests  compiled  compile   lower   trace  file',
    *(_row(name, part) for name, part in list(files.items())[: most + 1]),
    '\nseconds  law',
    *(f'{seconds:7.1f}  {law}' for law, seconds in laws.most_common()),
    '\nseconds  test',
    *(
      f'{line["seconds"]:7.1f}  {line["test"]}'
      for line in sorted(lines, key=lambda line: -line['seconds'])[:most]
    ),
  ]
  return '\n'.join(parts)


def laws(lines: list[dict]) -> str:
  """Returns the laws that every entry of a contract was held to."""
  found = {
    line['test']: ', '.join(law for law, _ in line['laws'])
    for line in lines
    if line['laws']
  }
  return '\n'.join(
    f'{test}: {of_test}' for test, of_test in sorted(found.items())
  )


def _by(parts, key):
  return sorted(parts.items(), key=lambda item: key(item[1]))


def _row(name: str, part: collections.Counter) -> str:
  seconds = '  '.join(f'{part[x]:6.1f}' for x in ('compile', 'lower', 'trace'))
  counts = f'{part["tests"]:5d}  {part["compile count"]:8d}'
  clocks = f'{part["seconds"]:7.1f}  {part["processor"]:9.1f}'
  return f'{clocks}  {counts}  {seconds}  {name}'


def main(path: str, *options: str):
  lines = [json.loads(x) for x in pathlib.Path(path).read_text().splitlines()]
  print(laws(lines) if '--laws' in options else summary(lines))


if __name__ == '__main__':
  main(*sys.argv[1:])
