"""Write records to standard output as they arrive: lines of text, JSON Lines or CSV."""

import csv
import sys
from collections.abc import Callable
from typing import Any, Final

import click
import orjson

from service.cli.predict.records import Columns, Record, code_of

FORMS: Final = ("table", "json", "csv")

Write = Callable[[Record], None]


def writer(form: str, columns: Columns, width: int) -> Write:
    """Return the function that writes a record. `width` is that of the longest file name, for the table."""
    if form == "json":
        return _write_json
    return _csv_writer(columns) if form == "csv" else _table_writer(columns, width)


def line(found: Any) -> bytes:
    """Return a record as a line of JSON."""
    return orjson.dumps(found, option=orjson.OPT_APPEND_NEWLINE)


def one_line(name: str) -> str:
    """Return a file's name without the characters that would move the cursor of a terminal."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in name)


def _write_json(found: Record) -> None:
    click.echo(line(found), nl=False)


def _table_writer(columns: Columns, width: int) -> Write:
    def write(found: Record) -> None:
        text = columns.summary(found)
        click.echo(f"{one_line(found['file']):{width}}  {click.style(text, fg='red') if code_of(found) else text}")

    return write


def _csv_writer(columns: Columns) -> Write:
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(columns.head)

    def write(found: Record) -> None:
        rows.writerows(columns.rows(found))
        sys.stdout.flush()

    return write
