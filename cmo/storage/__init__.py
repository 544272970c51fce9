"""What is kept on disk, and the only place that speaks SQL.

The index of one generation is a single SQLite file: the manifest (what was read, and what can be found) and the
knowledge graph's tables stand side by side in it, so that a copy of the file is a copy of the index. The modules
here know tables and transactions; they know nothing of PDFs, models or questions.
"""
