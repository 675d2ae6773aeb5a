"""Judges claims 2.1 and 2.6 by the measured times.

2.1  An RNN is sequential: the hardware idles, and it is slow.
2.6  Transformers train dramatically faster.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from seqjax.analysis import scaling
from seqjax.analysis.statistics import Interval, median_interval
from seqjax.analysis.verdicts import UNDECIDED, Verdict, judge
from seqjax.results import table
from seqjax.results.plotting import bytes_text as _bytes

RNN, ATTENTION, PARALLEL = 'lstm', 'attention', 'mingru (associative)'
DRAMATIC = 2.0  # times faster
ASYMPTOTIC = 256  # exponents are fitted from this length on

Rows = Sequence[dict[str, Any]]


def verdicts(rows: Rows) -> list[Verdict]:
  """Judges both claims, about the machine that the rows come from."""
  if not _ratios(rows, RNN, ATTENTION, 'training'):
    return [_undecided('2.1'), _undecided('2.6')]
  return [_sequential_and_slow(rows), _dramatically_faster(rows)]


def exponents(rows: Rows) -> list[dict[str, Any]]:
  """Fits exponents of time in length: a row per mixer, a column per cell."""
  found = []
  for name in dict.fromkeys(row['mixer'] for row in rows):
    entry = {'mixer': name}
    for work, size in _cells(rows):
      curve = _curve(rows, name, work, size, shortest=ASYMPTOTIC)
      entry[f'{work} B={size}'] = '-'
      if len(curve) >= 2:
        power = scaling.exponent(list(curve), list(curve.values()))
        entry[f'{work} B={size}'] = _show(power)
    found.append(entry)
  return found


def crossovers(rows: Rows) -> list[dict[str, Any]]:
  """The length at which attention stops being cheaper than each mixer."""
  found = []
  for name in dict.fromkeys(row['mixer'] for row in rows):
    if name == ATTENTION:
      continue
    entry = {'mixer': name}
    for work, size in _cells(rows):
      entry[f'{work} B={size}'] = _crossover(rows, name, work, size)
    found.append(entry)
  return found


def moved(rows: Rows) -> list[dict[str, Any]]:
  """Finds where LSTM and attention cost the same, by how both are computed."""
  found = []
  for pair in ((RNN, ATTENTION), (f'{RNN} (plain)', f'{ATTENTION} (plain)')):
    if not {row['mixer'] for row in rows}.issuperset(pair):
      return []
    entry = {'pair': ' and '.join(pair)}
    for work, size in _cells(rows):
      entry[f'{work} B={size}'] = _crossover(rows, pair[0], work, size, pair[1])
    found.append(entry)
  return found


def entries(rows: Rows) -> list[dict[str, Any]]:
  """Who competed: width, parameters, carry, and what the hardware was used."""
  found = []
  for name in dict.fromkeys(row['mixer'] for row in rows):
    mine = table.select(rows, mixer=name)
    trained = [
      row for row in mine if row['work'] == 'training' and row.get('seconds')
    ]
    resident = [r['resident_bytes'] for r in mine if r.get('resident_bytes')]
    longest = max(row['length'] for row in mine)
    (carry,) = {r['state_floats'] for r in mine if r['length'] == longest}
    slowest = max(
      (row['compile_seconds'] for row in trained), default=float('nan')
    )
    share = max((row['share_of_peak'] for row in trained), default=None)
    found.append(
      {
        'mixer': name,
        'features': mine[0]['features'],
        'parameters': mine[0]['mixer_parameters'],
        f'carry floats at {longest}': carry,
        'best share of matmul peak': '-' if share is None else f'{share:.1%}',
        'longest compile, training': f'{slowest:.2g} s',
        'resident, training B=1': ', '.join(map(_bytes, resident)) or '-',
      }
    )
  return found


def missing(rows: Rows) -> list[str]:
  """Lists what was predicted not to fit, and how large it would have been."""
  return [
    f'{row["mixer"]}, {row["work"]} at '
    f'{_at((row["length"], row["batch_size"]))}: does not fit '
    f'({_bytes(row["needed_bytes"])})'
    for row in rows
    if row.get('seconds') is None
  ]


def summary(rows: Rows) -> str:
  """The tables that the main job prints."""
  parts = [
    f'{title}\n\n{table.format(lines, list(lines[0]))}'
    for title, lines in (
      ('Mixers, at equal parameters', entries(rows)),
      (
        f'Exponents of time in length, from {ASYMPTOTIC} positions on (95 %)',
        exponents(rows),
      ),
      (
        'Lengths at which each mixer and attention cost the same (95 %); else'
        ' whether the mixer is the cheaper one',
        crossovers(rows),
      ),
      (
        'The same of an LSTM and attention, by how both are computed',
        moved(rows),
      ),
    )
    if lines
  ]
  return '\n\n'.join([*parts, '\n'.join(missing(rows))]).rstrip()


def _sequential_and_slow(rows) -> Verdict:
  """Slower than attention at every length and batch size, and idling?"""
  ratios = _ratios(rows, RNN, ATTENTION, 'training')
  slower = {cell for cell, r in ratios.items() if r.low > 1}
  faster = {cell for cell, r in ratios.items() if r.high < 1}
  longest = max(ratios)
  share, other = (
    _share_of_peak(rows, name, *longest) for name in (RNN, ATTENTION)
  )
  sentence = (
    f'In training the LSTM takes {ratios[longest].value:.2g} times the time of '
    f'attention at {_at(longest)}; it is slower at {_list(slower)}, faster at '
    f'{_list(faster)}{_left_out(rows)}. It uses {share:.1%} of the matmul peak '
    f'there, attention {other:.1%}'
  )
  parallel = _ratios(rows, PARALLEL, RNN, 'training').get(longest)
  if parallel is not None:
    sentence += (
      '; minGRU, whose recurrence is linear and runs as an associative scan, '
      f'takes {parallel.value:.2g} times the LSTM'
    )
  return _verdict('2.1', ratios, slower, faster, sentence)


def _dramatically_faster(rows) -> Verdict:
  """Twice as fast in training everywhere?  And what of decoding?"""
  ratios = _ratios(rows, RNN, ATTENTION, 'training')
  holds = {cell for cell, r in ratios.items() if r.low > DRAMATIC}
  fails = {cell for cell, r in ratios.items() if r.high < DRAMATIC}
  sentence = (
    f'Attention trains more than {DRAMATIC:g} times as fast as the LSTM at '
    f'{_list(holds)}; it does not at {_list(fails)}{_left_out(rows)}'
  )
  decoding = _ratios(rows, RNN, ATTENTION, 'decoding')
  if decoding:
    last = max(decoding)
    sentence += (
      f'; decoding a token after {last[0]} positions at batch {last[1]} costs '
      f'the LSTM {decoding[last].value:.2g} times what it costs attention, '
      f'whose carry has {_state_floats(rows, ATTENTION, last[0]):,} floats '
      f'against {_state_floats(rows, RNN, last[0]):,}'
    )
  return _verdict('2.6', ratios, holds, fails, sentence)


def _left_out(rows) -> str:
  """Names the cells where attention needs too much memory to be trained."""
  cells = {
    (row['length'], row['batch_size'])
    for row in table.select(rows, mixer=ATTENTION, work='training')
    if row.get('seconds') is None
  }
  return f', and attention does not fit at {_list(cells)}' if cells else ''


def _verdict(claim, ratios, holds, fails, sentence) -> Verdict:
  """Supported or refuted in every cell, or conditional on it."""
  answers = {
    _at(cell): True if cell in holds else False if cell in fails else None
    for cell in ratios
  }
  return Verdict(
    claim,
    judge(answers),
    sentence=sentence + '.',
    quantity='training time of the LSTM over that of attention',
    unit='times',
    effect=ratios[max(ratios)],
  )


def _undecided(claim: str) -> Verdict:
  sentence = (
    f'It cannot be judged without training times of {RNN} and {ATTENTION} at '
    'the same length and batch size.'
  )
  return Verdict(claim, UNDECIDED, sentence=sentence)


def _ratios(rows, name, other, work) -> dict[tuple[int, int], Interval]:
  """(length, batch size) -> seconds of one over the other, round by round."""
  found = {}
  for _, size in [cell for cell in _cells(rows) if cell[0] == work]:
    ours = _curve(rows, name, work, size)
    theirs = _curve(rows, other, work, size)
    for length in sorted(ours.keys() & theirs.keys()):
      found[length, size] = median_interval(
        np.divide(ours[length], theirs[length])
      )
  return found


def _crossover(rows, name, work, size, other=ATTENTION) -> str:
  ours = _curve(rows, name, work, size)
  theirs = _curve(rows, other, work, size)
  lengths = sorted(ours.keys() & theirs.keys())
  if len(lengths) < 2:
    return '-'
  a, b = ([curve[n] for n in lengths] for curve in (ours, theirs))
  found = scaling.crossover(lengths, a, b)
  if found is not None:
    return _show(found, digits=0)
  sides = np.sign(np.median(a, axis=1) - np.median(b, axis=1))
  if len(set(sides)) > 1:
    return 'more than one'
  cheaper = sides[-1] < 0
  return f'none in range: {"cheaper" if cheaper else "dearer"}'


def _cells(rows) -> list[tuple[str, int]]:
  return list(dict.fromkeys((row['work'], row['batch_size']) for row in rows))


def _curve(rows, name, work, size, shortest=1) -> dict[int, tuple[float, ...]]:
  """length -> seconds of every round, where it fitted."""
  chosen = table.select(rows, mixer=name, work=work, batch_size=size)
  return {
    row['length']: row['round_seconds']
    for row in chosen
    if row.get('seconds') is not None and row['length'] >= shortest
  }


def _share_of_peak(rows, name, length, size) -> float:
  (row,) = table.select(
    rows, mixer=name, work='training', length=length, batch_size=size
  )
  return row['share_of_peak']


def _state_floats(rows, name, length) -> int:
  return table.select(rows, mixer=name, length=length)[0]['state_floats']


def _at(cell) -> str:
  return f'{cell[0]} positions, batch {cell[1]}'


def _list(cells) -> str:
  if not cells:
    return 'no length'
  by_size = {}
  for length, size in sorted(cells):
    by_size.setdefault(size, []).append(str(length))
  return '; '.join(
    f'{", ".join(lengths)} (batch {size})'
    for size, lengths in sorted(by_size.items())
  )


def _show(interval: Interval, digits: int = 2) -> str:
  value, low, high = (f'{number:.{digits}f}' for number in interval)
  return f'{value} [{low}, {high}]'
