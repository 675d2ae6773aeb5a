"""Chooses the checkpoints of a run that are kept: the newest and the best."""

from collections.abc import Mapping


class Kept:
  """A preservation policy of Orbax: the newest and the best checkpoints."""

  def __init__(self, latest: int, best: int):
    self.latest, self.best = latest, best
    self.scores: dict[int, float | None] = {}
    self.damaged: set[int] = set()

  def should_preserve(self, checkpoints, *, context):
    steps = [checkpoint.step for checkpoint in checkpoints]
    scores = {step: self.scores.get(step) for step in steps}
    scores = {s: score for s, score in scores.items() if score is not None}
    kept = {*sorted(steps)[-self.latest :], *ranked(scores)[: self.best]}
    kept |= self.damaged
    return [step in kept for step in steps]


def ranked(scores: Mapping[int, float]) -> list[int]:
  """Returns the steps, best first; of equal ones the earliest."""
  return sorted(scores, key=lambda step: (-scores[step], step))
