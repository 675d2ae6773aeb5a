"""The selection of quick tests: families, and files near a change."""

import pathlib

from tests import quick

TESTS = {
  'tests/ops/test_a.py': {'seqjax.ops.a'},
  'tests/nn/test_b.py': {'seqjax.ops.a', 'seqjax.nn.b'},
  'tests/nn/test_c.py': {'seqjax.nn.c'},
}


def test_tests_near_a_change_are_edited_mirror_it_or_import_it():
  """And no others."""
  assert quick.near(['seqjax/ops/a.py'], TESTS) == [
    'tests/ops/test_a.py',
    'tests/nn/test_b.py',
  ]
  assert quick.near(['tests/nn/test_c.py'], TESTS) == ['tests/nn/test_c.py']
  assert quick.near(['experiments/b/b.py'], TESTS) == ['tests/nn/test_b.py']
  assert quick.near([], TESTS) == []


def test_imports_are_read_in_every_form():
  """Of modules, of names in them, and inside functions."""
  source = 'import a.b\nfrom c import d\ndef f():\n  from e.f import g\n'
  assert quick.imported(source) == {'a.b', 'c', 'c.d', 'e.f', 'e.f.g'}


def test_the_laws_that_are_selected_exist(capsys):
  """One mixer per module of seqjax/nn that has any."""
  quick.main()
  lines = capsys.readouterr().out.splitlines()
  assert all(lines)  # an empty one would stand for the whole suite
  assert f'{quick.MIXER_LAWS}[elman]' in lines
  assert f'{quick.MIXER_LAWS}[attention]' in lines
  for laws in (quick.MIXER_LAWS, quick.TASK_LAWS):
    file, _, function = laws.partition('::')
    text = (quick.ROOT / file).read_text(encoding='utf-8')
    assert f'def {function}(' in text
  assert all(pathlib.Path(quick.ROOT, test).exists() for test in quick_files())


def quick_files() -> list[str]:
  return list(quick.imports_of_tests())
