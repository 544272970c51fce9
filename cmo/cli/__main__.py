"""`python -m cmo.cli`, the same as `cmo`."""

from cmo.cli.app import main

main()
