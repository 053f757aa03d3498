"""Starts tools in forks of a process that has imported what they import.

A tool that a test starts needs three seconds to import torch and MMSegmentation, more than for most
of what is tested. This process imports them once and then reads a line of JSON for each tool; the
tool runs in a fork, with its own environment, folder, output and exit code.
"""

import importlib
import json
import os
import runpy
import sys

from tests.fast_start import start_fast


def run_here(request: dict) -> None:
    """Become the tool of a request."""
    os.setsid()
    for number, path in ((0, os.devnull), (1, request['stdout']), (2, request['stderr'])):
        file = os.open(path, os.O_RDWR)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request['env'])
    os.chdir(request['cwd'])
    tool, *arguments = request['command']
    sys.argv = [tool, *arguments]
    sys.path[0] = os.path.dirname(tool)
    runpy.run_path(tool, run_name='__main__')


def serve(requests, replies) -> None:
    """Answer each request with the number of its process, and then with its exit code."""
    for line in requests:
        process = os.fork()
        if not process:
            return run_here(json.loads(line))
        print(process, file=replies, flush=True)
        status = os.waitpid(process, 0)[1]
        print(os.waitstatus_to_exitcode(status), file=replies, flush=True)


if __name__ == '__main__':
    for module in ('mmseg_pan.inference', 'mmseg_pan.reports.preparation', 'mmseg.apis'):
        importlib.import_module(module)
    start_fast()
    serve(sys.stdin, sys.stdout)
