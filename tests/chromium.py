"""Drives a headless Chromium over the pipe of its DevTools protocol.

    with chromium.browser(tmp_path) as call:
      page = chromium.Page(call)

https://chromedevtools.github.io/devtools-protocol
"""

import base64
import contextlib
import fcntl
import itertools
import json
import os
import pathlib
import select
import shutil
import signal
import time
from collections.abc import Iterator
from typing import Any

PROGRAM = shutil.which('chromium') or shutil.which('chromium-browser')
TIMEOUT = 60.0  # seconds in which an answer comes
# Chromium reads commands from descriptor 3 and writes answers to 4.
_READS, _WRITES = 3, 4
_FLAGS = (
  *('--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars'),
  *('--remote-debugging-pipe', '--no-first-run', '--disable-sync'),
  *('--disable-background-networking', '--disable-component-update'),
  *('--disable-quic', '--disable-dev-shm-usage', 'about:blank'),
)


@contextlib.contextmanager
def browser(profile: pathlib.Path) -> Iterator['Browser']:
  """Starts Chromium with an empty profile; ends it, and all that it started."""
  with contextlib.ExitStack() as opened:
    theirs_in, ours_out = opened.enter_context(_pipe())
    ours_in, theirs_out = opened.enter_context(_pipe())
    null = os.open(os.devnull, os.O_RDWR)
    opened.callback(os.close, null)
    pid = os.posix_spawn(
      PROGRAM,
      [PROGRAM, f'--user-data-dir={profile}', *_FLAGS],
      os.environ,
      file_actions=[
        *[(os.POSIX_SPAWN_DUP2, null, number) for number in (0, 1, 2)],
        (os.POSIX_SPAWN_DUP2, theirs_in, _READS),
        (os.POSIX_SPAWN_DUP2, theirs_out, _WRITES),
      ],
      setpgroup=0,
    )
    started = Browser(ours_in, ours_out)
    try:
      yield started
      started.call('Browser.close')
      _wait(pid)
    finally:
      with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
      with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _wait(pid: int):
  """Waits until a process has ended by itself, but not for ever."""
  until = time.monotonic() + TIMEOUT
  while time.monotonic() < until and os.waitpid(pid, os.WNOHANG) == (0, 0):
    time.sleep(0.05)


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
  """Opens a pipe whose ends are none of the descriptors that it replaces."""
  first = os.pipe()
  ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in first]
  for end in first:
    os.close(end)
  try:
    yield tuple(ends)
  finally:
    for end in ends:
      os.close(end)


class Browser:
  """Sends commands, each with an answer, and keeps events that come between."""

  def __init__(self, reads: int, writes: int):
    self._reads, self._writes = reads, writes
    self._numbers, self._buffer = itertools.count(1), b''
    self.events = []

  def call(self, method: str, session: str | None = None, **parameters) -> Any:
    """Returns the result of a command; RuntimeError if Chromium refuses it."""
    number = next(self._numbers)
    message = {'id': number, 'method': method, 'params': parameters}
    message |= {'sessionId': session} if session else {}
    os.write(self._writes, json.dumps(message).encode() + b'\0')
    while True:
      answer = self._receive()
      if answer.get('id') == number:
        if 'error' in answer:
          raise RuntimeError(f'{method}: {answer["error"]}')
        return answer['result']
      self.events.append(answer)

  def wait(self, method: str):
    """Waits for an event, unless it has come already."""
    while not any(event.get('method') == method for event in self.events):
      self.events.append(self._receive())

  def _receive(self) -> dict[str, Any]:
    while b'\0' not in self._buffer:
      ready, _, _ = select.select([self._reads], [], [], TIMEOUT)
      read = os.read(self._reads, 1 << 16) if ready else b''
      if not read:
        raise RuntimeError(f'Chromium gave no answer within {TIMEOUT:g} s.')
      self._buffer += read
    message, _, self._buffer = self._buffer.partition(b'\0')
    return json.loads(message)


class Page:
  """A tab of a browser."""

  def __init__(self, browser: Browser):
    self._browser = browser
    target = browser.call('Target.createTarget', url='about:blank')
    self._session = browser.call(
      'Target.attachToTarget', targetId=target['targetId'], flatten=True
    )['sessionId']
    for domain in ('Page', 'Runtime', 'Log', 'Network'):
      self.call(f'{domain}.enable')

  def call(self, method: str, **parameters) -> Any:
    return self._browser.call(method, self._session, **parameters)

  def open(self, path: pathlib.Path, width: int, dark: bool, height: int = 900):
    """Shows a file in a window of this width, and in light or dark colours."""
    self.call(
      'Emulation.setDeviceMetricsOverride',
      width=width, height=height, deviceScaleFactor=1, mobile=False,
    )  # fmt: skip
    scheme = {
      'name': 'prefers-color-scheme',
      'value': 'dark' if dark else 'light',
    }
    self.call('Emulation.setEmulatedMedia', features=[scheme])
    self._browser.events.clear()
    self.call('Page.navigate', url=path.resolve().as_uri())
    self._browser.wait('Page.loadEventFired')

  def evaluate(self, expression: str) -> Any:
    """Returns the value of a JavaScript expression; waits for a promise."""
    answer = self.call(
      'Runtime.evaluate',
      expression=expression, returnByValue=True, awaitPromise=True,
    )  # fmt: skip
    if 'exceptionDetails' in answer:
      raise RuntimeError(answer['exceptionDetails'])
    return answer['result'].get('value')

  def press(self, key: str, code: int, text: str = ''):
    """Presses a key and lets it go."""
    press = {'key': key, 'windowsVirtualKeyCode': code}
    self.call('Input.dispatchKeyEvent', type='keyDown', text=text, **press)
    self.call('Input.dispatchKeyEvent', type='keyUp', **press)

  def requested(self) -> list[str]:
    """Returns the addresses that were asked for since the page was opened."""
    return [
      event['params']['request']['url']
      for event in self._browser.events
      if event.get('method') == 'Network.requestWillBeSent'
    ]

  def complaints(self) -> list[str]:
    """Returns what stands in the console, and what could not be loaded."""
    return [
      json.dumps(event['params'])
      for event in self._browser.events
      if event.get('method')
      in ('Log.entryAdded', 'Runtime.consoleAPICalled',
          'Runtime.exceptionThrown', 'Network.loadingFailed')
    ]  # fmt: skip

  def screenshot(self, path: pathlib.Path, whole: bool = False):
    """Writes what is seen, or the whole page, as PNG."""
    shot = self.call(
      'Page.captureScreenshot', captureBeyondViewport=whole, **self._clip(whole)
    )
    path.write_bytes(base64.b64decode(shot['data']))

  def _clip(self, whole: bool) -> dict[str, Any]:
    if not whole:
      return {}
    size = self.call('Page.getLayoutMetrics')['cssContentSize']
    return {'clip': size | {'scale': 1}}


def version(browser: Browser) -> str:
  """Returns the name and version of the browser."""
  return browser.call('Browser.getVersion')['product']
