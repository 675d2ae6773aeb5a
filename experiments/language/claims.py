"""Judges claims 1.1, 1.2, 1.9, 1.10, 1.11, 1.13 and 1.15."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.language.main import COUNTS
from experiments.language.networks import EARLY, LATE
from seqjax.analysis import rules
from seqjax.analysis.rules import MIN_SEEDS, Answer
from seqjax.analysis.statistics import median_interval
from seqjax.analysis.verdicts import (
  CONDITIONAL,
  UNDECIDED,
  Claim,
  Verdict,
  condition,
  lacking,
  leaning,
)
from seqjax.results import plotting, table

COMMAND = 'python -m experiments.language --preset=full'
EXACT = 1e-6  # bits: what is equal but for rounding
EXPLODES = 2  # times the entries, for one more character
NETWORK = 'gru'  # whose rows are tested
WINDOW = 16  # characters of those whose carry is tested
SHORT, LONG = 4, 64
COUNTED_ALONE = ('1.1a', '1.1b', '1.9a', '1.9b', '1.10')  # of no seeds
BETTER = 1.0  # bits below chance, of what has learnt synonyms
_SLICES = (
  'Eleven disjoint stretches of the held-out text are asked, and a sign test '
  'at .05 / 43 takes all of them. '
)
_SEEDS = (
  'Asked of each of eleven seeds, by a sign test at .05 / 43; networks that '
  'have not learnt within the budget decide nothing. '
)
CLAIMS = {
  '1.1a': Claim(
    'Shuffling the examples of a data set changes nothing.',
    'The n-grams of windows of 64 characters are counted in the order of the '
    'text and shuffled: bits per character of a held-out text are the same '
    f'to {EXACT:g}, at orders 1 to 5. {_SLICES}The test is that of order 5.',
  ),
  '1.1b': Claim(
    'Shuffling a sequence in time leaves no more than its frequencies.',
    'Kneser-Ney models of a text with its characters shuffled have at least '
    'the bits of the unigram cross-entropy, which is counted by itself; order '
    f'1 has exactly those (to {EXACT:g}); and the text in its order has fewer. '
    f'{_SLICES}The test is that of order 5.',
  ),
  '1.2': Claim(
    'The loss falls with the context that is available.',
    f'Bits per character at the first {EARLY} positions of a window minus '
    f'those after {LATE} are above 0. {_SEEDS}The test is that of the GRU; '
    'another network of which most seeds answer otherwise makes it '
    'CONDITIONAL.',
  ),
  '1.9a': Claim(
    'Counts that are not smoothed call held-out text impossible.',
    'Some window of 64 characters has probability 0, so that perplexity is '
    f'infinite, at orders 2, 3 and 5. {_SLICES}The test and the effect are '
    'those of order 3.',
  ),
  '1.9b': Claim(
    'Smoothing and back-off mend it.',
    'Bits are finite, and fewer at order 5 than at order 3: longer contexts '
    'help, although most of them were not seen. Smoothings that differ make '
    f'it CONDITIONAL. {_SLICES}The test is that of interpolation of strength '
    '1.',
  ),
  '1.10': Claim(
    'The storage of n-grams explodes with n.',
    'One more character in the n-grams that occur multiplies the entries of a '
    f'table by more than {EXPLODES}, for n from 1 to 7; steps that differ make '
    'it CONDITIONAL. Eleven disjoint sections of the training text are asked, '
    'at their largest size, and a sign test at .05 / 43 takes all of them. The '
    'test is that of the step from 2 to 3.',
  ),
  '1.11': Claim(
    'Counting knows nothing of meaning, and embeddings do.',
    'In a language of synonyms a small training set lacks some pairs by '
    'chance. What a model says less of them than of pairs that occurred, in '
    'nats, is more for each n-gram model than for a network of the same '
    f'training set. {_SEEDS}A network of another width, of which most '
    'seeds answer otherwise, makes it CONDITIONAL. The test is that of the '
    'narrow one.',
  ),
  '1.13': Claim(
    'Neural language models break the walls of n-grams.',
    f'With {LATE} characters of context or more, a network of the same text '
    'has fewer bits per character than every Kneser-Ney model of orders 1 to '
    '7 that is stored in no more bytes; one that takes no more processor '
    f'seconds and has fewer bits makes it CONDITIONAL. {_SEEDS}The test is '
    'that of the GRU. N-grams are stored as tightly as can be, of the whole '
    'text and of less, but none is pruned.',
  ),
  '1.15a': Claim(
    'Carrying the state from window to window is better than none.',
    'The same windows of a text are read with the carry and without it, and '
    'both are tested with it on a text that goes on: training with it has '
    f'fewer bits. {_SEEDS}Lengths of windows that differ make it CONDITIONAL. '
    f'The test is that of windows of {WINDOW} characters.',
  ),
  '1.15b': Claim(
    'What the carry gains shrinks with longer windows.',
    f'The gain at windows of {SHORT} characters is more than that at {LONG}. '
    + _SEEDS.strip(),
  ),
}

Rows = Sequence[Mapping[str, Any]]


class Setting(NamedTuple):
  """One of several that a claim is asked in.

  Attributes:
    margins: of each slice or seed; above 0 says that the claim holds.
    shown: the numbers that the effect is the median of; `margins` where None.
    why: why it decides nothing; else ''.
  """

  margins: np.ndarray
  shown: np.ndarray | None = None
  why: str = ''


def verdicts(rows: Rows) -> list[Verdict]:
  """Judges the claims on one machine; without their rows they are undecided."""
  return [judge(rows) for judge in JUDGES]


def _judged(
  claim: str,
  settings: Mapping[str, Setting],
  primary: str,
  quantity: str,
  scope: str,
  note: str = '',
) -> Verdict:
  """Judges by the primary setting, unless another one answers otherwise."""
  if primary not in settings:
    return lacking(claim, [primary], COMMAND)
  answers = {name: _answer(setting) for name, setting in settings.items()}
  word = _word(answers, primary)
  said = condition({name: answer.holds for name, answer in answers.items()})
  why = dict.fromkeys(
    f'{name}: {a.why}' for name, a in answers.items() if a.why
  )
  said += f' ({"; ".join(why)})' if why else ''
  unit, seeds = 'seeds', len(settings[primary].margins)
  if claim in COUNTED_ALONE:
    unit, seeds, said = 'stretches', None, said.replace('seeds', 'stretches')
  return Verdict(
    claim,
    word,
    scope=scope,
    sentence=f'The claim{said.removeprefix("it")}.{note}',
    quantity=quantity,
    effect=answers[primary].effect,
    p=answers[primary].p,
    seeds=seeds,
    leans=leaning(*answers[primary].votes, unit) if word == UNDECIDED else '',
  )


def _answer(setting: Setting) -> Answer:
  margins, shown, why = setting
  shown = margins if shown is None else shown
  if why:  # seeds that decide nothing lean to no side
    return Answer(None, None, why)
  if len(margins) < MIN_SEEDS:
    why = f'{len(margins)} seeds are fewer than {MIN_SEEDS}'
  if not why and np.isnan(margins).any():
    why = 'a training did not stay finite'
  votes = int((margins > 0).sum()), len(margins)
  if why:
    return Answer(None, None, why, votes=votes)
  known = len(shown) >= 6 and np.isfinite(shown).all()
  return rules.most(margins > 0, median_interval(shown) if known else None)


def _word(answers: Mapping[str, Answer], primary: str) -> str:
  """Returns the primary answer; where settings differ, CONDITIONAL."""
  if {True, False} <= {answer.holds for answer in answers.values()}:
    return CONDITIONAL
  return rules.led_by(answers[primary], answers.values())


def _column(rows: Rows, name: str = 'bits', by: str = 'slice') -> np.ndarray:
  """Returns a column in the order of slices or seeds; None is infinite."""
  ordered = sorted(rows, key=lambda row: row[by])
  return np.array(
    [math.inf if row[name] is None else row[name] for row in ordered], float
  )


def _text(rows: Rows) -> str:
  """Returns the corpus and how much of it was counted, as a scope."""
  if not rows:
    return ''
  most = max(row.get('characters_counted') or 0 for row in rows)
  counted = f', {most:,} characters counted' if most else ''
  return f'the text {rows[0]["corpus"]}{counted}'


def _budget(rows: Rows) -> str:
  """Returns the text and the budget of networks, as a scope."""
  rows = [row for row in rows if row['mixer'] != COUNTS]
  if not rows:
    return ''
  parameters = sorted({row['parameters'] for row in rows})
  sizes = ' and '.join(f'{n:,}' for n in parameters)
  steps = ' and '.join(map(str, sorted({row['steps'] for row in rows})))
  return f'{_text(rows)}, {sizes} parameters, {steps} updates'


def _examples(rows: Rows) -> Verdict:
  rows = table.select(rows, part='shuffling')
  settings = {}
  for order in sorted({row['order'] for row in rows}):
    there, shuffled = (
      _column(table.select(rows, order=order, shuffled=name))
      for name in ('no examples', 'examples')
    )
    change = shuffled - there
    settings[f'order {order}'] = Setting(EXACT - abs(change), change)
  quantity = 'bits per character, examples shuffled minus not, order 5'
  return _judged('1.1a', settings, 'order 5', quantity, _text(rows))


def _time(rows: Rows) -> Verdict:
  rows = table.select(rows, part='shuffling')
  settings = {}
  for order in sorted({row['order'] for row in rows}):
    mixed, there = (
      table.select(rows, order=order, shuffled=name)
      for name in ('characters', 'nothing')
    )
    above = _column(mixed) - _column(mixed, 'exact')
    known = _column(there, 'exact') - _column(there)
    margins = np.minimum(above + EXACT, known)
    if order == 1:
      margins = EXACT - abs(above)
    settings[f'order {order}'] = Setting(margins, above)
  quantity = (
    'bits per character above the unigram cross-entropy, characters '
    'shuffled, order 5'
  )
  return _judged('1.1b', settings, 'order 5', quantity, _text(rows))


def _impossible(rows: Rows) -> Verdict:
  rows = table.select(rows, part='smoothing', smoothing='maximum_likelihood')
  settings = {
    f'order {order}': Setting(
      _column(table.select(rows, order=order), 'zero_share')
    )
    for order in sorted({row['order'] for row in rows} - {1})
  }
  shares = ', '.join(
    f'{np.mean(s.margins):.1%} at {name}' for name, s in settings.items()
  )
  return _judged(
    '1.9a',
    settings,
    'order 3',
    'share of windows of 64 characters with probability 0, order 3',
    _text(rows),
    f' Windows with probability 0: {shares}.',
  )


def _mended(rows: Rows) -> Verdict:
  rows = table.select(rows, part='smoothing')
  settings, bits = {}, []
  for name in dict.fromkeys(row['smoothing'] for row in rows):
    if name == 'maximum_likelihood':
      continue
    three, five = (
      _column(table.select(rows, smoothing=name, order=n)) for n in (3, 5)
    )
    settings[name] = Setting(three - five)
    bits.append(f'{name} {three.mean():.3f} and {five.mean():.3f}')
  return _judged(
    '1.9b',
    settings,
    'interpolation',
    'bits per character, order 3 minus order 5, interpolation of strength 1',
    _text(rows),
    f' Bits at orders 3 and 5: {", ".join(bits)}.',
  )


def _storage(rows: Rows) -> Verdict:
  rows = table.select(rows, part='storage')
  if not rows:
    return lacking('1.10', ['n-grams (storage)'], COMMAND)
  largest = max(row['characters_counted'] for row in rows)
  there = table.select(rows, characters_counted=largest)
  orders = sorted({row['order'] for row in there})
  entries = {
    n: _column(table.select(there, order=n), 'entries') for n in orders
  }
  settings = {
    f'{n} to {n + 1}': Setting(times - EXPLODES, times)
    for n in orders[:-1]
    for times in [entries[n + 1] / entries[n]]
  }
  growth = ', '.join(
    f'{growth_exponent(rows, n):.2f} at n={n}' for n in orders if n in (2, 3, 5)
  )
  full = max(orders)
  (dense,) = {row['dense'] for row in there if row['order'] == full}
  note = (
    f' Entries grow as the text to the power {growth}. Of all {dense:.2g} '
    f'{full}-grams that could be, {entries[full].mean() / dense:.1g} are '
    'stored, shorter ones included; a dense table of 3 words of 50,000 has '
    f'{50_000**3:.4g} entries.'
  )
  return _judged(
    '1.10',
    settings,
    '2 to 3',
    'entries of a table of n=3 over those of n=2, times',
    _text(there),
    note,
  )


def growth_exponent(rows: Rows, order: int) -> float:
  """Returns b of entries = a * characters^b, fitted over all sections."""
  own = [row for row in rows if row['order'] == order]
  x, y = (
    np.log([row[name] for row in own])
    for name in ('characters_counted', 'entries')
  )
  return float(np.polyfit(x, y, 1)[0]) if len(set(x)) > 1 else math.nan


def _synonyms(rows: Rows) -> Verdict:
  rows = table.select(rows, part='synonyms')
  networks = table.select(rows, mixer=NETWORK)
  counted = table.select(rows, mixer=COUNTS)
  if not networks or not counted:
    return lacking('1.11', [f'{NETWORK}, {COUNTS} (synonyms)'], COMMAND)
  of_counts = {}
  for row in counted:
    of_counts[row['seed']] = min(
      row['gap'], of_counts.get(row['seed'], math.inf)
    )
  settings, gaps = {}, []
  for parameters in sorted({row['parameters'] for row in networks}):
    own = table.select(networks, parameters=parameters)
    own = sorted(own, key=lambda row: row['seed'])
    name = f'width {own[0]["features"]}'
    margins = [of_counts.get(r['seed'], math.nan) - r['gap'] for r in own]
    knows = [row['bits'] <= row['chance'] - BETTER for row in own]
    settings[name] = Setting(np.array(margins), why=_learnt(knows))
    gaps.append(f'{name} {np.mean([r["gap"] for r in own]):.2f}')
  for (smoothing, order), own in _by(counted, 'smoothing', 'order').items():
    mean = np.mean([row['gap'] for row in own])
    gaps.append(f'{smoothing} of order {order} {mean:.2f}')
  primary = next(iter(settings))
  return _judged(
    '1.11',
    settings,
    primary,
    'nats that unseen pairs lose: the n-gram model that loses least, minus the '
    f'network of {primary}',
    f'{rows[0]["examples"]} training examples, {rows[0]["steps"]} updates',
    f' Nats lost: {", ".join(gaps)}.',
  )


def _learnt(knows: Sequence[bool]) -> str:
  """Returns '' if most seeds have learnt, else in how many words they did."""
  if 2 * sum(knows) > len(knows):
    return ''
  return f'learnt by {sum(knows)} of {len(knows)} seeds within the budget'


def _by(rows: Rows, *names: str) -> dict[tuple, list[Mapping[str, Any]]]:
  found = {}
  for row in rows:
    found.setdefault(tuple(row[name] for name in names), []).append(row)
  return found


class Read(NamedTuple):
  """Bits of each seed of a model, at the beginning of windows and late."""

  label: str
  mixer: str
  early: np.ndarray
  late: np.ndarray
  all: np.ndarray
  bytes: int
  seconds: float
  solved: float

  @property
  def why(self) -> str:
    return _learnt(list(self.all <= self.solved))


def read(rows: Rows) -> list[Read]:
  """Returns the networks that read the text, those with most bytes first."""
  rows = [r for r in table.select(rows, part='text') if r['mixer'] != COUNTS]
  most = max((row['parameters'] for row in rows), default=0)
  found = []
  for (mixer, parameters), own in _by(rows, 'mixer', 'parameters').items():
    small = '' if parameters == most else f' ({parameters:,})'
    found.append(_read(f'{mixer}{small}', own))
  return found


def counted(rows: Rows) -> dict[tuple[int, int], Read]:
  """Returns {(characters counted, order): model} of the n-gram line."""
  rows = table.select(rows, part='text', mixer=COUNTS)
  found = _by(rows, 'characters_counted', 'order').items()
  return {key: _read(f'{key[1]}-gram', own) for key, own in found}


def _read(label: str, rows: Rows) -> Read:
  seeds = _by(rows, 'seed').values()
  early, late, whole = (
    np.array([_mean(own, inside) for own in seeds])
    for inside in (
      lambda p: p < EARLY,
      lambda p: p >= LATE,
      lambda p: True,
    )
  )
  first = rows[0]
  return Read(
    label, first['mixer'], early, late, whole, first['bytes'],
    first['seconds'], first['solved'],
  )  # fmt: skip


def _mean(rows: Rows, inside: Callable[[int], bool]) -> float:
  """Returns the bits at some positions; NaN of what did not stay finite."""
  own = [r for r in rows if r['position'] is not None and inside(r['position'])]
  if not own:
    return math.nan
  weights = [row['characters'] for row in own]
  return float(np.average([row['bits'] for row in own], weights=weights))


def _context(rows: Rows) -> Verdict:
  found = {model.label: model for model in read(rows)}
  settings = {
    name: Setting(model.early - model.late, why=model.why)
    for name, model in found.items()
  }
  return _judged(
    '1.2',
    settings,
    NETWORK,
    f'bits per character at the first {EARLY} positions minus those after '
    f'{LATE} ({NETWORK})',
    _budget(table.select(rows, part='text')),
  )


def _walls(rows: Rows) -> Verdict:
  line, found = counted(rows), {model.label: model for model in read(rows)}
  if not line or NETWORK not in found:
    return lacking('1.13', [f'{NETWORK}, {COUNTS} (text)'], COMMAND)
  model = found[NETWORK]
  settings = {
    f'no more {name}': Setting(
      best_of(line, name, getattr(model, name)) - model.late, why=model.why
    )
    for name in ('bytes', 'seconds')
  }
  ahead = [
    f'{m.label} in {int((best_of(line, "bytes", m.bytes) > m.late).sum())} of '
    f'{len(m.late)} seeds'
    for m in found.values()
  ]
  best = min(line.values(), key=lambda model: model.late[0])
  note = (
    f' Fewer bits than n-grams of no more bytes: {", ".join(ahead)}. The best '
    f'n-gram of all has {best.late[0]:.2f} bits in '
    f'{plotting.bytes_text(best.bytes)} after {best.seconds:.1f} processor '
    f'seconds; the GRU {model.late.mean():.2f} in '
    f'{plotting.bytes_text(model.bytes)} after {model.seconds:.1f}.'
  )
  return _judged(
    '1.13',
    settings,
    'no more bytes',
    'bits per character, the best n-gram of no more bytes minus the GRU',
    _budget(table.select(rows, part='text')),
    note,
  )


def best_of(line: Mapping[Any, Read], cost: str, limit: float) -> float:
  """Returns the fewest bits of n-grams at a cost within a limit."""
  bits = [m.late[0] for m in line.values() if getattr(m, cost) <= limit]
  return min(bits, default=math.inf)


def gains(rows: Rows) -> dict[int, Setting]:
  """Returns {length of windows: bits that training with the carry saves}."""
  rows = table.select(rows, part='carry', mixer=NETWORK)
  found = {}
  for length in sorted({row['num_steps'] for row in rows}):
    own = table.select(rows, num_steps=length)
    on, off = (
      _column(table.select(own, carried=carried), by='seed')
      for carried in (True, False)
    )
    if len(on) == len(off):
      why = _learnt(list(np.maximum(on, off) <= own[0]['solved']))
      found[length] = Setting(off - on, why=why)
  return found


def _carry(rows: Rows) -> Verdict:
  settings = {f'windows of {n}': found for n, found in gains(rows).items()}
  means = ', '.join(
    f'{found.margins.mean():+.3f} at {name}' for name, found in settings.items()
  )
  return _judged(
    '1.15a',
    settings,
    f'windows of {WINDOW}',
    f'bits per character saved by the carry, windows of {WINDOW} characters',
    _budget(table.select(rows, part='carry')),
    f' Bits saved: {means}.',
  )


def _shrinks(rows: Rows) -> Verdict:
  found, settings = gains(rows), {}
  if SHORT in found and LONG in found:
    short, long = found[SHORT], found[LONG]
    margins = short.margins - long.margins
    settings[NETWORK] = Setting(margins, why=short.why or long.why)
  return _judged(
    '1.15b',
    settings,
    NETWORK,
    f'bits per character saved by the carry, windows of {SHORT} minus {LONG}',
    _budget(table.select(rows, part='carry')),
  )


def summary(rows: Rows) -> str:
  """Returns a line for each model that read the text, whoever made it."""
  line = counted(rows)
  whole = max((size for size, _ in line), default=0)
  models = read(rows) + [m for (size, _), m in line.items() if size == whole]
  if not models:
    return ''
  lines = []
  for model in models:
    limit = best_of(line, 'bytes', model.bytes)
    ahead = int((model.late < limit).sum())
    counts = model.mixer == COUNTS
    lines.append(
      {
        'model': model.label,
        'stored': plotting.bytes_text(model.bytes),
        'bits, all': f'{model.all.mean():.3f}',
        f'bits after {LATE}': f'{model.late.mean():.3f}',
        'context is worth': f'{(model.early - model.late).mean():.3f}',
        'ahead of n-grams': '-' if counts else f'{ahead} of {len(model.late)}',
        'processor s': f'{model.seconds:.2f}',
      }
    )
  return (
    'Bits per character of held-out windows, means over seeds. Context is '
    f'worth: bits at the first {EARLY} positions minus those after {LATE}. '
    'Ahead: seeds with fewer bits than every n-gram model of no more bytes. '
    'N-grams are Kneser-Ney models of the whole text; seconds are those of one '
    'training, without compilation.\n\n' + table.text(lines, list(lines[0]))
  )


JUDGES = (
  _examples, _time, _context, _impossible, _mended, _storage, _synonyms,
  _walls, _carry, _shrinks,
)  # fmt: skip
