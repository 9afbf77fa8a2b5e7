"""One line a check, and the sum of them at the end."""

import threading


class Report:
    def __init__(self):
        self.passed = 0
        self.failed = []
        self.skipped = []
        self.lock = threading.Lock()

    def ok(self, name):
        with self.lock:
            self.passed += 1
            print("ok   " + name, flush=True)

    def fail(self, name, why):
        with self.lock:
            self.failed.append(name)
            print("FAIL %s: %s" % (name, why), flush=True)

    def skip(self, name, why):
        with self.lock:
            self.skipped.append((name, why))
            print("skip %s: %s" % (name, why), flush=True)

    def check(self, name, differences):
        """Passes when there are no differences."""
        if not differences:
            self.ok(name)
        else:
            more = " (and %d more)" % (len(differences) - 3) if len(differences) > 3 else ""
            self.fail(name, "; ".join(differences[:3]) + more)

    def lines(self, client, output):
        """Takes over what a program's `checks` printed."""
        count = 0
        for line in output.splitlines():
            verdict, _, rest = line.partition(" ")
            name, _, why = rest.partition(": ")
            if verdict == "ok":
                self.ok("%s: %s" % (client, rest))
            elif verdict == "FAIL":
                self.fail("%s: %s" % (client, name), why)
            elif verdict == "skip":
                self.skip("%s: %s" % (client, name), why)
            else:
                continue
            count += 1
        if count == 0:
            self.fail(client + ": checks", "none was reported")

    def close(self):
        """Prints the sum; true when nothing failed."""
        for name in self.failed:
            print("failed: " + name)
        for name, why in self.skipped:
            print("skipped: %s: %s" % (name, why))
        print("%d passed, %d failed" % (self.passed, len(self.failed)), flush=True)
        return not self.failed
