"""Measures a living network on this machine, and other systems beside it: ``python3 run.py bench``.

Each row of the table is one function of ``benchmarks.rows``; each other system is one of ``benchmarks.beside``. What
a row starts, it ends, also after Ctrl-C and after errors.
"""
