"""Commands run in this process, and what they print."""

import json
from typing import Any

from typer.testing import CliRunner

from sedimental.cli import app


def finished(*command: str, code: int = 0) -> Any:
    """What `sedimental` with the arguments `command` left; it must end with `code`."""
    result = CliRunner().invoke(app, list(command))
    assert result.exit_code == code, result.stderr
    return result


def json_of(*command: str, code: int = 0) -> Any:
    """The JSON document that it prints, and nothing else, on stdout."""
    return json.loads(finished(*command, "--json", code=code).stdout)
