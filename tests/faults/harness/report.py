"""Runs checks, prints one line for each, and counts. A check is a sentence and a callable.

The callable returns a note for its line or nothing; it raises `Skipped` where the machine lacks what it needs, and
anything else where the broker is wrong.
"""

import time
import traceback


class Skipped(Exception):
    """The check cannot be made here; the message says what is missing."""


class Report:
    def __init__(self):
        self.passed = 0
        self.failed = []
        self.skipped = []

    def run(self, name, check):
        began = time.monotonic()
        try:
            note = check()
        except Skipped as reason:
            self.skipped.append((name, str(reason)))
            print("skip  %s: %s" % (name, reason), flush=True)
            return
        except Exception as error:
            self.failed.append(name)
            print("FAIL  %s (%.1f s): %s" % (name, time.monotonic() - began, error or type(error).__name__), flush=True)
            if not isinstance(error, AssertionError) or not str(error):
                traceback.print_exc()
            return
        self.passed += 1
        print("ok    %s (%.1f s)%s" % (name, time.monotonic() - began, ": " + note if note else ""), flush=True)

    def close(self):
        """The last lines; the exit code."""
        for name, reason in self.skipped:
            print("skipped: %s: %s" % (name, reason))
        for name in self.failed:
            print("failed: %s" % name)
        print("%d passed, %d failed" % (self.passed, len(self.failed)), flush=True)
        return 1 if self.failed else 0
