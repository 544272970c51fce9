"""Languages: which one a question is in, and its words in English."""
