"""Extends finished runs: the same config, but for more steps."""

import os
import pathlib
from typing import Any

from seqjax.results import lock, records
from seqjax.results.json_files import write_json

STEPS = 'steps'


def finished_earlier(workdir: str | os.PathLike, config: Any) -> int | None:
  """Returns the steps of a run that `extend` would train for longer.

  None where the workdir holds no finished run, or one whose config differs in
  more than fewer steps.
  """
  workdir = pathlib.Path(workdir)
  if not (workdir / records.CONFIG).is_file():
    return None
  if not (workdir / records.SUMMARY).is_file():
    return None
  there = records.read_config(workdir)['config']
  wanted = records.fields_of(config)
  had = there.get(STEPS)
  same = there == wanted | {STEPS: had}
  return had if same and had < wanted[STEPS] else None


def extend(workdir: str | os.PathLike, config: Any) -> int | None:
  """Makes a finished run one that goes on to the steps of `config`.

  Its summary is kept as summary-<steps>.json, and config.json says what was
  extended. A run that goes on to as many steps already is left as it is.

  Args:
    workdir: its folder.
    config: as that of the run, but for a field `steps`.

  Returns:
    The steps that the run had; None where there was nothing to extend.

  Raises:
    ValueError: there is no run, it has not finished or has stopped before its
      last step, it has as many steps or more, or another field differs.
  """
  workdir = pathlib.Path(workdir)
  content = records.read_config(workdir)
  there, wanted = content['config'], records.fields_of(config)
  had = there.get(STEPS)
  if had == wanted[STEPS] and content.get('extended'):
    return None
  records.check_same_config(workdir, wanted | {STEPS: had})
  if not (workdir / records.SUMMARY).exists():
    raise ValueError(
      f'The run in {str(workdir)!r} has not finished: the same command without '
      f'--extend, with --steps={had}, finishes it first.'
    )
  taken = records.read_summary(workdir).get('steps_taken')
  if taken != had or wanted[STEPS] <= had:
    raise ValueError(
      f'A finished run is extended to more steps than it took, but that in '
      f'{str(workdir)!r} has made {taken} of {had}, and steps='
      f'{wanted[STEPS]} was given.'
    )
  with lock.held(workdir):
    # The summary first: with a config of more steps it would be wrong.
    os.replace(workdir / records.SUMMARY, workdir / f'summary-{had}.json')
    extended = [
      *content.get('extended', []),
      {'from': had, 'to': wanted[STEPS]},
    ]
    content |= {'config': wanted, 'extended': extended}
    write_json(workdir / records.CONFIG, content)
  return had
