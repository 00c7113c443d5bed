"""``pair`` that says it is another version: ``python -m tests.faults.other_version VERSION start …``."""

import sys

import node

if __name__ == "__main__":
    node.__version__ = sys.argv.pop(1)
    from node.cli import main  # after the change: modules take the name as they are imported

    main()
