"""Models to think with: the embedded ones that need no key, and servers that speak a known protocol."""
