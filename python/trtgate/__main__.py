"""`python -m trtgate`: the program, in this process's place."""

import os
import sys

from trtgate import GateError, find_program


def main() -> None:
    try:
        program = find_program()
    except GateError as error:
        sys.exit(f"error: {error}")
    os.execv(program, [program, *sys.argv[1:]])


if __name__ == "__main__":
    main()
