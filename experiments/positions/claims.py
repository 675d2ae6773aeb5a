"""Judges what networks know of a place where they were not trained."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy

from experiments.positions import scores
from experiments.positions.main import ENOUGH, MLP
from experiments.positions.scores import MARGIN, SOLVED, Rows, Scores
from experiments.positions.sweep import ASKED, MANY, SCHEMES, SHARING
from seqjax.analysis import contrasts, rules, thresholds
from seqjax.analysis.rules import MIN_SEEDS, Answer
from seqjax.analysis.statistics import LEVEL, median_interval
from seqjax.analysis.thresholds import Bracket
from seqjax.analysis.verdicts import (
  CONDITIONAL,
  REFUTED,
  SUPPORTED,
  UNDECIDED,
  Claim,
  Verdict,
  condition,
  lacking,
  leaning,
)
from seqjax.results import table

COMMAND = 'python -m experiments.positions --preset=full'
GONE = 0.9  # of what accuracy was above chance: nothing worth a name is left
ORDER, SOME = 10, 2  # ratios of numbers of examples
MEMORIZED = 1e-3  # training loss in nats
_MOST = (
  'of most networks, by a two-sided sign test over seeds at .05 / 43: it takes '
  '11 seeds that agree'
)
_OTHERS = 'One of the others that answers otherwise makes it CONDITIONAL.'
_RATIO = (
  'Fewest examples of a fixed training set for 90 % test accuracy, as brackets '
  'over seeds; their ratio, MLP over {}, by length. At the longest length: '
  'SUPPORTED if the lower end is 10 or more, CONDITIONAL from 2 on, REFUTED if '
  'the upper end is below 2, by a rank test of the near ends of brackets at '
  '.05 / 43. A shorter length with an upper end below 10 makes it CONDITIONAL, '
  'or for a refutation one with a lower end of 2 or more. UNDECIDED if most '
  'seeds of a network do not get there.'
)
CLAIMS = {
  '0.4': Claim(
    'Truncation loses information.',
    'The label is the token at one position. An MLP that keeps T_max positions '
    'loses nine tenths or more of what accuracy is above chance from position '
    f'T_max - 1 to T_max, {_MOST}. And an MLP that reads the whole row knows '
    'the token at T_max: else it is UNDECIDED.',
  ),
  '0.6a': Claim(
    'An MLP has order only through coordinates: it learns as well with any '
    'fixed permutation of positions.',
    f'Accuracy on motifs, plain and permuted, differs by at most .02, {_MOST}.',
  ),
  '0.6b': Claim(
    'Convolutions and recurrent networks expect neighbours to be neighbours.',
    'Accuracy on motifs falls by more than .02 where positions are permuted, '
    f'asked of the GRU, {_MOST}. {_OTHERS}',
  ),
  '0.7': Claim(
    'The MLP still learns if data are rich and sequences short.',
    'From some number of examples on, the MLP has 90 % accuracy and is at most '
    '.02 below the GRU with the same examples, by brackets of each seed. '
    'SUPPORTED if there is such a number in most seeds at the shortest length, '
    'and it is larger, or beyond what was tried, at the longest one, by a rank '
    'test of the near ends of brackets at .05 / 43. REFUTED if there is none '
    'at any length, or it is smaller at the longest.',
  ),
  '0.8a': Claim(
    'A pattern that an MLP learned at one position is not known at another.',
    'Trained on motifs in the first quarter of the places, and tested beyond '
    'twice as far: nine tenths or more of what accuracy was above chance is '
    f'gone, {_MOST}. And the gradient on the weights of symbols at unseen '
    'positions is exactly 0, that at seen ones is not: else it is REFUTED.',
  ),
  '0.8b': Claim(
    'A pattern that a convolution or a recurrent network learned at one '
    'position is known at another.',
    'In the same test, accuracy far away is at most .02 below that at trained '
    f'places, asked of the GRU, {_MOST}. {_OTHERS}',
  ),
  '0.8c': Claim(
    'A pattern that attention learned at one position is known at another.',
    'As 0.8b, asked of attention with rotary positions; another scheme of '
    'positions that answers otherwise makes it CONDITIONAL.',
  ),
  '0.9a': Claim(
    'MLPs need orders of magnitude more data than recurrent networks.',
    _RATIO.format('GRU'),
  ),
  '0.9b': Claim(
    'MLPs need orders of magnitude more data than convolutions.',
    _RATIO.format('TCN'),
  ),
  '0.16': Claim(
    'MLPs and CNNs are not weak approximators.',
    'Random labels at a fixed length are fitted to a training loss below 1e-3 '
    'nats in every seed of the MLP and the TCN, at least 11. Else it is '
    'UNDECIDED, not within the budget: no budget refutes it.',
  ),
}


def verdicts(rows: Rows) -> list[Verdict]:
  """Judges the claims on one machine; without their rows they are undecided."""
  _check_budget(rows)
  by = {
    question: {
      name: table.select(rows, question=question, mixer=name)
      for name in dict.fromkeys(
        row['mixer'] for row in table.select(rows, question=question)
      )
    }
    for question in ASKED
  }
  lost = 'accuracy lost from trained to far places'
  changed = 'accuracy on plain minus permuted motifs'
  step = 'accuracy at T_max - 1 minus that at T_max'
  judged = [
    _judged('0.4', by['truncation'], (MLP,), cuts, step),
    _judged('0.6a', by['permutation'], (MLP,), same_permuted, changed),
    _judged('0.6b', by['permutation'], SHARING, worse_permuted, changed),
    _rich(by['data']),
    _judged('0.8a', by['transfer'], (MLP,), unknown_far, lost),
    _judged('0.8b', by['transfer'], SHARING, known_far, lost, min),
    _judged('0.8c', by['transfer'], SCHEMES, known_far, lost, min),
    _hungry('0.9a', by['data'], 'gru'),
    _hungry('0.9b', by['data'], 'tcn'),
    _memorized(by['memory']),
  ]  # fmt: skip
  return [each.within(_scope(rows)) for each in judged]


def _check_budget(rows: Rows):
  """Refuses to compare networks of other sizes or budgets.

  Raises:
    ValueError: names the column, and its values.
  """
  for name in ('parameters', 'steps', 'batch_size'):
    values = sorted({row[name] for row in rows})
    if len(values) > 1:
      raise ValueError(
        'Rows of positions are compared at one budget, but '
        f'{name} is {" and ".join(map(str, values))} in them: judge their '
        'tables apart.'
      )


def _scope(rows: Rows) -> str:
  if not rows:
    return ''
  return f'{rows[0]["parameters"]:,} parameters, {rows[0]["steps"]} updates'


def cuts(rows: Rows) -> Answer:
  """Tells if the first position that is cut is lost, and only by the cut."""
  kept = min(row['kept'] for row in rows)
  whole = max(row['kept'] for row in rows)
  cut = table.select(rows, kept=kept)
  inside, outside, control = scores.paired(
    table.select(cut, position=kept - 1),
    table.select(cut, position=kept),
    table.select(rows, kept=whole, position=kept),
  )
  chance = rows[0]['chance']
  if why := _unlearnt(control, f'position {kept} of whole rows'):
    return Answer(None, why=why)
  return _most(inside - outside >= GONE * (1 - chance), inside - outside, rows)


def same_permuted(rows: Rows) -> Answer:
  """Tells if accuracy is the same, within the margin, on permuted motifs."""
  return _permuted(rows, lambda lost: np.abs(lost) <= MARGIN)


def worse_permuted(rows: Rows) -> Answer:
  """Tells if accuracy on permuted motifs is lower by more than the margin."""
  return _permuted(rows, lambda lost: lost > MARGIN)


def _permuted(rows: Rows, does: Callable[[Scores], Any]) -> Answer:
  plain, permuted = scores.paired(
    table.select(rows, order='plain'), table.select(rows, order='permuted')
  )
  if why := _unlearnt(plain, f'{rows[0]["mixer"]} on plain motifs'):
    return Answer(None, why=why)
  return _most(does(plain - permuted), plain - permuted, rows)


def known_far(rows: Rows) -> Answer:
  """Tells if motifs are known as well at places where none was in training."""
  near, far = scores.near_and_far(rows)
  if why := _unlearnt(near, f'{rows[0]["mixer"]} at trained places'):
    return Answer(None, why=why)
  return _most(near - far <= MARGIN, near - far, rows)


def unknown_far(rows: Rows) -> Answer:
  """Tells if nothing is known there, and no gradient could teach it."""
  near, far = scores.near_and_far(rows)
  if why := _unlearnt(near, f'{rows[0]["mixer"]} at trained places'):
    return Answer(None, why=why)
  chance = rows[0]['chance']
  found = _most(near - far >= GONE * (near - chance), near - far, rows)
  if any(row['gradient_unseen'] != 0 for row in rows):
    return found._replace(
      holds=False, why='a gradient at an unseen position is not 0'
    )
  if any(not row['gradient_seen'] > 0 for row in rows):
    why = 'a gradient at a seen position is 0 as well'
    return found._replace(holds=None, why=why)
  return found


def _unlearnt(own: Scores, name: str) -> str:
  """Returns why a network decides nothing; '' where it learnt its own task."""
  solved = int((own >= SOLVED).sum())
  if len(own) < MIN_SEEDS:
    return f'{name} has {len(own)} seeds, and {MIN_SEEDS} are needed'
  if 2 * solved <= len(own):
    return f'{name} is learnt by {solved} of {len(own)} seeds within the budget'
  return ''


def _most(votes: Any, numbers: Scores, rows: Rows) -> Answer:
  effect = median_interval(numbers) if len(numbers) >= 6 else None
  return rules.most(votes, effect, f'for {rows[0]["mixer"]} it holds in ')


def _judged(
  claim: str,
  found: Mapping[str, Rows],
  names: Sequence[str],
  rule: Callable[[Rows], Answer],
  quantity: str,
  best: Callable = max,
) -> Verdict:
  """Judges by the first network, unless another one answers otherwise.

  Args:
    claim: its id.
    found: the rows of each network.
    names: the networks that the claim is about; the first is tested.
    rule: answers whether the claim holds for a network.
    quantity: the effect in words.
    best: which of several effects is best for the claim.
  """
  if absent := [name for name in names if name not in found]:
    return lacking(claim, absent, COMMAND)
  answers = {name: rule(found[name]) for name in names}
  first = answers[names[0]]
  word = {True: SUPPORTED, False: REFUTED, None: UNDECIDED}[first.holds]
  others = {answer.holds for answer in answers.values()}
  if first.holds is not None and (not first.holds) in others:
    word = CONDITIONAL
  shown = names[0]
  if word == REFUTED:
    known = [name for name in names if answers[name].effect is not None]
    shown = best(
      known, key=lambda name: answers[name].effect.value, default=shown
    )
  said = condition(
    {f'{name}{_shown(a)}': a.holds for name, a in answers.items()}
  )
  why = [a.why for a in answers.values() if a.holds is not True and a.why]
  why = f' ({"; ".join(why)})' if why else ''
  seeds = min(len({row['seed'] for row in found[name]}) for name in names)
  question = found[shown][0]['question']
  return Verdict(
    claim,
    word,
    sentence=f'The claim{said.removeprefix("it")}{why}; p is that of '
    f'{names[0]}.',
    scope=f'rows of {found[shown][0]["length"]} positions',
    quantity=f'{quantity} ({shown}, median over seeds)',
    effect=answers[shown].effect,
    p=first.p,
    seeds=seeds,
    leans=leaning(*first.votes) if word == UNDECIDED else '',
    more=f'--questions={question} --{_AXES.get(question, "seeds")}={3 * seeds}',
  )


# The axes that count the seeds of a question, if not `seeds`.
_AXES = dict.fromkeys(MANY, 'many_seeds')


def _shown(answer: Answer) -> str:
  return '' if answer.effect is None else f' ({answer.effect.value:.2f})'


def above(
  ours: Sequence[Bracket], theirs: Sequence[Bracket], times: int = 1
) -> float:
  """Returns the p that our thresholds are so many times theirs, or no larger.

  A two-sided permutation test of the ranks of our lower ends and of the upper
  ends of theirs, the nearest that both can lie. A threshold is above its lower
  end, and so above an upper end that is equal to it.
  """
  above_low = 1 + 1e-9
  near = [above_low * b.low for b in ours] + [times * b.high for b in theirs]
  ranks = scipy.stats.rankdata(near)
  ranks, others = ranks[: len(ours)], ranks[len(ours) :]
  if ranks.mean() <= others.mean():
    return 1.0
  return contrasts.means_differ(ranks, others)


def more_data(ours: Sequence[Bracket], theirs: Sequence[Bracket]) -> Answer:
  """Tells if we need ten times the examples; False if less than twice.

  None in between, where the effect says if it is twice or more.
  """
  if min(len(ours), len(theirs)) < MIN_SEEDS:
    return Answer(None, why=f'fewer than {MIN_SEEDS} seeds')
  for name, side in {'the MLP': ours, 'the other': theirs}.items():
    got = sum(math.isfinite(b.high) for b in side)
    if 2 * got <= len(side):
      why = f'{name} gets there in {got} of {len(side)} seeds'
      return Answer(None, why=why)
  effect = thresholds.ratio(*map(thresholds.over_seeds, (ours, theirs)))
  votes = _votes(ours, theirs)
  if effect.high < SOME:
    p = above([_times(b, SOME) for b in theirs], ours)
    return Answer(False if p < LEVEL else None, effect, p=p, votes=votes)
  times = ORDER if effect.low >= ORDER else SOME
  p = above(ours, theirs, times)
  holds = True if effect.low >= ORDER and p < LEVEL else None
  return Answer(holds, effect, p=p, votes=votes)


def _times(found: Bracket, factor: int) -> Bracket:
  return Bracket(factor * found.low, factor * found.high)


def _votes(
  ours: Sequence[Bracket], theirs: Sequence[Bracket]
) -> tuple[int, int]:
  """Returns how many seeds need ten times the examples, middle by middle."""
  ratios = [
    math.sqrt(max(a.low, 1) * a.high) / math.sqrt(max(b.low, 1) * b.high)
    for a, b in zip(ours, theirs, strict=False)
    if math.isfinite(a.high) and math.isfinite(b.high)
  ]
  return sum(ratio >= ORDER for ratio in ratios), len(ratios)


def _by_length(rows: Rows) -> dict[int, Rows]:
  lengths = sorted({row['length'] for row in rows})
  return {length: table.select(rows, length=length) for length in lengths}


def ratios(mlp: Rows, other: Rows) -> dict[int, Answer]:
  """Returns, by length, whether the MLP needs ten times the examples."""
  ours, theirs = _by_length(mlp), _by_length(other)
  return {
    length: more_data(
      [*scores.fewest(ours[length]).values()],
      [*scores.fewest(theirs[length]).values()],
    )
    for length in ours
    if length in theirs
  }


def _hungry(claim: str, found: Mapping[str, Rows], other: str) -> Verdict:
  if absent := [name for name in (MLP, other) if name not in found]:
    return lacking(claim, absent, COMMAND)
  answers = ratios(found[MLP], found[other])
  if not answers:
    return lacking(claim, [f'{MLP} and {other} of one length'], COMMAND)
  longest = max(answers)
  first = answers[longest]
  word = _word(first)
  others = [a.effect for n, a in answers.items() if a.effect and n != longest]
  if word == SUPPORTED and any(each.high < ORDER for each in others):
    word = CONDITIONAL
  if word == REFUTED and any(each.low >= SOME for each in others):
    word = CONDITIONAL
  said = ', '.join(
    f'{_range(a.effect)} at length {n}'
    if a.effect
    else f'{a.why} at length {n}'
    for n, a in answers.items()
  )
  seeds = min(len({r['seed'] for r in found[n]}) for n in (MLP, other))
  return Verdict(
    claim,
    word,
    sentence=f'Examples that the MLP needs, over those of {other}: {said}.',
    quantity=f'examples for {ENOUGH:.0%}, MLP over {other}, at length '
    f'{longest}',
    unit='times',
    effect=first.effect,
    p=first.p,
    seeds=seeds,
    leans=leaning(*first.votes) if word == UNDECIDED else '',
    more=_more_data(seeds),
  )


def _word(answer: Answer) -> str:
  """Returns the verdict of one length: twice as many are not an order."""
  if answer.holds is not None:
    return SUPPORTED if answer.holds else REFUTED
  told = answer.effect is not None and answer.p < LEVEL
  return CONDITIONAL if told and answer.effect.low >= SOME else UNDECIDED


def _range(found: Bracket) -> str:
  return f'{found.low:.3g} to {found.high:.3g}'


def _rich(found: Mapping[str, Rows]) -> Verdict:
  """Judges the region in which the MLP is as good as the GRU."""
  if absent := [name for name in (MLP, 'gru') if name not in found]:
    return lacking('0.7', absent, COMMAND)
  ours, theirs = _by_length(found[MLP]), _by_length(found['gru'])
  equal = {
    length: scores.enough_to_equal(ours[length], theirs[length])
    for length in ours
    if length in theirs
  }
  if len(equal) < 2:
    return lacking('0.7', [f'{MLP} and gru of two lengths'], COMMAND)
  short, long = equal[min(equal)], equal[max(equal)]
  there = {n: _share(each) for n, each in equal.items()}
  grows, falls = above(long, short), above(short, long)
  few = min(len(short), len(long)) < MIN_SEEDS
  word, p = UNDECIDED, min(grows, falls)
  if not few and there[min(equal)] > 0.5 and grows < LEVEL:
    word = SUPPORTED
  elif not few and (falls < LEVEL or not any(there.values())):
    word = REFUTED
  said = ', '.join(
    f'{thresholds.over_seeds(each)} at length {n}' for n, each in equal.items()
  )
  larger = sum(a.low >= b.high for a, b in zip(long, short, strict=False))
  return Verdict(
    '0.7',
    word,
    sentence=f'Examples from which on the MLP equals the GRU: {said}.',
    quantity='examples from which on the MLP equals the GRU, at length '
    f'{max(equal)} over length {min(equal)}',
    unit='times',
    effect=thresholds.ratio(*map(thresholds.over_seeds, (long, short))),
    p=p,
    seeds=min(len(short), len(long)),
    leans=leaning(larger, len(short)) if word == UNDECIDED else '',
    more=_more_data(min(len(short), len(long))),
  )


def _more_data(seeds: int) -> str:
  """Returns the options of a run that counts examples with more seeds."""
  return f'--questions=data --data_seeds={3 * seeds}'


def _share(found: Sequence[Bracket]) -> float:
  return float(np.mean([math.isfinite(each.high) for each in found]))


def memorizes(rows: Rows) -> Answer:
  """Tells if random labels are fitted in every seed; None where not."""
  losses = np.array([_loss(row) for row in rows])
  done = losses < MEMORIZED
  finite = losses[np.isfinite(losses)]
  effect = median_interval(finite) if len(finite) >= 6 else None
  found = rules.most(done, effect)
  if done.all() and found.holds:
    return found
  why = f'{rows[0]["mixer"]} fits {done.sum()} of {len(done)} seeds'
  return found._replace(
    holds=None, why=f'{why}, not within the budget' if not done.all() else why
  )


def _loss(row: Mapping[str, Any]) -> float:
  loss = row['validation_loss']
  return math.inf if loss is None or not math.isfinite(loss) else loss


def _memorized(found: Mapping[str, Rows]) -> Verdict:
  names = (MLP, 'tcn')
  if absent := [name for name in names if name not in found]:
    return lacking('0.16', absent, COMMAND)
  answers = {name: memorizes(found[name]) for name in found}
  needed = [answers[name] for name in names]
  word = SUPPORTED if all(a.holds for a in needed) else UNDECIDED
  own = found[MLP][0]
  worst = max(names, key=lambda n: max(map(_loss, found[n])))
  said = condition({name: a.holds for name, a in answers.items()})
  why = [a.why for a in answers.values() if a.why]
  why = f' ({"; ".join(why)})' if why else ''
  return Verdict(
    '0.16',
    word,
    scope=f'{own["labels"]} labels of rows of {own["length"]} positions',
    sentence=f'A training loss below {MEMORIZED:g} in every seed: {said}{why}.',
    quantity=f'training loss ({worst}, median over seeds)',
    unit='nats',
    effect=answers[worst].effect,
    p=answers[worst].p,
    seeds=min(len(found[name]) for name in names),
    leans=leaning(*answers[worst].votes) if word == UNDECIDED else '',
  )


def summary(rows: Rows) -> str:
  """Returns a line for each network, whoever made it."""
  lines = [
    {'network': name} | _line(table.select(rows, mixer=name))
    for name in dict.fromkeys(row['mixer'] for row in rows)
  ]
  columns = dict.fromkeys(name for line in lines for name in line)
  lines = [{name: line.get(name, '-') for name in columns} for line in lines]
  return (
    'Near, far: accuracy where motifs were in training, and beyond twice as '
    'far. Plain, permuted: positions in order, in a fixed other one. N at T: '
    f'examples for {ENOUGH:.0%} accuracy at length T, over all seeds. Fits: '
    'seeds that fit random labels to a loss below 1e-3. Chance .25, best '
    f'attainable 1.\n\n{table.text(lines, list(columns))}'
  )


def _line(rows: Rows) -> dict[str, str]:
  """Returns what is known of one network."""
  line = {}
  if part := table.select(rows, question='transfer'):
    near, far = scores.near_and_far(part)
    line |= {'near': f'{near.mean():.2f}', 'far': f'{far.mean():.2f}'}
    line['known far'] = _answered(known_far(part))
  if part := table.select(rows, question='permutation'):
    for order in ('plain', 'permuted'):
      found = scores.accuracies(table.select(part, order=order))
      line[order] = f'{np.mean([*found.values()]):.2f}'
    line['order matters'] = _answered(worse_permuted(part))
  part = table.select(rows, question='data')
  for length, own in _by_length(part).items():
    found = thresholds.over_seeds([*scores.fewest(own).values()])
    line[f'N at {length}'] = str(found).removeprefix('between ')
  if part := table.select(rows, question='memory'):
    yes, of = memorizes(part).votes
    line['fits'] = f'{yes} of {of}'
  return line


def _answered(answer: Answer) -> str:
  """Returns 'yes (11 of 11)', 'open (3 of 5)', '-' if it is not learnt."""
  yes, of = answer.votes
  word = {True: 'yes', False: 'no', None: 'open'}[answer.holds]
  return f'{word} ({yes} of {of})' if of else '-'
