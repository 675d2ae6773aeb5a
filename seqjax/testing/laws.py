"""The error that is raised where a law does not hold."""


class LawBroken(AssertionError):
  """A mixer or a task broke one of the laws; `law` says which."""

  def __init__(self, law: str, what: str):
    super().__init__(f'{law}: {what}')
    self.law = law
