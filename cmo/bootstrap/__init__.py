"""Settings in, parts out: the only package that names concrete classes.

What is opened here is closed here, in reverse, when the context ends. Answering and indexing are put together in
modules of their own, so that an indexing run which finds nothing to do does not wait for the database's libraries.
"""
