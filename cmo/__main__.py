"""`python -m cmo`, the same as `cmo`."""

from cmo.cli import main

main()
