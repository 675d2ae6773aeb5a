"""Judges claims 2.3 and 2.5 by what memories hold and how they are read."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.capacity.main import BANDS, LENGTHS, TASKS
from seqjax.analysis import contrasts
from seqjax.analysis.rules import MIN_SEEDS
from seqjax.analysis.statistics import LEVEL, Interval
from seqjax.analysis.verdicts import (
  REFUTED,
  SUPPORTED,
  UNDECIDED,
  Claim,
  Verdict,
  lacking,
)
from seqjax.results import table

COMMAND = 'python -m experiments.capacity --preset=full'
LEARNT = 0.95  # of the accuracy, or of the bits
MARGIN = 0.02  # of accuracy: a smaller difference is none
LARGE = 0.1  # of accuracy, or of an effect: what a claim needs
PLATEAU = 1 / TASKS['recall'].num_pairs  # of guessing among the row's values
MATRIX, SEES, VECTOR = 'deltanet', 'attention', 'gru'
FLOAT = 32  # bits

_TEST = (
  'by a two-sided permutation test over seeds at .05 / 43, which 8 seeds of '
  'each side pass if all are apart'
)
CLAIMS = {
  '2.3a': Claim(
    'A memory of fixed size is a bottleneck of associative recall.',
    'Networks of one or two layers (validation chooses) recall the values of 8 '
    'keys. At the smallest width at which attention, whose memory grows, is '
    'learnt by most seeds (accuracy at least .95), the accuracy of DeltaNet, '
    f'whose memory is a matrix, is lower, {_TEST}, and by more than .02: '
    'SUPPORTED. REFUTED if the upper end of the difference is at most .02. It '
    'must be learnt at some width, or nothing is told from a binding that is '
    'not learnt. A network at the plateau of 1 / 8 or below knows at most '
    'which values there were: that is said, and decides nothing.',
  ),
  '2.3b': Claim(
    'The bits that a network recalls are bounded by those of its memory, and '
    'rise with them.',
    'Of 24 bits of symbols to copy, those that the answers of a GRU know, by '
    'the test loss. SUPPORTED if the widest knows more than the narrowest, '
    f'{_TEST}, and none more than the bits of its carry (32 for each number). '
    'REFUTED if one knows more than its carry holds, or the narrowest knows '
    '95 % of the bits in most seeds. The widest must know 95 %.',
  ),
  '2.3c': Claim(
    "The encoder's final state is a bottleneck of translation, which attention "
    'removes.',
    'GRU encoder-decoders of equal parameters copy strings of 8 to 32 symbols. '
    'The token accuracy at the longest is higher with attention than without, '
    f'{_TEST}; the lower end of the difference is above .1, and so is above 0 '
    'that of its growth from the shortest source to the longest: SUPPORTED. '
    'REFUTED if the upper end of the difference is at most .1. With attention '
    'the shortest must be learnt by most seeds (.95).',
  ),
  '2.5': Claim(
    'A recurrent network has no direct access to a word that is far back, and '
    'attention has.',
    'In networks that learnt to recall (accuracy at least .95, at the largest '
    'width), a key and its value are edited, and the log-probability of the '
    'answer falls. The share of that fall that is lost from at most 8 '
    'positions back to more than 24, averaged over keys and values, is larger '
    f'for DeltaNet than for attention, {_TEST}, with a lower end above .1, and '
    'attention loses at most .1: SUPPORTED. REFUTED if the upper end of the '
    'difference is at most .1. The GRU is shown beside them.',
  ),
}

Rows = Sequence[Mapping[str, Any]]


class Group(NamedTuple):
  """The networks of one mixer, width and task.

  Attributes:
    mixer, part, width, attention: what was trained.
    floats: numbers in the carry of all layers, for one row; None if nobody
      says.
    values: {(measure, at): a value per seed}; one that is not finite has
      learnt nothing: 0 of everything, and chance of accuracies.
  """

  mixer: str
  part: str
  width: int
  attention: bool
  floats: int | None
  values: dict[tuple[str, float], Float[np.ndarray, ' S']]

  @property
  def main(self) -> Float[np.ndarray, ' S']:
    """Returns the accuracy of recall, or the bits of copying."""
    task = TASKS[self.part]
    if self.part == 'recall':
      return self.values['accuracy', task.num_pairs]
    return self.values['bits', task.bits]

  @property
  def num_seeds(self) -> int:
    return len(next(iter(self.values.values())))


def groups(rows: Rows) -> list[Group]:
  """Returns the networks that rows are of, in the order of the rows.

  Raises:
    ValueError: there are two rows of one training and measure.
  """
  found = {}
  for row in rows:
    key = row['mixer'], row['part'], row['width'], bool(row['attention'])
    found.setdefault(key, []).append(row)
  return [_group(key, part) for key, part in found.items()]


def _group(key: tuple, rows: Rows) -> Group:
  seeds = sorted({row['seed'] for row in rows})
  measured = [row for row in rows if row['measure'] is not None]
  values = {}
  for row in measured:
    name = row['measure'], row['at']
    worst = row['chance'] if row['measure'] == 'accuracy' else 0.0
    if name not in values:
      values[name] = np.full(len(seeds), np.nan), worst
    place = seeds.index(row['seed'])
    if not math.isnan(values[name][0][place]):
      raise ValueError(
        'A table of capacity has one row for each training and measure, but '
        f'two of {row["mixer"]} of width {row["width"]}, seed {row["seed"]}, '
        f'{row["measure"]} at {row["at"]}.'
      )
    value = row['value']
    if value is not None and math.isfinite(value):
      values[name][0][place] = value
  filled = {
    name: np.where(np.isnan(each), worst, each)
    for name, (each, worst) in values.items()
  }
  return Group(*key, rows[0]['carry_floats'], filled)


def of(found: Sequence[Group], mixer: str, part: str) -> dict[int, Group]:
  """Returns {width: networks} of a mixer at a task, narrowest first."""
  each = [
    group
    for group in found
    if (group.mixer, group.part) == (mixer, part) and group.values
  ]
  return {group.width: group for group in sorted(each, key=lambda g: g.width)}


def most(values: Float[np.ndarray, ' S'], least: float) -> bool:
  """Tells if more than half of the seeds reach a value."""
  return bool(2 * np.sum(values >= least) > len(values))


class Contrast(NamedTuple):
  """Our values against theirs: the difference of means, and p."""

  effect: Interval | None
  p: float | None

  def above(self, margin: float) -> bool:
    """Tells if the difference is above a margin, by the test as well."""
    return bool(self.effect and self.p < LEVEL and self.effect.low > margin)

  def below(self, margin: float) -> bool:
    """Tells if the difference is at most a margin."""
    return bool(self.effect and self.effect.high <= margin)


def contrast(ours: Sequence[float], theirs: Sequence[float]) -> Contrast:
  """Compares two groups; without five seeds in each nothing is known."""
  if min(len(ours), len(theirs)) < MIN_SEEDS:
    return Contrast(None, None)
  effect = contrasts.difference_interval(ours, theirs)
  return Contrast(effect, contrasts.means_differ(ours, theirs))


def verdicts(rows: Rows) -> list[Verdict]:
  """Judges the claims on one machine; without their rows they are undecided."""
  found = groups(rows)
  judged = [
    _recall(found, rows),
    _copy(found),
    _translate(found),
    _access(found, rows),
  ]
  return [verdict.within(_scope(rows, verdict.id)) for verdict in judged]


def _recall(found: Sequence[Group], rows: Rows) -> Verdict:
  """Compares DeltaNet with attention where attention is narrowest."""
  ours, theirs = of(found, MATRIX, 'recall'), of(found, SEES, 'recall')
  both = [width for width in ours if width in theirs]
  if not both:
    return lacking('2.3a', [f'{MATRIX} and {SEES} that recall'], COMMAND)
  said = '; '.join(map(_recall_text, [*ours.values(), *theirs.values()]))
  able = [width for width in both if most(theirs[width].main, LEARNT)]
  if not able or not any(most(g.main, LEARNT) for g in ours.values()):
    who = MATRIX if able else SEES
    why = f'{who} is learnt at no width'
    return _open('2.3a', rows, why, said, ours, theirs)
  width = able[0]
  told = contrast(theirs[width].main, ours[width].main)
  word = SUPPORTED if told.above(MARGIN) else UNDECIDED
  word = REFUTED if told.below(MARGIN) else word
  return Verdict(
    '2.3a',
    word,
    sentence=f'Mean accuracy: {said}{_also(found)}.',
    quantity=f'accuracy of {SEES} minus that of {MATRIX}, both of width '
    f'{width} ({theirs[width].floats:,} and {ours[width].floats:,} numbers)',
    effect=told.effect,
    p=told.p,
    seeds=min(ours[width].num_seeds, theirs[width].num_seeds),
    leans=_leans(
      word, float(theirs[width].main.mean() - ours[width].main.mean()), MARGIN
    ),
  )


def _also(found: Sequence[Group]) -> str:
  """Says which other networks are at the plateau of a binding unlearnt."""
  stuck = [
    f'{group.mixer} of width {group.width}'
    for group in found
    if group.part == 'recall' and group.values and unbound(group)
  ]
  if not stuck:
    return ''
  return (
    f'. Not learnt within the budget, at the plateau of {PLATEAU:g} or below: '
    f'{", ".join(stuck)}'
  )


def unbound(group: Group) -> bool:
  """Tells if most seeds know at most which values a row has."""
  return not most(group.main, PLATEAU + 0.05)


def _recall_text(group: Group) -> str:
  return f'{group.mixer} of width {group.width} {group.main.mean():.2f}'


def _copy(found: Sequence[Group]) -> Verdict:
  """Compares the widest GRU with the narrowest."""
  each = of(found, VECTOR, 'copy')
  if len(each) < 2:
    return lacking('2.3b', [f'two widths of {VECTOR} that copy'], COMMAND)
  narrow, *_, wide = each.values()
  bits = TASKS['copy'].bits
  said = '; '.join(
    f'{group.floats} numbers ({FLOAT * group.floats} bits) '
    f'{group.main.mean():.1f}'
    for group in each.values()
  )
  over = [g for g in each.values() if (g.main > FLOAT * g.floats).any()]
  told = contrast(wide.main, narrow.main)
  if over or most(narrow.main, LEARNT * bits):
    word = REFUTED
  elif told.above(0) and most(wide.main, LEARNT * bits):
    word = SUPPORTED
  else:
    word = UNDECIDED
  slope = np.polyfit(
    np.log2([group.floats for group in each.values()]),
    [group.main.mean() for group in each.values()],
    1,
  )[0]
  return Verdict(
    '2.3b',
    word,
    sentence=f'Mean bits recalled of {bits:g}: {said}; {slope:.1f} bits for '
    'each doubling of the carry.',
    quantity=f'bits recalled, carry of {wide.floats} numbers minus one of '
    f'{narrow.floats}',
    unit='bits',
    effect=told.effect,
    p=told.p,
    seeds=min(group.num_seeds for group in each.values()),
    leans=_leans(word, float(wide.main.mean() - narrow.main.mean()), 0),
  )


def _translate(found: Sequence[Group]) -> Verdict:
  """Compares encoder-decoders with attention to those without."""
  by = {
    group.attention: group
    for group in found
    if (group.mixer, group.part) == (VECTOR, 'translate') and group.values
  }
  if len(by) < 2:
    return lacking('2.3c', [f'{VECTOR} that translates, both ways'], COMMAND)
  short, long = (
    {reads: by[reads].values['accuracy', length] for reads in by}
    for length in (LENGTHS[0], LENGTHS[-1])
  )
  told = contrast(long[True], long[False])
  # The difference grows by what is lost without attention and not with it.
  growth = contrast(short[False] - long[False], short[True] - long[True])
  word = UNDECIDED
  if most(short[True], LEARNT):
    if told.above(LARGE) and growth.effect.low > 0:
      word = SUPPORTED
    elif told.below(LARGE):
      word = REFUTED
  said = '; '.join(
    f'{"with" if reads else "without"} attention {short[reads].mean():.2f} at '
    f'{LENGTHS[0]} symbols and {long[reads].mean():.2f} at {LENGTHS[-1]}'
    for reads in (True, False)
  )
  grown = growth.effect and f'{growth.effect.value:.2f}'
  return Verdict(
    '2.3c',
    word,
    sentence=f'Mean token accuracy: {said}; the difference grows by '
    f'{grown or "an unknown amount"}.',
    quantity=f'token accuracy at {LENGTHS[-1]} symbols, with attention minus '
    'without',
    effect=told.effect,
    p=told.p,
    seeds=min(group.num_seeds for group in by.values()),
    leans=_leans(word, float(long[True].mean() - long[False].mean()), LARGE),
  )


def losses(group: Group) -> Float[np.ndarray, ' S']:
  """Returns the share of an edit's effect that is lost with distance.

  The mean over edits of keys and of values, one for each seed.
  """
  lost = []
  for edited in ('key', 'value'):
    near, far = (
      group.values[f'edit of the {edited}', band]
      for band in (BANDS[0], BANDS[-1])
    )
    lost.append(1 - far / np.maximum(near, 1e-6))
  return np.mean(lost, axis=0)


def _access(found: Sequence[Group], rows: Rows) -> Verdict:
  """Compares what edits far back do to DeltaNet and to attention."""
  by = [of(found, mixer, 'recall') for mixer in (MATRIX, SEES, VECTOR)]
  if not all(by[:2]):
    return lacking('2.5', [f'{MATRIX} and {SEES} that recall'], COMMAND)
  widest = [each[max(each)] for each in by if each]
  said = '; '.join(map(_edits_text, widest))
  ours, theirs = widest[:2]
  able = {g.mixer: g.main >= LEARNT for g in (ours, theirs)}
  failed = [name for name, each in able.items() if 2 * each.sum() <= len(each)]
  if failed:
    why = f'{" and ".join(failed)} not learnt within the budget'
    return _open('2.5', rows, why, said, by[0], by[1])
  lost = [losses(group)[able[group.mixer]] for group in (ours, theirs)]
  told = contrast(*lost)
  word = UNDECIDED
  if told.above(LARGE) and lost[1].mean() <= LARGE:
    word = SUPPORTED
  elif told.below(LARGE):
    word = REFUTED
  return Verdict(
    '2.5',
    word,
    sentence=f'Fall of log p(answer), in nats, at most {BANDS[0]} and more '
    f'than {BANDS[-2]} positions back: {said}.',
    quantity=f'share of the effect lost with distance, {MATRIX} minus {SEES}',
    effect=told.effect,
    p=told.p,
    seeds=min(map(len, lost)),
    leans=_leans(word, float(lost[0].mean() - lost[1].mean()), LARGE),
  )


def _edits_text(group: Group) -> str:
  """Returns 'gru of width 32: key 0.0 and 0.0, value 4.1 and 2.0'."""
  parts = []
  for edited in ('key', 'value'):
    near, far = (
      group.values[f'edit of the {edited}', band].mean()
      for band in (BANDS[0], BANDS[-1])
    )
    parts.append(f'{edited} {near:.1f} and {far:.1f}')
  state = '' if most(group.main, LEARNT) else ' (not learnt)'
  return f'{group.mixer} of width {group.width}{state}: {", ".join(parts)}'


def _open(
  claim: str, rows: Rows, why: str, said: str, *sides: Mapping
) -> Verdict:
  """Returns a claim that nothing decides, because too little was learnt."""
  seeds = min(g.num_seeds for side in sides for g in side.values())
  steps = max(row['steps'] for row in rows if row['part'] == 'recall')
  return Verdict(
    claim,
    UNDECIDED,
    sentence=f'{why}. {said}.',
    seeds=seeds,
    more=f'--steps={3 * steps}',
  )


def _leans(word: str, difference: float, margin: float) -> str:
  """Returns the side that the means of an undecided contrast are on."""
  if word != UNDECIDED:
    return ''
  return f'to {SUPPORTED if difference > margin else REFUTED} (by the means)'


def summary(rows: Rows) -> str:
  """Returns a line for each network, by the rules of the claims."""
  lines = [_line(group) for group in groups(rows) if group.values]
  columns = dict.fromkeys(name for line in lines for name in line)
  lines = [{name: line.get(name, '-') for name in columns} for line in lines]
  return (
    'Means over seeds. Recall: accuracy at 8 pairs (guessing among the values '
    f'of the row: {PLATEAU:g}); copy: bits of {TASKS["copy"].bits:g}; '
    'translate: token accuracy by the length of the source. Edits: nats that '
    'the answer loses, near and far.\n\n' + table.text(lines, [*columns])
  )


def _line(group: Group) -> dict[str, str]:
  reads = ' + attention' if group.attention else ''
  line = {
    'task': group.part,
    'mixer': f'{group.mixer}{reads}',
    'width': str(group.width),
    'numbers carried': '-' if group.floats is None else f'{group.floats:,}',
  }
  if group.part == 'translate':
    scores = [group.values['accuracy', n].mean() for n in LENGTHS]
    line['score'] = ' '.join(f'{score:.2f}' for score in scores)
    return line
  line['score'] = f'{group.main.mean():.2f}'
  if group.part == 'recall':
    learnt = int((group.main >= LEARNT).sum())
    state = 'binding not learnt' if unbound(group) else ''
    line['learnt'] = state or f'{learnt} of {group.num_seeds}'
    for edited in ('key', 'value'):
      near, far = (
        group.values[f'edit of the {edited}', band].mean()
        for band in (BANDS[0], BANDS[-1])
      )
      line[f'edit of the {edited}'] = f'{near:.1f}, {far:.1f}'
  return line


def _scope(rows: Rows, claim: str) -> str:
  part = {'2.3b': 'copy', '2.3c': 'translate'}.get(claim, 'recall')
  own = table.select(rows, part=part)
  if not own:
    return ''
  sizes = sorted({row['width'] for row in own})
  widths = f'width {", ".join(map(str, sizes))}'
  return f'{part}: {widths}, at most {own[0]["steps"]} updates'
