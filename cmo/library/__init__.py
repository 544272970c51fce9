"""The papers: text, passages, what is known about each file, and the index built from them."""
