"""Judges claims 0.11 to 0.14 and 1.4: what a window sees, and what a state."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.reach import sweep
from experiments.reach.main import LAG
from seqjax.analysis import contrasts, rules
from seqjax.analysis.rules import MIN_SEEDS, Answer
from seqjax.analysis.statistics import LEVEL
from seqjax.analysis.verdicts import (
  REFUTED,
  UNDECIDED,
  Claim,
  Verdict,
  condition,
  lacking,
  leaning,
)
from seqjax.results import table

COMMAND = 'python -m experiments.reach --preset=full'
LEARNT = 0.9  # accuracy from which on a lag counts as learnt
MARGIN = 0.02  # above chance, of a network that sees one token
TESTED_LAG = 32  # of claim 0.14
SHALLOW = 'convolutions, 2 layers'
WAYS = {
  'dilated, 4 layers': 'dilation',
  'convolutions, 8 layers': 'depth',
  'kernel of 33': 'a large kernel',
  'linear_attention': 'a sum over the past',
  'attention': 'attention',
}
PRIMARY = {
  '0.11': 'tcn',
  '0.12': 'lstm',
  '0.13': 'dilated, 3 layers',
  '0.14': 'dilated, 4 layers',
  '1.4': 'window of 9',
}
_FISHER = "by Fisher's exact two-sided test over seeds at .05 / 43"
_OTHERS = (
  'Another network that answers otherwise makes it CONDITIONAL, and so does '
  'one of which most seeds do.'
)
_EDGE = (
  'One network recalls a fact from 1 to 64 positions ago. Its receptive '
  'field R is an edge if dy_t/dx_s is exactly zero for t - s >= R and is not '
  'at R - 1, and if more seeds score at least .9 at lag R - 1 than score '
  f'above chance + 3 standard errors at lag R, {_FISHER}. Asked of '
)
CLAIMS = {
  '0.11': Claim(
    'MLPs and CNNs are stateless.',
    'Tokens come one at a time: was this one there before? Supported if more '
    'seeds of the LSTM, which carries its state, get at least half way from '
    'chance to 1 than seeds of a CNN (a TCN, to which each token is a sequence '
    f'of its own) score more than .02 above chance, {_FISHER}; refuted if most '
    'of its seeds are above, by a sign test at that level. An MLP is asked '
    f'likewise. {_OTHERS}',
  ),
  '0.12': Claim(
    'CNNs are good at local, compositional patterns.',
    'Motifs of motifs, four levels deep, at equal parameters and updates: '
    'the accuracy of a TCN with a layer per level is above that of the LSTM, '
    'by a two-sided permutation test over seeds at .05 / 43; REFUTED if it '
    f'is below. The Elman network and the GRU are asked likewise. {_OTHERS}',
  ),
  '0.13': Claim(
    'The receptive field of a CNN is finite.',
    f'{_EDGE}a TCN of three dilated layers (R = 29). {_OTHERS}',
  ),
  '0.14': Claim(
    'Long range needs depth, large kernels, dilation or global aggregation.',
    f'More seeds score at least .9 at lag {TESTED_LAG} with four dilated '
    f'layers than with two plain ones, {_FISHER}; REFUTED if most seeds do '
    'with two plain ones, by a sign test. Eight plain layers, one kernel of '
    '33 taps, a sum over all the past (linear attention) and attention are '
    'asked likewise; one that is not learnt is undecided and named. The '
    'exponents are those of the longest lag that most seeds learn.',
  ),
  '1.4': Claim(
    'What is older than tau positions is discarded.',
    f'{_EDGE}an MLP on a window of tau = 9 (lag 8 = tau - 1 is its edge). '
    f'{_OTHERS}',
  ),
}

Rows = Sequence[Mapping[str, Any]]
Answers = dict[str, Answer]


def verdicts(rows: Rows) -> list[Verdict]:
  """Judges the claims on one machine; without their rows they are undecided."""
  groups = {
    question: entries(rows, question)
    for question in ('lags', 'state', 'motifs')
  }
  return [_judged(id, groups, _JUDGES[id]) for id in CLAIMS]


def entries(rows: Rows, question: str) -> dict[str, Rows]:
  """Returns {mixer: rows} of a question.

  Raises:
    ValueError: rows are of several budgets, or there are two of one network.
  """
  rows = table.select(rows, question=question)
  for name in ('steps', 'batch_size', 'parameters'):
    values = sorted({row[name] for row in rows})
    if len(values) > 1:
      raise ValueError(
        f'Rows on {question} are compared at one budget, but {name} is '
        f'{" and ".join(map(str, values))} in them: judge their tables apart.'
      )
  found, seen = {}, set()
  for row in rows:
    key = row['mixer'], row['seed'], row.get('lag')
    if key in seen:
      raise ValueError(
        'A table of reach has one row for each network and lag, but two of '
        f'{key[0]}, seed {key[1]}, lag {key[2]} on {question}.'
      )
    seen.add(key)
    found.setdefault(row['mixer'], []).append(row)
  return found


def scores(rows: Rows, lag: int | None = None) -> np.ndarray:
  """Returns the accuracy of each seed; of one that is not finite, chance.

  NaN where a seed has no row of that lag.
  """
  seeds = sorted({row['seed'] for row in rows})
  found = np.full(len(seeds), np.nan)
  for row in rows:
    lost = row['accuracy'] is None or not math.isfinite(row['accuracy'])
    if lost or row.get('lag') == lag:
      place = seeds.index(row['seed'])
      found[place] = row['chance'] if lost else row['accuracy']
  return found


def more_learn(
  learnt: np.ndarray, other: np.ndarray, effect=None, why: str = ''
) -> Answer:
  """Tells if more of our seeds pass than of others, which most seeds may not.

  Where few of ours pass they have not learnt enough to lean to a side, and
  where both do, by half or so, there is none.

  Args:
    learnt: whether each of our seeds passes.
    other: the same of the others.
    effect: the difference in what was measured.
    why: the reason where it is not known.
  """
  yes, no = int(learnt.sum()), int(other.sum())
  p = contrasts.shares_differ(yes, len(learnt), no, len(other))
  few = 3 * no <= len(other)
  votes = (yes, len(learnt)) if few and 2 * yes > len(learnt) else (0, 0)
  if 2 * no > len(other):
    votes = len(other) - no, len(other)
  told = {'effect': effect, 'p': p, 'votes': votes}
  if min(len(learnt), len(other)) < MIN_SEEDS:
    return Answer(None, why=f'fewer than {MIN_SEEDS} seeds', **told)
  if p < LEVEL and yes / len(learnt) > no / len(other):
    return Answer(True, **told)
  most = rules.most(other)
  if most.holds:
    return Answer(False, **told | {'p': most.p})
  return Answer(None, why=f'{why}{yes} of {len(learnt)} seeds', **told)


def edge(rows: Rows, others: Any = None) -> Answer:
  """Tells if a receptive field is an edge, in derivatives and in accuracy."""
  reach = rows[0].get('receptive_field')
  if reach is None:
    return Answer(None, why='it has no receptive field')
  if rows[0].get('farthest') != reach - 1:
    return Answer(False, why=f'its derivatives end at {rows[0]["farthest"]}')
  inside, outside = scores(rows, reach - 1), scores(rows, reach)
  if np.isnan([inside, outside]).any():
    return Answer(
      None, why=f'lags {reach - 1} and {reach} were not both tested'
    )
  chance = rows[0]['chance']
  examples = min(row['examples'] for row in rows if row['examples'])
  error = math.sqrt(chance * (1 - chance) / examples)
  return more_learn(
    inside >= LEARNT,
    outside > chance + 3 * error,
    contrasts.difference_interval(inside, outside),
    f'lag {reach - 1} is learnt by ',
  )


def stateless(rows: Rows, others: Mapping[str, Rows]) -> Answer:
  """Tells if a network that sees one token is at chance, and the LSTM not."""
  ours, chance = scores(others['lstm']), rows[0]['chance']
  theirs = scores(rows)
  return more_learn(
    ours >= (1 + chance) / 2,
    theirs > chance + MARGIN,
    contrasts.difference_interval(ours, theirs),
    'the LSTM gets half way to 1 in ',
  )


def composes(rows: Rows, others: Mapping[str, Rows]) -> Answer:
  """Tells if the TCN is more often right than a recurrent network."""
  ours, theirs = scores(others['tcn of 2 taps']), scores(rows)
  effect = contrasts.difference_interval(ours, theirs)
  p = contrasts.means_differ(ours, theirs)
  votes = int((ours > theirs.mean()).sum()), len(ours)
  if min(len(ours), len(theirs)) < MIN_SEEDS:
    return Answer(None, effect, f'fewer than {MIN_SEEDS} seeds', p, votes)
  if p < LEVEL:
    return Answer(effect.value > 0, effect, p=p, votes=votes)
  return Answer(None, effect, f'p = {p:.2g}', p, votes)


def reaches(rows: Rows, others: Mapping[str, Rows]) -> Answer:
  """Tells if a network learns the tested lag, and two plain layers do not."""
  ours = scores(rows, TESTED_LAG)
  theirs = scores(others[SHALLOW], TESTED_LAG)
  return more_learn(
    ours >= LEARNT,
    theirs >= LEARNT,
    contrasts.difference_interval(ours, theirs),
    f'lag {TESTED_LAG} is learnt by ',
  )


# Of each claim: its question, the networks that are asked, those that it takes
# besides, the rule, and the effect in words.
_JUDGES = {
  '0.11': (
    'state', sweep.STATELESS, ('lstm',), stateless,
    'accuracy of the LSTM minus that of {}, one token at a time',
  ),
  '0.12': (
    'motifs', sweep.RECURRENT, ('tcn of 2 taps',), composes,
    'accuracy of the TCN minus that of {}',
  ),
  '0.13': (
    'lags', sweep.CONVOLUTIONS, (), edge,
    'accuracy at lag R - 1 minus that at R ({})',
  ),
  '0.14': (
    'lags', tuple(WAYS), (SHALLOW,), reaches,
    f'accuracy at lag {TESTED_LAG}, {{}} minus {SHALLOW}',
  ),
  '1.4': (
    'lags', sweep.WINDOWS, (), edge,
    'accuracy at lag tau - 1 minus that at tau ({})',
  ),
}  # fmt: skip


def _judged(
  id: str, groups: Mapping[str, Mapping[str, Rows]], judge: tuple
) -> Verdict:
  """Judges by the primary network, unless another one answers otherwise."""
  question, names, besides, rule, quantity = judge
  found, primary = groups[question], PRIMARY[id]
  if absent := [n for n in (primary, *besides) if n not in found]:
    return lacking(id, absent, COMMAND)
  answers: Answers = {n: rule(found[n], found) for n in names if n in found}
  tested = answers[primary]
  word = rules.led_by(tested, answers.values())
  shown = primary
  if word == REFUTED:  # the best case for the claim
    known = [n for n, a in answers.items() if a.effect is not None]
    shown = max(known, key=lambda n: answers[n].effect.value, default=primary)
  said = condition({name: answer.holds for name, answer in answers.items()})
  why = [f'{n}: {a.why}' for n, a in answers.items() if a.why]
  said += f' ({"; ".join(why)})' if why else ''
  extra = f' {exponents(found)}' if id == '0.14' else ''
  return Verdict(
    id,
    word,
    scope=_scope(found[primary]),
    sentence=(
      f'The claim{said.removeprefix("it")}; p is that of {primary}.{extra}'
    ),
    quantity=quantity.format(shown),
    effect=answers[shown].effect,
    p=tested.p,
    seeds=min(len(scores(found[name])) for name in answers),
    leans=leaning(*tested.votes) if word == UNDECIDED else '',
  )


def deepest(rows: Rows) -> int:
  """Returns the longest lag up to which most seeds learn all; 0 if none."""
  lags = sorted({row.get('lag') for row in rows} - {None})
  last = 0
  for lag in lags:
    if 2 * (scores(rows, lag) >= LEARNT).sum() <= len(scores(rows, lag)):
      break
    last = lag
  return last


def exponents(found: Mapping[str, Rows]) -> str:
  """Says how the layers that a lag takes grow with the lag."""
  said = []
  for family, axis in (('convolutions', np.log2), ('dilated', np.asarray)):
    points = {
      part[0]['layers']: deepest(part)
      for name, part in found.items()
      if name.startswith(f'{family}, ')
    }
    points = {layers: lag for layers, lag in points.items() if lag}
    if len(points) > 1:
      slope = np.polyfit(np.log2([*points.values()]), axis([*points]), 1)[0]
      law = (
        f'layers of plain convolutions grow as lag^{slope:.2f}'
        if axis is np.log2
        else f'dilated layers by {slope:.2f} for each doubling of the lag'
      )
      said.append(law)
  one = [
    f'{name} {deepest(found[name])}'
    for name in (*WAYS, 'lstm')
    if name in found and found[name][0]['layers'] == 1
  ]
  if one:
    said.append(f'one layer learns lags up to: {", ".join(one)} of {LAG}')
  return f'In trained networks {"; ".join(said)}.' if said else ''


def summary(rows: Rows) -> str:
  """Returns a line for each network and question, whoever made it."""
  lines = []
  for question in dict.fromkeys(row['question'] for row in rows):
    for name, part in entries(rows, question).items():
      lines.append({'question': question, 'mixer': name} | _card(part))
  columns = list(dict.fromkeys(key for line in lines for key in line))
  lines = [{key: line.get(key, '-') for key in columns} for line in lines]
  chances = {row['question']: row['chance'] for row in rows}
  chances = ', '.join(f'{c:.3f} ({q})' for q, c in chances.items())
  return (
    'Means over seeds. R: receptive field; derivatives: the farthest input, in '
    'positions back, that an output depends on. Learnt up to: the longest lag '
    f'up to which most seeds score {LEARNT:g}. Chance: {chances}; best '
    f'attainable 1.\n\n{table.text(lines, columns)}'
  )


def _card(rows: Rows) -> dict[str, str]:
  row = rows[0]
  edge = ' (at the edge)' if row['at_edge'] else ''
  common = {
    'rate': f'{row["learning_rate"]:g}{edge}',
    'seeds': str(len(scores(rows))),
  }
  if row['question'] != 'lags':
    return {'accuracy': f'{scores(rows).mean():.3f}'} | common
  line = {'layers': str(row['layers']), 'learnt up to': str(deepest(rows))}
  if (reach := row.get('receptive_field')) is not None:
    line |= {'R': str(reach), 'derivatives': str(row['farthest'])}
    for name, lag in (('at R - 1', reach - 1), ('at R', reach)):
      line[name] = f'{scores(rows, lag).mean():.3f}'
  return line | common


def _scope(rows: Rows) -> str:
  row = rows[0]
  lags = f', lags up to {LAG}' if row['question'] == 'lags' else ''
  return f'{row["parameters"]:,} parameters, {row["steps"]} updates{lags}'
