"""Judges claims 2.1 and 2.6 by the measured times, on one machine."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from experiments.parallelism import card, recalled
from experiments.parallelism.ratios import (
  ATTENTION,
  PRIMARY,
  Cell,
  Rows,
  cell_of,
  count,
  crossing,
  ratios,
  show,
  timed,
)
from seqjax.analysis import contrasts, rules
from seqjax.analysis import verdicts as words
from seqjax.analysis.statistics import LEVEL, Interval
from seqjax.analysis.verdicts import (
  CONDITIONAL,
  REFUTED,
  SUPPORTED,
  UNDECIDED,
  Claim,
  Verdict,
)
from seqjax.results import table

RNN = 'lstm'
TOLERANCE = 1e-4  # of the largest state
DRAMATIC = 2.0  # times faster
COMMAND = 'python -m experiments.parallelism'

_TESTED = (
  f'Primary contrast: {PRIMARY}, five processes, Student, level {LEVEL:.4f}. '
  'Other cells are tested likewise; CONDITIONAL where two answer differently, '
  'and where no GPU was timed.'
)
CLAIMS = {
  '2.1a': Claim(
    'A recurrent network cannot be parallelised over time.',
    "Refuted where Newton's method (LSTM, GRU) and an associative scan "
    f'(minGRU) give the states of a scan, within {TOLERANCE:g} of the largest, '
    'without that scan, and in fewer dependent steps than there are positions: '
    'iterations times the logarithm of positions. With random and with trained '
    'weights. A solver that does not converge decides nothing. Primary '
    'contrast: the LSTM, an exact check.',
  ),
  '2.1b': Claim(
    'While a recurrent network is trained, the hardware idles.',
    'Share of the matmul peak of attention over that of the LSTM: idle above '
    f'{rules.SLOWER}, not idle below {rules.NOT_SLOWER}. {_TESTED}',
  ),
  '2.1c': Claim(
    'A recurrent network is slow.',
    'Training time of the LSTM over that of attention at equal parameters: '
    f'slow above {rules.SLOWER}, not slow below {rules.NOT_SLOWER}. {_TESTED}',
  ),
  '2.6': Claim(
    'Transformers train dramatically faster.',
    'Training time of the LSTM over that of attention at equal parameters: '
    f'dramatically faster above {DRAMATIC:g}, not so below. {_TESTED}',
  ),
}


class Contrast(NamedTuple):
  """Ratios by cell, one per process, and the margins that they are held to."""

  quantity: str
  ratios: Mapping[Cell, list[float]]
  slow: float = rules.SLOWER
  same: float = rules.NOT_SLOWER

  def answers(self) -> dict[Cell, rules.Answer]:
    return {
      cell: rules.slower(each, 1 - LEVEL, self.slow, self.same)
      for cell, each in self.ratios.items()
    }


def verdicts(rows: Rows) -> list[Verdict]:
  """Judges the parts of both claims."""
  shares = Contrast(
    'share of the matmul peak of attention over that of the LSTM',
    ratios(rows, ATTENTION, RNN, column='share_of_peak'),
  )
  times = Contrast(
    'training time of the LSTM over that of attention', ratios(rows, RNN)
  )
  dramatic = times._replace(slow=DRAMATIC, same=DRAMATIC)
  suspect = _suspect(rows)
  judged = [
    _judged('2.1b', shares, _shares(rows) + suspect),
    _judged('2.1c', times, suspect),
    _judged('2.6', dramatic, _beside(rows) + suspect),
  ]
  devices = {row['device'] for row in rows}
  return [
    _parallel(table.select(rows, work='exact')),
    *(words.on_hardware(verdict, devices) for verdict in judged),
  ]


def _parallel(rows: Rows) -> Verdict:
  """Judges 2.1a by the rows of the exact check."""
  found = {(row['mixer'], row['weights']) for row in rows}
  if missing := {(RNN, 'random'), (RNN, 'trained')} - found:
    kinds = ' and '.join(sorted(kind for _, kind in missing))
    sentence = (
      f'It cannot be judged without the exact check of the {RNN} with {kinds} '
      f'weights; {COMMAND} --mixers=lstm,gru,mingru --work=exact makes it.'
    )
    return Verdict('2.1a', UNDECIDED, sentence=sentence)
  holds, steps = {}, []
  for mixer, kind in sorted(found):
    mine = table.select(rows, mixer=mixer, weights=kind)
    holds[f'{mixer} ({kind} weights)'] = _is_sequential(mine)
    if mixer == RNN:
      each = (f'{r["iterations"]} for {r["positions"]} positions' for r in mine)
      steps.append(f'with {kind} weights {", ".join(each)}')
  lstm = {holds[f'{RNN} ({kind} weights)'] for kind in ('random', 'trained')}
  word = (
    UNDECIDED
    if None in lstm
    else words.judge(
      {name: answer for name, answer in holds.items() if answer is not None}
    )
  )
  deviations = [float(row['deviation']) for row in rows]
  worst = max(filter(math.isfinite, deviations), default=None)
  return Verdict(
    '2.1a',
    word,
    scope=f'{count(rows[0]["parameters"])} parameters, float32, up to '
    f'{max(row["positions"] for row in rows)} positions',
    sentence=f'{_computed(holds)} Iterations of '
    f"Newton's method on the LSTM: {'; '.join(steps)}.",
    quantity='largest deviation from the scan, over the largest state',
    effect=None if worst is None else Interval(worst, worst, worst),
  )


def _is_sequential(rows: Rows) -> bool | None:
  """Tells if computing all positions at once takes as many steps as a scan.

  None where the solver did not converge, or to something else.
  """
  if not all(row['converged'] for row in rows):
    return None
  if not all(float(row['deviation']) <= TOLERANCE for row in rows):
    return None
  return not all(_dependent_steps(row) < row['positions'] for row in rows)


def _dependent_steps(row: Mapping) -> int:
  """Counts steps that wait for each other: an iteration is a parallel scan."""
  return (row['iterations'] or 1) * math.ceil(math.log2(row['positions']))


def _computed(holds: Mapping[str, bool | None]) -> str:
  """Says which were computed in parallel, in whole sentences."""
  texts = {
    False: 'Computed in parallel: {}.',
    True: 'In as many steps as a scan: {}.',
    None: 'Not converged, or to other states: {}.',
  }
  said = []
  for answer, text in texts.items():
    names = [name for name, found in holds.items() if found is answer]
    said += [text.format(', '.join(names))] if names else []
  return ' '.join(said)


def _judged(claim: str, contrast: Contrast, more: str) -> Verdict:
  """Judges by the primary cell, unless another one answers otherwise."""
  answers = contrast.answers()
  primary = answers.get(PRIMARY, rules.Answer(None, None))
  word = {True: SUPPORTED, False: REFUTED, None: UNDECIDED}[primary.holds]
  decided = {answer.holds for answer in answers.values()}
  if primary.holds is not None and {True, False} <= decided:
    word = CONDITIONAL
  measured = {
    c: r for c, r in contrast.ratios.items() if len(r) >= rules.MIN_SEEDS
  }
  at = PRIMARY
  if word == REFUTED:  # the best case for the claim
    at = max(measured, key=lambda cell: np.mean(measured[cell]))
  sentence = _listed(answers) + more
  if primary.effect is None:
    sentence = _missing(len(contrast.ratios.get(PRIMARY, ()))) + sentence
  return Verdict(
    claim,
    word,
    scope=_scope(contrast.ratios),
    sentence=sentence.rstrip(),
    quantity=f'{contrast.quantity} at {at}',
    unit='times',
    effect=contrasts.ratio_interval(measured[at]) if at in measured else None,
    p=primary.p,
    leans=_leans(contrast) if word == UNDECIDED else '',
    more=f'--processes={3 * max(map(len, measured.values()))}'
    if measured
    else '',
  )


def _missing(processes: int) -> str:
  """Says what the primary contrast lacks, and how to measure it."""
  return (
    f'It cannot be judged without training times of {RNN} and {ATTENTION} at '
    f'{PRIMARY}, in {rules.MIN_SEEDS} processes ({processes} there are); '
    f'{COMMAND} --mixers={RNN},{ATTENTION} --work=training '
    f'--parameters={PRIMARY.parameters} --blocks={PRIMARY.block} '
    f'--batch_sizes={PRIMARY.batch_size} --lengths={PRIMARY.length} measures '
    'them. '
  )


def _leans(contrast: Contrast) -> str:
  """Returns the side of most processes at the primary cell, else of cells."""
  sides, of = contrast.ratios.get(PRIMARY), 'processes'
  if not sides:
    sides = [np.median(each) for each in contrast.ratios.values()]
    of = 'cells'
  above = sum(ratio**2 > contrast.slow * contrast.same for ratio in sides)
  if 2 * above == len(sides):
    return ''
  word = SUPPORTED if 2 * above > len(sides) else REFUTED
  return f'to {word} ({max(above, len(sides) - above)} of {len(sides)} {of})'


def _listed(answers: Mapping[Cell, rules.Answer]) -> str:
  """Counts the cells by answer, and names those of the rarer one."""
  tested = {c: a.holds for c, a in answers.items() if a.effect is not None}
  holds = [cell for cell, answer in tested.items() if answer]
  fails = [cell for cell, answer in tested.items() if answer is False]
  if not tested:
    return ''
  said = (
    f'Of {len(tested)} settings with {rules.MIN_SEEDS} processes it holds in '
    f'{len(holds)} and fails in {len(fails)}; p is that of {PRIMARY}. '
  )
  rarer, text = min((holds, 'It holds at'), (fails, 'It fails at'), key=_size)
  if not rarer:
    return said
  lengths = {}
  for cell in rarer:
    lengths.setdefault(cell.sizes, []).append(str(cell.length))
  listed = (f'{", ".join(n)} ({sizes})' for sizes, n in lengths.items())
  return f'{said}{text} positions {"; ".join(listed)}. '


def _size(listed: tuple[list[Cell], str]) -> int:
  return len(listed[0])


def _scope(cells: Mapping[Cell, list[float]]) -> str:
  if not cells:
    return ''
  sizes = sorted({cell.parameters for cell in cells})
  return f'{" and ".join(map(count, sizes))} parameters, float32'


def _suspect(rows: Rows) -> str:
  pair = [*timed(rows, RNN), *timed(rows, ATTENTION)]
  count = sum(bool(row.get('suspect')) for row in pair)
  said = 'imply more than the matmul peak and are suspect'
  return f'{count} of {len(pair)} times {said}. ' if count else ''


def _shares(rows: Rows) -> str:
  """Returns both shares of the peak by batch size, else as in the primary."""
  said = ''
  for size in sorted({row['batch_size'] for row in timed(rows, RNN)}):
    at = PRIMARY._replace(batch_size=size)
    ours, theirs = (card.share(rows, name, at) for name in (RNN, ATTENTION))
    if ours and theirs:
      said += f'At {at} the LSTM reaches {ours} of the peak and attention '
      said += f'{theirs}. '
  return said


def _beside(rows: Rows) -> str:
  """Returns crossings, decoding, and seconds to a solved task."""
  said = _crossings(ratios(rows, ATTENTION, RNN))
  decoding = ratios(rows, RNN, work='decoding')
  if decoding:
    last = max(decoding, key=lambda cell: (cell.length, cell))
    rates, floats = [], []
    for name in (RNN, ATTENTION):
      row = next(r for r in timed(rows, name, 'decoding') if cell_of(r) == last)
      rates.append(f'{last.batch_size / row["seconds"]:.3g}')
      floats.append(f'{row["state_floats"]:,}')
    said += (
      f'Decoding a token after {last} takes the LSTM {show(decoding[last])} '
      f'times as long: {" against ".join(rates)} tokens per second, with '
      f'{" against ".join(floats)} floats to carry. '
    )
  return said + recalled.seconds(rows, (RNN, ATTENTION))


def _crossings(found: Mapping[Cell, list[float]]) -> str:
  """Counts sizes by the lengths at which attention stops being faster."""
  sizes = Counter(cell.sizes for cell in found)
  several = {c.sizes: c for c in found if sizes[c.sizes] > 1}.values()
  brackets = Counter(str(crossing(found, like)) for like in several)
  listed = ', '.join(
    f'{text} ({k} of {len(several)} settings)' for text, k in brackets.items()
  )
  said = 'Attention stops being the faster one at a length'
  return f'{said} {listed}. ' if listed else ''


def summary(rows: Rows) -> str:
  """Returns the tables that stand above the verdicts."""
  return card.summary(rows)
