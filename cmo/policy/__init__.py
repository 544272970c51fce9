"""Decisions as pure functions: facts and the time come in as arguments, a value comes out."""
