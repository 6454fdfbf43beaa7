"""Exit codes of the commands; 0 where all is done."""

EXIT_FAILED = 1
"""The sweep failed, cannot be found or has another driver."""
EXIT_BAD_INPUT = 2
"""The input breaks a rule; nothing was started."""
EXIT_PARTIAL = 3
"""Done, but some trials failed, MLflow lacks something or a rerun gave another result."""
EXIT_INTERRUPTED = 75
"""Interrupted, and can be resumed: EX_TEMPFAIL of sysexits.h, try again."""
EXIT_CTRL_C = 130
"""Ended by Ctrl-C before there was anything to resume, as shells report of SIGINT."""
