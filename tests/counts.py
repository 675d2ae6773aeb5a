"""Counts of a fuzz test, for whoever runs it with -s."""


def show(what: str, tried: int, refused: int):
  """Prints how many inputs were tried, refused in a sentence, and accepted."""
  print(f'{what}: {tried} tried, {refused} refused, {tried - refused} accepted')
