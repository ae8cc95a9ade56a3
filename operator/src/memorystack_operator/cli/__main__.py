"""`python -m memorystack_operator.cli`."""

from memorystack_operator.cli import main

if __name__ == "__main__":
    main(prog_name="memorystack")
