"""Boots the machine and runs the cases: one line each, at the end a count."""

import argparse
import importlib
import os
import resource
import sys
import tempfile
import time
import traceback

sys.dont_write_bytecode = True

from lab import Failed, Lab

GROUPS = ["activation", "reload", "restart", "secure", "failures", "hardening", "journal", "memory"]


def parse_arguments():
    parser = argparse.ArgumentParser(prog="tests/lab/run")
    parser.add_argument("--root", required=True)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--release", action="store_true", help="the binary is a release build: judge its memory")
    parser.add_argument("--only", default="", help="cases whose `group: name` contains this")
    return parser.parse_args()


def run(case, lab):
    """None, or why the case failed."""
    try:
        return case(lab) and None
    except Failed as failed:
        return str(failed)
    except Exception:
        return traceback.format_exc()


def main():
    arguments = parse_arguments()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    failed = passed = 0
    with tempfile.TemporaryDirectory(prefix="seance-lab-") as directory:
        os.chmod(directory, 0o755)  # users of the machine walk through it
        lab = Lab(directory, arguments.root, arguments.binary, arguments.release)
        try:
            lab.up()
            for group in GROUPS:
                for case in importlib.import_module(group).CASES:
                    name = f"{group}: {case.__name__.replace('_', ' ')}"
                    if arguments.only not in name:
                        continue
                    begun = time.monotonic()
                    since = lab.cursor()
                    lab.notes.clear()
                    reason = run(case, lab)
                    note = f" ({', '.join(lab.notes)})" if lab.notes else ""
                    print(f"{'FAILED' if reason else 'ok':7}{time.monotonic() - begun:6.1f} s  {name}{note}", flush=True)
                    if reason:
                        failed += 1
                        for line in [*reason.strip().splitlines(), "--- journal", *lab.last_words(since)]:
                            print(f"       {line}", flush=True)
                    else:
                        passed += 1
        finally:
            lab.down()
    build = "the release build" if arguments.release else "a DEBUG BUILD, whose memory is not judged"
    print(f"{passed} cases hold, {failed} failed, with {build} {arguments.binary}")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
