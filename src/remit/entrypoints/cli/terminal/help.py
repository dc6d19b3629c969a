"""What the help of several commands has in common: the groups they stand in, and `--json`."""

from typing import Annotated

from cyclopts import Group, Parameter

RUN = Group("Run", sort_key=1)
PAYMENTS = Group("Payments", sort_key=2)
OPERATE = Group("Operate", sort_key=3)
AWS = Group("AWS", sort_key=4)
HELP = Group("Help", sort_key=9)

Json = Annotated[bool, Parameter("--json", negative="", help="Print JSON, for pipes.")]
