"""Clinical Metabolomics Oracle: questions answered from papers or the web, every claim checkable on its page."""

__version__ = "0.1.0"
