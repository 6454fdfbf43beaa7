"""What a user sees in the terminal: progress while a sweep runs, tables when it is done."""
