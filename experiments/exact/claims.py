"""Judges the claims that are computations, and claim 0.17 by all of them."""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments import folders
from experiments.exact.checks import deviation
from seqjax.analysis.statistics import Interval
from seqjax.analysis.verdicts import (
  REFUTED,
  SUPPORTED,
  UNDECIDED,
  Claim,
  Verdict,
  condition,
  judge,
)
from seqjax.results import table

COMMAND = 'python -m experiments.exact --preset=full'
ALL = 'SUPPORTED if every check holds to its tolerance, else REFUTED. Checks: '
EACH = (
  'SUPPORTED if every check holds to its tolerance, REFUTED if some check '
  'fails of each subject, CONDITIONAL with their names where it fails of '
  'some. Checks: '
)
CLAIMS = {
  '0.1': Claim(
    'Sequences of any length are the domain of one set of parameters.',
    f'{EACH}trajectories of 1, 3, 50 and 5,000 points give finite outputs, and '
    'three points padded with NaN to 64 give what they give alone.',
  ),
  '0.2': Claim(
    'Padding and truncation are workarounds outside the model.',
    f'{ALL}the answer of a sequence model that is told which positions are '
    'pads depends neither on what they hold nor on their side; that of an MLP '
    'over all positions depends on their side in nine of ten examples, and '
    'not on what truncation cuts off.',
  ),
  '0.3': Claim(
    'An MLP over all positions is tied to its T_max.',
    f'{ALL}its parameters are those counted by hand, which grow by d h for '
    'each position, and T_max + 1 positions are refused; those of other '
    'models do not depend on T_max, learned positions apart, which grow by d.',
  ),
  '0.5': Claim(
    'Padding wastes compute.',
    f'{ALL}lines of source code, padded to the longest, are by more than half '
    'pads; buckets and packed rows hold the same characters in fewer '
    'positions; padded over packed, FLOPs have the ratio of the rows.',
  ),
  '0.10': Claim(
    'Convolutions share parameters over space, recurrent networks over time.',
    f'{EACH}windowed mixers commute with a shift beyond their window, and '
    'their derivatives are zero outside it; one step at all positions is the '
    'recurrent layer; no parameter is added by length.',
  ),
  '0.15': Claim(
    'An output of another length than its input needs extra machinery.',
    f'{ALL}a stack of any mixer gives as many outputs as inputs, and the loss '
    'refuses them; an encoder-decoder gives as many as the target has, and '
    'trains for 50 updates.',
  ),
  '0.17': Claim(
    'The recurrent network closes three gaps: length, state and sharing.',
    'A table of other claims: length by 0.1, 0.2 and 0.3, state by 1.5 and '
    '0.11, sharing by 0.8, 0.9 and 0.10. Those of this folder hold if every '
    'check of elman, gru and lstm does, the others if they are SUPPORTED. '
    'SUPPORTED if all hold, REFUTED if none does; UNDECIDED while one of them '
    'is, by the committed tables, or was not measured.',
  ),
  '0.18': Claim(
    'Five shapes of inputs and outputs cover the tasks.',
    f'{ALL}each of four models takes two tasks of every shape that it is for, '
    'with finite gradients and a loss that falls in 50 updates, and refuses '
    'the tasks of all other shapes.',
  ),
  '1.3': Claim(
    'A window of tau values turns a series into examples.',
    f'{ALL}1,000 values at tau = 4 give arrays of shape (996, 4) and (996,), '
    'equal to those of a loop.',
  ),
  '1.5': Claim(
    'The hidden state is a summary of fixed size: length is not structural.',
    f'{EACH}steps equal the scan, a cut changes nothing, saving the carry '
    'changes no bit, and a carry has as many bytes after a million positions '
    'as after one; a cache of all positions has as many as counted by hand.',
  ),
  '1.7': Claim(
    'The chain rule makes a distribution over sequences.',
    f'{ALL}the probabilities of all 4,096 sequences of six tokens sum to 1 '
    'within 1e-6 for every n-gram model and mixer; the chi-square of 4,096 '
    'samples lies within five deviations of its mean.',
  ),
  '1.8': Claim(
    'Counting gives the conditional distribution.',
    f'{ALL}n-grams of 1 to 5 tokens are counted as by a loop, p(w | h) is '
    'n(hw) / n(h), and sums to 1 after every context.',
  ),
  '1.14': Claim(
    'Text becomes windows, and where they start matters.',
    f"{ALL}in \"the time machine\" 'the t' is followed by i and 'he ti' by m; "
    'one epoch has one offset, and 200 epochs with random offsets cover all '
    'windows.',
  ),
  '1.16': Claim(
    'A batch of text is (batch, num_steps, feature), its labels (batch, '
    'num_steps).',
    f'{ALL}(32, 4, 256), (32, 4) and embedded (32, 4, 28); one-hot vectors '
    'times W are the embedding.',
  ),
}
RECURRENT = ('elman', 'gru', 'lstm')
GAPS = {
  'length': ('0.1', '0.2', '0.3'),
  'state': ('1.5', '0.11'),
  'sharing': ('0.8', '0.9', '0.10'),
}
ELSEWHERE = {'0.8': 'positions', '0.9': 'positions', '0.11': 'reach'}
# The parts that speak of recurrent networks, where others speak of others.
PARTS = {'0.8': ('0.8a', '0.8b'), '0.9': ('0.9a',)}

