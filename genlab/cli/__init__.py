"""The `genlab` command: one file a verb. A new verb is one function and one line in `VERBS`."""

from __future__ import annotations

import importlib
import sys

import tyro

from genlab.errors import GenlabError
from genlab.lanes.bytecode import keep_bytecode
from genlab.screen import escaped, forgive

VERBS = {
    "curves": "genlab.cli.curves",
    "list": "genlab.cli.list",
    "replay": "genlab.cli.replay",
    "sample": "genlab.cli.sample",
    "show": "genlab.cli.show",
}


def main() -> None:
    """Run the verb named on the command line; each module's `run` returns the exit code.

    Exits with 2 and one line on stderr for an error that the user can put right.
    """
    forgive()
    keep_bytecode()
    verbs = {name: importlib.import_module(module).run for name, module in VERBS.items()}
    try:
        code = tyro.extras.subcommand_cli_from_dict(
            verbs,
            prog="genlab",
            description="Sweeps of small generative and adversarial models.",
            sort_subcommands=True,
        )
    except GenlabError as error:
        print(f"genlab: {escaped(str(error))}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
