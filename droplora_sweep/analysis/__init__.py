"""What scores say: which pruning rate is best, how sure that is, what to run next; pure."""
