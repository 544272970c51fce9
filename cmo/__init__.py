"""Clinical Metabolomics Oracle: questions answered from papers, every sentence checkable on its page."""

__version__ = "0.1.0"
