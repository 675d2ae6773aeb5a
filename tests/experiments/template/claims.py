"""Judges claim T.1: an LSTM copies over the longest lag."""

from seqjax.analysis.statistics import MIN_SCORES, mean_interval
from seqjax.analysis.verdicts import UNDECIDED, Claim, Verdict, judge
from seqjax.results import table

CLAIMS = {
  'T.1': Claim(
    'An LSTM copies a symbol over the longest lag.',
    'SUPPORTED if the interval of its accuracy lies above .9, REFUTED below.',
  )
}


def verdicts(rows) -> list[Verdict]:
  """Returns the verdict, from the interval of the mean over seeds."""
  lag = max(row['lag'] for row in rows)
  scores = [r['score'] for r in table.select(rows, mixer='lstm', lag=lag)]
  if len(scores) < MIN_SCORES:
    sentence = f'{MIN_SCORES} seeds of the LSTM are needed at lag {lag}.'
    return [Verdict('T.1', UNDECIDED, sentence=sentence, seeds=len(scores))]
  mean = mean_interval(scores)
  holds = True if mean.low > 0.9 else False if mean.high < 0.9 else None
  verdict = Verdict(
    'T.1',
    judge({'lstm': holds}),
    scope='2,000 parameters',
    sentence=f'The LSTM copies {mean.value:.2f} of the symbols at lag {lag}.',
    quantity=f'accuracy at lag {lag}',
    effect=mean,
    seeds=len(scores),
  )
  return [verdict]