Rows = Sequence[Mapping[str, Any]]


def verdicts(rows: Rows) -> list[Verdict]:
  """Judges every claim; one without rows is undecided and names the command."""
  return [
    _gaps(rows) if id == '0.17' else _judged(id, of_claim(rows, id))
    for id in CLAIMS
  ]


def of_claim(rows: Rows, id: str) -> Rows:
  """Returns the checks of a claim."""
  return table.select(rows, claim=f'claim {id}')


def _judged(id: str, rows: Rows) -> Verdict:
  """Judges one claim by its checks."""
  if not rows:
    sentence = f'No check was made; {COMMAND} makes them.'
    return Verdict(id, UNDECIDED, sentence=sentence)
  failed = [row for row in rows if not _holds(row)]
  subjects = {row['subject']: True for row in rows}
  subjects |= {row['subject']: False for row in failed}
  verdict = SUPPORTED if not failed else REFUTED
  if EACH in CLAIMS[id].rule:
    verdict = judge(subjects)
  worst = max(map(_size, rows))
  sentence = (
    f'All {len(rows)} checks hold; the largest deviation is {worst:.2g} times '
    'its tolerance.'
  )
  if failed:
    first = max(failed, key=_size)
    names = condition({s: held for s, held in subjects.items() if not held})
    sentence = (
      f'{len(failed)} of {len(rows)} checks fail: {names}. Furthest off is '
      f'"{first["check"]}" of {first["subject"]} at size {first["size"]}: '
      f'{first["expected"]:g} is expected, {first["got"]:g} came out.'
    )
  held = len(rows) - len(failed)
  return Verdict(
    id,
    verdict,
    sentence=sentence,
    quantity='checks that hold',
    unit=f'of {len(rows)}',
    effect=Interval(held, held, held),
  )


def _holds(row: Mapping[str, Any]) -> bool:
  return deviation(row) <= row['tolerance']


def _size(row: Mapping[str, Any]) -> float:
  """Returns a deviation over its tolerance: 0 or infinity where that is 0."""
  off = deviation(row)
  if not row['tolerance']:
    return np.inf if off else 0.0
  return off / row['tolerance']


def _gaps(rows: Rows) -> Verdict:
  """Judges claim 0.17 by the claims that it stands for."""
  answers = {
    id: _elsewhere(id) if id in ELSEWHERE else _recurrent(rows, id)
    for ids in GAPS.values()
    for id in ids
  }
  runs = dict.fromkeys(
    command
    for id, answer in answers.items()
    if answer is None
    for command in _commands(id)
  )
  parts = [
    f'{gap}: {condition({id: answers[id] for id in ids})}'
    for gap, ids in GAPS.items()
  ]
  missing = f' Open until these have run: {"; ".join(runs)}.' if runs else ''
  verdict = UNDECIDED if runs else judge(answers)
  return Verdict('0.17', verdict, sentence=f'{"; ".join(parts)}.{missing}')


def _recurrent(rows: Rows, id: str) -> bool | None:
  """Returns whether all checks of recurrent networks hold; None: none made."""
  own = [row for row in of_claim(rows, id) if row['subject'] in RECURRENT]
  return all(map(_holds, own)) if own else None


def _commands(id: str) -> list[str]:
  """Returns the commands that may decide a claim that is open."""
  found = [
    command
    for verdict in _committed(id)
    if verdict.verdict == UNDECIDED
    for command in folders.commands_in(verdict.sentence)
  ]
  whole = f'python -m experiments.{ELSEWHERE.get(id, "exact")} --preset=full'
  return found or [whole]


def _elsewhere(id: str) -> bool | None:
  """Returns how the committed table of another folder answers a claim."""
  words = {verdict.verdict for verdict in _committed(id)}
  if words <= {SUPPORTED, UNDECIDED}:  # a condition is none of the claim's
    return None if UNDECIDED in words or not words else True
  return False


def _committed(id: str) -> list[Verdict]:
  """Returns the verdicts of another folder's committed table on a claim."""
  if id not in ELSEWHERE:
    return []
  path = folders.ROOT / ELSEWHERE[id] / 'results.csv'
  if not path.is_file():
    return []
  found = _judged_in(ELSEWHERE[id], path, path.stat().st_mtime_ns)
  parts = PARTS.get(id) or [v.id for v in found if v.id.rstrip('abcdef') == id]
  return [verdict for verdict in found if verdict.id in parts]


@functools.lru_cache(maxsize=8)
def _judged_in(name: str, path: pathlib.Path, changed: int) -> list[Verdict]:
  """Judges another folder's table, once for each time that it has changed."""
  del changed
  return folders.find(name).verdicts(table.read(path))
