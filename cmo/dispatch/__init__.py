"""Between pipeline and engines: which one a question goes to, and asking it within breakers and budget."""
