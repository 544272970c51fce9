"""Engines that look for an answer. LightRAG is imported in this package only, and from outside through `lightrag`."""
