"""Read and act for operators. The command line and the page present the values made here.

This package holds no presentation, no HTTP and no SQL.
"""
